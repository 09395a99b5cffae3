//! The load of the scenario `websocket`: WebSockets, on each of which the next message is sent when the one before has
//! come back.
//!
//! Like that of `fan-out`, the client never sleeps.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use interop::{Outcome, ensure};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::wrk::Measured;

/// Open WebSockets.
pub(super) struct Sockets {
    sockets: Vec<Socket>,
    epoll: Epoll,
}

struct Socket {
    stream: TcpStream,
    /// When its last message was sent.
    sent: Instant,
    /// How many bytes of its echo have come back.
    received: usize,
}

/// If a message doesn't come back within this time, it never does.
const PATIENCE: Duration = Duration::from_secs(20);
/// The length of a message: the longest whose length needs no bytes of its own.
const MESSAGE: usize = 125;
/// The head of a server's frame: final, binary, its length.
const HEAD: [u8; 2] = [0x82, MESSAGE as u8];
/// More than the head of a response, and than a frame.
const ROOM: usize = 1024;

const HANDSHAKE: &[u8] =
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

impl Sockets {
    /// Opens this many WebSockets, and sends a first message on each.
    pub(super) fn open(address: SocketAddr, count: usize) -> Outcome<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(|e| e.to_string())?;
        let sockets = (0..count).map(|_| Socket::open(address));
        let sockets: Vec<Socket> = sockets.collect::<Outcome<_>>()?;
        for (at, socket) in (0..).zip(&sockets) {
            let event = EpollEvent::new(EpollFlags::EPOLLIN, at);
            let added = epoll.add(&socket.stream, event);
            added.map_err(|e| format!("epoll: {e}"))?;
        }
        let mut all = Self { sockets, epoll };
        all.run(Duration::ZERO)?;
        Ok(all)
    }

    /// Sends messages. At the end, all have come back. What is counted is a message and its echo.
    pub(super) fn run(&mut self, duration: Duration) -> Outcome<Measured> {
        let start = Instant::now();
        let mut times = Vec::new();
        for socket in &mut self.sockets {
            socket.send()?;
        }
        let mut pending = self.sockets.len();
        let mut events = [EpollEvent::empty(); 64];
        while pending > 0 {
            let count = match self.epoll.wait(&mut events, EpollTimeout::ZERO) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(e) => return Err(format!("epoll: {e}")),
            };
            for event in &events[..count] {
                let socket = &mut self.sockets[event.data() as usize];
                let Some(took) = socket.receive()? else {
                    continue;
                };
                times.push(took);
                match start.elapsed() < duration {
                    true => socket.send()?,
                    false => pending -= 1,
                }
            }
            let is_late = start.elapsed() >= duration + PATIENCE;
            ensure!(!is_late, "{pending} messages haven't come back");
        }
        Ok(Measured::of(times, 1, start.elapsed()))
    }
}

impl Socket {
    fn open(address: SocketAddr) -> Outcome<Self> {
        let error = |e| format!("a WebSocket: {e}");
        let mut stream = TcpStream::connect(address).map_err(error)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(error)?;
        stream.set_nodelay(true).map_err(error)?;
        stream.write_all(HANDSHAKE).map_err(error)?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut buffer = [0; ROOM];
            let count = stream.read(&mut buffer).map_err(error)?;
            ensure!(count > 0, "a WebSocket has ended before its handshake");
            head.extend_from_slice(&buffer[..count]);
        }
        let text = String::from_utf8_lossy(&head);
        let is_open =
            text.starts_with("HTTP/1.1 101 ") && text.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        ensure!(is_open, "no WebSocket begins with {text:?}");
        stream.set_nonblocking(true).map_err(error)?;
        Ok(Self {
            stream,
            sent: Instant::now(),
            received: 0,
        })
    }

    fn send(&mut self) -> Outcome {
        // The payload is all zeros. So the masked payload is the mask, repeated.
        let mask = [0x12, 0x34, 0x56, 0x78];
        let mut frame = vec![HEAD[0], 0x80 | HEAD[1]];
        frame.extend(mask);
        frame.extend(mask.into_iter().cycle().take(MESSAGE));
        self.sent = Instant::now();
        self.received = 0;
        // There is room for it, as the one before has come back.
        let written = self.stream.write_all(&frame);
        written.map_err(|e| format!("a WebSocket: {e}"))
    }

    /// Reads once. Returns how long the message took, if it has come back.
    fn receive(&mut self) -> Outcome<Option<Duration>> {
        let mut buffer = [0; ROOM];
        let count = self.stream.read(&mut buffer);
        let count = count.map_err(|e| format!("a WebSocket: {e}"))?;
        ensure!(count > 0, "a WebSocket has ended");
        let expected = HEAD.into_iter().chain([0; MESSAGE]).skip(self.received);
        self.received += count;
        let is_right = buffer[..count].iter().copied().eq(expected.take(count));
        ensure!(is_right, "something else comes back");
        Ok((self.received == HEAD.len() + MESSAGE).then(|| self.sent.elapsed()))
    }
}
