//! [`Crowd`]: many non-blocking client connections to one server.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

use crate::Outcome;
use crate::client::PATIENCE;

/// One client of a crowd.
#[derive(Debug)]
pub(super) struct Member {
    stream: Option<TcpStream>,
    /// How many bytes the system has taken to send.
    pub(super) sent: usize,
    /// How many bytes were read.
    pub(super) read: usize,
    /// The first bytes that were read, up to [`KEPT`](Self::KEPT): enough for the status line.
    first: Vec<u8>,
}

impl Member {
    /// How many of the first bytes are kept.
    const KEPT: usize = 64;

    fn new(stream: TcpStream) -> Outcome<Self> {
        stream
            .set_nonblocking(true)
            .map_err(|e| format!("setting up a socket: {e}"))?;
        Ok(Self {
            stream: Some(stream),
            sent: 0,
            read: 0,
            first: Vec::new(),
        })
    }

    /// Whether the server has closed or reset the connection.
    #[must_use]
    pub(super) fn has_ended(&self) -> bool {
        self.stream.is_none()
    }

    /// Sends as many of the bytes as there is room for.
    pub(super) fn send(&mut self, bytes: &[u8]) -> usize {
        self.send_and_stay(bytes).unwrap_or_else(|| {
            // What the server has sent before can still be read.
            self.read(usize::MAX);
            self.stream = None;
            0
        })
    }

    /// The same, but the client keeps its socket if it can't send any more. Then the result is `None`.
    pub(super) fn send_and_stay(&mut self, bytes: &[u8]) -> Option<usize> {
        match self.stream.as_mut()?.write(bytes) {
            Ok(count) => {
                self.sent += count;
                Some(count)
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => Some(0),
            Err(_) => None,
        }
    }

    /// Reads available bytes, up to about `limit`. At the end of the stream, the client closes.
    pub(super) fn read(&mut self, limit: usize) -> usize {
        let mut buffer = [0; 64 << 10];
        let mut total = 0;
        while let Some(stream) = &mut self.stream {
            let room = buffer.len().min(limit - total);
            if room == 0 {
                break;
            }
            match stream.read(&mut buffer[..room]) {
                Ok(0) => self.stream = None,
                Ok(count) => {
                    let kept = count.min(Self::KEPT - self.first.len());
                    self.first.extend_from_slice(&buffer[..kept]);
                    total += count;
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.stream = None,
            }
        }
        self.read += total;
        total
    }

    /// Shuts down sending; it can still read.
    pub(super) fn half_close(&self) {
        if let Some(stream) = &self.stream {
            // An error means that the server has closed already.
            let _ = stream.shutdown(Shutdown::Write);
        }
    }

    /// Ends the connection with a reset.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn reset(&mut self) -> Outcome {
        match self.stream.take() {
            Some(stream) => SockRef::from(&stream)
                .set_linger(Some(Duration::ZERO))
                .map_err(|e| format!("setting SO_LINGER: {e}")),
            None => Ok(()),
        }
    }

    /// The status of the first response, 0 if there was none.
    #[must_use]
    pub(super) fn status(&self) -> u16 {
        let digits = self
            .first
            .strip_prefix(b"HTTP/1.1 ")
            .and_then(|rest| rest.get(..3));
        digits
            .and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok())
            .unwrap_or(0)
    }
}

/// Connections to one server.
#[derive(Debug)]
pub(super) struct Crowd {
    /// The clients.
    pub(super) members: Vec<Member>,
}

impl Crowd {
    /// Opens `count` connections, as fast as possible.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn connect(address: SocketAddr, count: usize) -> Outcome<Self> {
        Self::connect_sending(address, count, "")
    }

    /// Opens `count` connections, and sends `text` on each as soon as it is open.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn connect_sending(address: SocketAddr, count: usize, text: &str) -> Outcome<Self> {
        let connect = |_| {
            let stream = TcpStream::connect_timeout(&address, PATIENCE);
            let mut member = Member::new(stream.map_err(|e| format!("connecting: {e}"))?)?;
            if !text.is_empty() {
                member.send(text.as_bytes());
            }
            Ok(member)
        };
        let members = (0..count).map(connect).collect::<Outcome<_>>()?;
        Ok(Self { members })
    }

    /// Opens `count` connections with very small receive buffers.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn connect_narrow(address: SocketAddr, count: usize) -> Outcome<Self> {
        Self::connect_with(address, count, |_| Ok(()))
    }

    /// Opens `count` connections with very small receive buffers and small segments, so that the server's system
    /// buffers little, too. For segments of 64 KiB, as on the loopback device, it buffers 2 MiB.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn connect_narrower(address: SocketAddr, count: usize) -> Outcome<Self> {
        Self::connect_with(address, count, |socket| socket.set_tcp_mss(536))
    }

    /// Gives the clients larger receive buffers, as large as the system allows for windows that were small at first. So
    /// they read what the server's system still holds for them in little time, also on a busy machine.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn widen(&self) -> Outcome {
        let streams = self.members.iter().filter_map(|it| it.stream.as_ref());
        for stream in streams {
            SockRef::from(stream)
                .set_recv_buffer_size(1 << 20)
                .map_err(|e| format!("setting SO_RCVBUF: {e}"))?;
        }
        Ok(())
    }

    fn connect_with(
        address: SocketAddr,
        count: usize,
        set: impl Fn(&Socket) -> std::io::Result<()>,
    ) -> Outcome<Self> {
        let connect = |_| {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
            socket.set_recv_buffer_size(4096)?;
            set(&socket)?;
            socket.connect_timeout(&address.into(), PATIENCE)?;
            Ok(TcpStream::from(socket))
        };
        let members = (0..count).map(|number| {
            let stream: std::io::Result<TcpStream> = connect(number);
            Member::new(stream.map_err(|e| format!("connecting: {e}"))?)
        });
        Ok(Self {
            members: members.collect::<Outcome<_>>()?,
        })
    }

    /// Sends these bytes on every connection; they are few, so there is room.
    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        for member in &mut self.members {
            member.send(bytes.as_ref());
        }
    }

    /// Calls `act` for each member that hasn't seen the end of its stream, then pauses, and repeats this until all have
    /// seen it or `limit` has passed. Returns how many have seen it.
    pub(super) fn act(
        &mut self,
        pause: Duration,
        limit: Duration,
        mut act: impl FnMut(&mut Member),
    ) -> usize {
        let end = Instant::now() + limit;
        while self.ended() < self.members.len() && Instant::now() < end {
            for member in self.members.iter_mut().filter(|member| !member.has_ended()) {
                act(member);
            }
            std::thread::sleep(pause);
        }
        self.ended()
    }

    /// Reads everything that comes until all have seen the end, or the time is up.
    pub(super) fn wait_for_end(&mut self, limit: Duration) -> usize {
        self.act(Duration::from_millis(50), limit, |member| {
            member.read(usize::MAX);
        })
    }

    /// Fails unless all have seen the end.
    ///
    /// # Errors
    /// With the number of those that haven't.
    pub(super) fn check_ended(&self) -> Outcome {
        let (ended, all) = (self.ended(), self.members.len());
        crate::ensure!(ended == all, "only {ended} of {all} connections were ended");
        Ok(())
    }

    /// How many members received each status. 0 stands for no response.
    #[must_use]
    pub(super) fn statuses(&self) -> BTreeMap<u16, usize> {
        let mut statuses = BTreeMap::new();
        for member in &self.members {
            *statuses.entry(member.status()).or_default() += 1;
        }
        statuses
    }

    /// Fails unless every member has received this status.
    ///
    /// # Errors
    /// With the statuses that there were.
    pub(super) fn check_statuses(&self, status: u16) -> Outcome {
        let statuses = self.statuses();
        crate::ensure!(
            statuses.get(&status) == Some(&self.members.len()),
            "not all got {status}: {statuses:?} (0: none)"
        );
        Ok(())
    }

    fn ended(&self) -> usize {
        self.members
            .iter()
            .filter(|member| member.has_ended())
            .count()
    }
}
