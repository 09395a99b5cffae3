//! One connection: a socket, TLS, and HTTP.
//!
//! Each call of the socket blocks, and the `Connection` knows only what TLS has deciphered. So its deadlines are checked
//! after every read, and the rate of what is sent is checked here.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, SystemTime};

use log::debug;
use mini_http::conn::{Connection, Context, Shared, Step};
use mini_http::{CloseReason, Instant, Limits, Request, Response};
use rustls::ServerConnection;

/// Serves a connection, which has a number for the log and the client's address.
pub(crate) fn serve(
    (id, peer): (u64, SocketAddr),
    socket: TcpStream,
    tls: ServerConnection,
    limits: &Limits,
    handler: impl FnMut(Request) -> Response<Vec<u8>>,
) -> io::Result<()> {
    socket.set_nodelay(true)?;
    // A write ends when the system takes the output: a client that takes nothing for this long is gone. One that takes
    // little is found by its `Pace`.
    socket.set_write_timeout(Some(limits.rate_window))?;
    let mut shared = Shared::new();
    let clock = Clock(std::time::Instant::now());
    let mut cx = clock.context(limits, &mut shared);
    let http = Connection::new(id, Some(peer), &mut cx);
    let mut link = Link {
        socket,
        tls,
        http,
        handler,
        limits,
    };
    loop {
        let mut cx = clock.context(limits, &mut shared);
        link.send(&mut cx)?;
        match link.http.poll_step(&mut cx) {
            Step::Wait => link.receive(&clock, &mut shared)?,
            Step::ShutdownWrite => link.shut_down()?,
            Step::Close(reason) => return link.close(reason),
        }
    }
}

/// Time since the connection was accepted.
struct Clock(std::time::Instant);

impl Clock {
    /// What the calls of [`Connection`] take.
    fn context<'a>(&self, limits: &'a Limits, shared: &'a mut Shared) -> Context<'a> {
        let now = Instant::default() + self.0.elapsed();
        if now >= shared.date_expires() {
            shared.set_date(now, SystemTime::now());
        }
        Context {
            now,
            limits,
            shared,
        }
    }
}

/// The rate at which the client takes output, in each window.
struct Pace {
    window: Duration,
    /// The fewest bytes in a window.
    least: f64,
    since: std::time::Instant,
    written: usize,
}

impl Pace {
    fn new(limits: &Limits) -> Self {
        Self {
            window: limits.rate_window,
            least: f64::from(limits.min_rate) * limits.rate_window.as_secs_f64(),
            since: std::time::Instant::now(),
            written: 0,
        }
    }

    /// Counts bytes that were written. Fails at the end of a window with too few.
    fn check(&mut self, written: usize) -> io::Result<()> {
        self.written += written;
        if self.since.elapsed() < self.window {
            return Ok(());
        }
        if (self.written as f64) < self.least {
            return Err(io::Error::new(
                ErrorKind::TimedOut,
                "the client is too slow",
            ));
        }
        (self.since, self.written) = (std::time::Instant::now(), 0);
        Ok(())
    }
}

/// A socket, TLS and HTTP.
struct Link<'a, H> {
    socket: TcpStream,
    tls: ServerConnection,
    http: Connection,
    handler: H,
    limits: &'a Limits,
}

impl<H: FnMut(Request) -> Response<Vec<u8>>> Link<'_, H> {
    /// Sends all output. Fails if the client takes it too slowly.
    fn send(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let output = self.http.take_output(cx);
        let mut pace = Pace::new(self.limits);
        // In pieces, because rustls keeps at most 64 KiB.
        for piece in output.chunks(32 << 10) {
            self.tls.writer().write_all(piece)?;
            self.flush_at(&mut pace)?;
        }
        self.flush_at(&mut pace)
    }

    /// Sends what TLS has: records, alerts, and its part of the handshake.
    fn flush(&mut self) -> io::Result<()> {
        self.flush_at(&mut Pace::new(self.limits))
    }

    fn flush_at(&mut self, pace: &mut Pace) -> io::Result<()> {
        while self.tls.wants_write() {
            let written = self.tls.write_tls(&mut self.socket)?;
            pace.check(written)?;
        }
        Ok(())
    }

    /// Waits for input, but not longer than the connection's deadline, and passes it on.
    fn receive(&mut self, clock: &Clock, shared: &mut Shared) -> io::Result<()> {
        let limits = self.limits;
        let now = clock.context(limits, shared).now;
        let deadline = self.http.poll_timeout();
        let timeout = deadline.map(|deadline| deadline.saturating_since(now));
        // Zero would be no timeout, and the system counts milliseconds at best.
        let timeout = timeout.map(|timeout| timeout.max(Duration::from_millis(1)));
        self.socket.set_read_timeout(timeout)?;
        let read = self.tls.read_tls(&mut self.socket);
        let mut cx = clock.context(limits, shared);
        match read {
            Ok(0) => self.http.handle_end_of_input(&mut cx),
            Ok(_) => {
                if let Err(error) = self.tls.process_new_packets() {
                    // The alert says why.
                    self.flush()?;
                    return Err(io::Error::new(ErrorKind::InvalidData, error));
                }
                self.handle_input(&mut cx)?;
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                _ => return Err(error),
            },
        }
        // Also if there was input: it may be a part of a record, and go on without end.
        self.http.handle_timeout(&mut cx);
        Ok(())
    }

    /// Passes on what TLS has deciphered, and handles the requests in it.
    fn handle_input(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let mut buffer = [0; 16 << 10];
        loop {
            let count = match self.tls.reader().read(&mut buffer) {
                // The client has ended its stream.
                Ok(0) => {
                    self.http.handle_end_of_input(cx);
                    return Ok(());
                }
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let mut input = &buffer[..count];
            while let Some(request) = self.http.handle_input(cx, &mut input) {
                match catch_unwind(AssertUnwindSafe(|| (self.handler)(request))) {
                    Ok(response) => self.http.respond(cx, response),
                    Err(_) => self.http.respond_to_panic(cx),
                }
                // So that responses don't pile up, and kept input can be used.
                self.send(cx)?;
            }
        }
    }

    /// Ends the server's stream: in TLS, and on the socket.
    fn shut_down(&mut self) -> io::Result<()> {
        self.tls.send_close_notify();
        self.flush()?;
        self.socket.shutdown(Shutdown::Write)
    }

    fn close(&mut self, reason: CloseReason) -> io::Result<()> {
        debug!("conn {}: closed: {reason:?}", self.http.id());
        // It fails if the client is gone.
        let _ = self.shut_down();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
