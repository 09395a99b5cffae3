//! A socket on WASI 0.2. Nothing reports its readiness, so it is tried again after a while.

use std::future::Future;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use mini_http::{Sleep, sleep};

pub(crate) struct Socket {
    stream: TcpStream,
    reading: Retry,
    writing: Retry,
}

impl Socket {
    /// Blocks the program until the connection is there: std has no other way.
    pub(crate) async fn connect(address: SocketAddr, timeout: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, timeout)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            reading: Retry::new(),
            writing: Retry::new(),
        })
    }

    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let stream = &mut self.stream;
        self.reading.poll(cx, || stream.read(buffer))
    }

    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let stream = &mut self.stream;
        self.writing.poll(cx, || stream.write(bytes))
    }

    pub(crate) fn shut_down(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }
}

/// Tries a call again, until it doesn't block.
struct Retry {
    /// The time to the next try.
    pause: Duration,
    sleep: Option<Sleep>,
}

impl Retry {
    /// Half of it would cost twice the processor time; twice as much would halve the rate of a body.
    const SHORTEST: Duration = Duration::from_millis(1);
    /// A slow server costs 60 tries a second, and up to this time is added to a response.
    const LONGEST: Duration = Duration::from_millis(16);

    fn new() -> Self {
        Self {
            pause: Self::SHORTEST,
            sleep: None,
        }
    }

    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut() -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            if let Some(pause) = &mut self.sleep {
                ready!(Pin::new(pause).poll(cx));
                self.sleep = None;
            }
            match attempt() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.sleep = Some(sleep(self.pause));
                    self.pause = (self.pause * 2).min(Self::LONGEST);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                outcome => {
                    self.pause = Self::SHORTEST;
                    return Poll::Ready(outcome);
                }
            }
        }
    }
}
