//! The least that publishing a message to many event streams can cost: a bare epoll loop that writes it to each.
//!
//! The rules:
//!
//! - One thread, and `epoll_wait` alone to wait with; each connection is registered once, edge-triggered.
//! - A message is one `send` for each stream, with its chunk framing, from one buffer that is made at the start.
//! - Nothing is allocated for a message, and no byte is copied but by the system.
//! - Connections are closed when the client's stream ends.
//!
//! The liberties: a request comes in one read, and is known by its first bytes. Nothing else is checked, there are no
//! timers and no limits, the `Date` stands still, and a client that doesn't take a message at once is dropped.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use native_servers::{MESSAGE, listener};
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
const PUBLISHED: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\
    date: Sun, 22 Nov 2026 12:00:00 GMT\r\n\r\n";

fn main() -> std::io::Result<()> {
    let listener = listener()?;
    let number_of_listener = listener.as_raw_fd();
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let data = |number| EventData::new_u64(number as u64);
    epoll::add(&epoll, &listener, data(number_of_listener), EventFlags::IN)?;
    let mut events = Vec::with_capacity(EVENTS);
    let mut server = Server::new();
    loop {
        events.clear();
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let index = event.data.u64() as usize;
            if index != number_of_listener as usize {
                server.serve(index);
            } else if let Some(socket) = accept(&listener) {
                let number = socket.as_raw_fd();
                let interest = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
                epoll::add(&epoll, &socket, data(number), interest)?;
                server.add(number as usize, socket);
            }
        }
    }
}

/// A client that is gone before it is accepted doesn't end the server.
fn accept(listener: impl AsFd) -> Option<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    rustix::net::accept_with(listener, flags).ok()
}

/// All connections.
struct Server {
    /// By the number of the file descriptor.
    sockets: Vec<Option<OwnedFd>>,
    /// Those with a stream.
    streams: Vec<usize>,
    chunk: Vec<u8>,
}

impl Server {
    fn new() -> Self {
        let size = format!("{:X}\r\n", MESSAGE.len());
        Self {
            sockets: Vec::new(),
            streams: Vec::new(),
            chunk: [size.as_bytes(), MESSAGE, b"\r\n"].concat(),
        }
    }

    fn add(&mut self, index: usize, socket: OwnedFd) {
        if self.sockets.len() <= index {
            self.sockets.resize_with(index + 1, || None);
        }
        self.sockets[index] = Some(socket);
    }

    fn close(&mut self, index: usize) {
        self.sockets[index] = None;
        self.streams.retain(|&stream| stream != index);
    }

    /// Handles the requests on a connection.
    fn serve(&mut self, index: usize) {
        let mut buffer = [0; READ_SIZE];
        loop {
            let Some(socket) = &self.sockets[index] else {
                return;
            };
            let request = match rustix::net::recv(socket, &mut buffer[..], RecvFlags::empty()) {
                Ok((_, count)) if count > 0 => &buffer[..count],
                Err(Errno::AGAIN) => return,
                Ok(_) | Err(_) => return self.close(index),
            };
            let is_sent = if request.starts_with(b"GET /events ") {
                self.streams.push(index);
                send(socket, HEAD)
            } else {
                let is_sent = send(socket, PUBLISHED);
                self.publish();
                is_sent
            };
            if !is_sent {
                self.close(index);
            }
        }
    }

    fn publish(&mut self) {
        let (sockets, chunk) = (&mut self.sockets, &self.chunk);
        self.streams.retain(|&stream| {
            let is_sent = sockets[stream]
                .as_ref()
                .is_some_and(|socket| send(socket, chunk));
            if !is_sent {
                sockets[stream] = None;
            }
            is_sent
        });
    }
}

/// Whether the system has taken all of it.
fn send(socket: &OwnedFd, bytes: &[u8]) -> bool {
    rustix::net::send(socket, bytes, SendFlags::NOSIGNAL) == Ok(bytes.len())
}
