//! The least that a stream of 64 MiB can cost: a bare epoll loop that writes the bytes of
//! [`native_servers::Pieces`] with their chunk framing.
//!
//! The rules:
//!
//! - One thread, and `epoll_wait` alone to wait with; each connection is registered once, edge-triggered.
//! - One `send` for each chunk of 64 KiB, from one buffer that has its framing too, as long as the client takes all
//!   of it. After a short one, the next is made when the system reports room.
//! - Nothing is allocated for a response, and no byte is copied but by the system.
//! - Connections are kept, and closed when the client's stream ends.
//!
//! The liberties: any input that ends with an empty line is a request for the stream, input during a response isn't
//! read, nothing is checked, there are no timers and no limits, and the `Date` stands still.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use native_servers::{PIECE, PIECES, listener};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags};

/// The most events that one wait returns.
const EVENTS: usize = 256;
/// The most bytes of one read: more than a request has.
const READ_SIZE: usize = 4096;
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\
    date: Sun, 22 Nov 2026 12:00:00 GMT\r\n\r\n";
const END: &[u8] = b"0\r\n\r\n";

fn main() -> std::io::Result<()> {
    let listener = listener()?;
    let number_of_listener = listener.as_raw_fd();
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let data = |number| EventData::new_u64(number as u64);
    epoll::add(&epoll, &listener, data(number_of_listener), EventFlags::IN)?;
    let mut events = Vec::with_capacity(EVENTS);
    // By the number of the file descriptor.
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let chunk = chunk();
    loop {
        events.clear();
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let index = event.data.u64() as usize;
            if index == number_of_listener as usize {
                let Some(socket) = accept(&listener) else {
                    continue;
                };
                let number = socket.as_raw_fd();
                let interest =
                    EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
                epoll::add(&epoll, &socket, data(number), interest)?;
                let index = number as usize;
                if connections.len() <= index {
                    connections.resize_with(index + 1, || None);
                }
                connections[index] = Some(Connection::new(socket));
            } else if let Some(connection) = &mut connections[index]
                && !matches!(connection.serve(&chunk), Err(Errno::AGAIN))
            {
                connections[index] = None;
            }
        }
    }
}

/// A chunk with its framing.
fn chunk() -> Vec<u8> {
    [format!("{PIECE:X}\r\n").as_bytes(), &[b'x'; PIECE], b"\r\n"].concat()
}

/// A client that is gone before it is accepted doesn't end the server.
fn accept(listener: impl AsFd) -> Option<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    rustix::net::accept_with(listener, flags).ok()
}

/// A client's connection.
struct Connection {
    socket: OwnedFd,
    /// The number of the part that is sent: 0 is the head, the last is the end. `None` between responses.
    part: Option<usize>,
    /// How much of it was sent.
    sent: usize,
    /// The end of the input so far.
    tail: [u8; 4],
}

impl Connection {
    fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            part: None,
            sent: 0,
            tail: [0; 4],
        }
    }

    /// Does what can be done now. Returns with [`Errno::AGAIN`] unless the connection has ended.
    fn serve(&mut self, chunk: &[u8]) -> Result<(), Errno> {
        loop {
            self.send(chunk)?;
            self.receive()?;
        }
    }

    /// Reads up to the end of a request.
    fn receive(&mut self) -> Result<(), Errno> {
        let mut buffer = [0; READ_SIZE];
        while self.tail != *b"\r\n\r\n" {
            let (_, count) = rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::empty())?;
            if count == 0 {
                return Err(Errno::PIPE);
            }
            for &byte in &buffer[count.saturating_sub(4)..count] {
                self.tail.rotate_left(1);
                self.tail[3] = byte;
            }
        }
        self.tail = [0; 4];
        self.part = Some(0);
        Ok(())
    }

    /// Sends what is left of the response.
    fn send(&mut self, chunk: &[u8]) -> Result<(), Errno> {
        while let Some(part) = self.part {
            let bytes = match part {
                0 => HEAD,
                1..=PIECES => chunk,
                _ => END,
            };
            self.sent += rustix::net::send(&self.socket, &bytes[self.sent..], SendFlags::NOSIGNAL)?;
            if self.sent < bytes.len() {
                return Err(Errno::AGAIN);
            }
            self.sent = 0;
            self.part = (part <= PIECES).then_some(part + 1);
        }
        Ok(())
    }
}
