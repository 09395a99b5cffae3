//! One connection: a read, and one write with the responses to all requests in it.

use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use super::head::Head;
use super::response::{self, Responses};

/// A client's connection.
pub(crate) struct Connection {
    socket: OwnedFd,
    /// The beginning of a head, or of responses that the client hasn't taken yet.
    rest: Vec<u8>,
    /// The request whose body is being received or sent back.
    exchange: Option<Box<Exchange>>,
}

/// Whether to keep a connection open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    Ended,
}

/// A body that is received, and then sent as the response.
struct Exchange {
    /// The head of the response, and the body after it.
    buffer: Vec<u8>,
    /// How long `buffer` is when the body is complete.
    whole: usize,
    sent: usize,
    is_echo: bool,
    is_last: bool,
}

/// The state that all connections share.
pub(crate) struct Shared {
    input: Vec<u8>,
    responses: Responses,
    /// Buffers of earlier bodies, to be used again.
    spare: Vec<Vec<u8>>,
}

/// How many bytes to read at once.
const READ_SIZE: usize = 16 << 10;
/// The length of the shortest request: `GET / HTTP/1.1`, and two line ends.
const SHORTEST: usize = 18;
/// How many buffers to keep.
const SPARE: usize = 64;

impl Shared {
    pub(crate) fn new() -> Self {
        Self {
            input: vec![0; READ_SIZE],
            responses: Responses::new(READ_SIZE / SHORTEST + 1),
            spare: Vec::new(),
        }
    }
}

impl Connection {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            rest: Vec::new(),
            exchange: None,
        }
    }

    /// Reads and writes as far as possible.
    pub(crate) fn serve(&mut self, flags: EventFlags, shared: &mut Shared) -> State {
        if self.exchange.is_some() {
            return self.exchange(shared);
        }
        if !flags.intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR)
        {
            return State::Open;
        }
        self.read(flags.contains(EventFlags::RDHUP), shared)
    }

    /// Reads once, because later input is reported again. But if an end was reported, reads until it.
    fn read(&mut self, to_the_end: bool, shared: &mut Shared) -> State {
        loop {
            let kept = self.rest.len();
            if kept == shared.input.len() {
                return State::Ended;
            }
            shared.input[..kept].copy_from_slice(&self.rest);
            self.rest.clear();
            let room = &mut shared.input[kept..];
            let free = room.len();
            let count = match rustix::net::recv(&self.socket, room, RecvFlags::empty()) {
                Ok((_, count)) if count > 0 => count,
                Err(Errno::AGAIN) => {
                    self.rest.extend_from_slice(&shared.input[..kept]);
                    return State::Open;
                }
                _ => return State::Ended,
            };
            if self.respond(kept + count, shared) == State::Ended {
                return State::Ended;
            }
            if self.exchange.is_some() {
                return self.exchange(shared);
            }
            if count < free && !to_the_end {
                return State::Open;
            }
        }
    }

    /// Responds to the requests in the input with one write; or begins to receive a body.
    fn respond(&mut self, length: usize, shared: &mut Shared) -> State {
        let input = &shared.input[..length];
        let (mut at, mut asked) = (0, 0);
        let mut special = None;
        while at < length {
            let Some(head) = Head::of(&input[at..]) else {
                self.rest.extend_from_slice(&input[at..]);
                break;
            };
            at += head.length;
            if head.body > 0 || head.is_last {
                special = Some(head);
                break;
            }
            asked += 1;
        }
        // One of the floor's liberties: responses can't wait. A client that doesn't take them is disconnected.
        if asked > 0 && !self.send(shared.responses.row(asked)) {
            return State::Ended;
        }
        match special {
            None => State::Open,
            Some(head) if head.body > 0 => {
                let rest = &shared.input[at..length];
                let begun = Exchange::new(&head, rest, shared.spare.pop().unwrap_or_default());
                self.exchange = Some(Box::new(begun));
                State::Open
            }
            Some(_) => {
                self.send(shared.responses.last());
                State::Ended
            }
        }
    }

    fn send(&self, bytes: &[u8]) -> bool {
        rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL) == Ok(bytes.len())
    }

    /// Goes on receiving a body, and when it is complete, sending it back.
    #[cold]
    fn exchange(&mut self, shared: &mut Shared) -> State {
        let Some(exchange) = &mut self.exchange else {
            return State::Open;
        };
        match exchange.go_on(&self.socket, &shared.responses) {
            Ok(()) => {}
            Err(Errno::AGAIN) => return State::Open,
            Err(_) => return State::Ended,
        }
        let Some(exchange) = self.exchange.take() else {
            return State::Open;
        };
        if exchange.is_last {
            return State::Ended;
        }
        if shared.spare.len() < SPARE {
            shared.spare.push(exchange.buffer);
        }
        self.read(false, shared)
    }
}

impl Exchange {
    /// Begins with the part of the body that has already arrived.
    fn new(head: &Head, body: &[u8], mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        buffer.extend(response::head(head.body, head.is_last));
        let whole = buffer.len() + head.body;
        buffer.reserve_exact(head.body);
        buffer.extend(body);
        Self {
            buffer,
            whole,
            sent: 0,
            is_echo: head.is_echo,
            is_last: head.is_last,
        }
    }

    /// Receives a part of the body, or sends a part of the response. Fails with [`Errno::AGAIN`] if that isn't all:
    /// further input, or room, is reported.
    fn go_on(&mut self, socket: &OwnedFd, responses: &Responses) -> Result<(), Errno> {
        if self.buffer.len() < self.whole {
            let room = spare_capacity(&mut self.buffer);
            if let (0, _) = rustix::net::recv(socket, room, RecvFlags::empty())? {
                return Err(Errno::PIPE);
            }
            if self.buffer.len() < self.whole {
                return Err(Errno::AGAIN);
            }
        }
        let response = match self.is_echo {
            true => &self.buffer[..self.whole],
            false => responses.row(1),
        };
        self.sent += rustix::net::send(socket, &response[self.sent..], SendFlags::NOSIGNAL)?;
        match self.sent == response.len() {
            true => Ok(()),
            false => Err(Errno::AGAIN),
        }
    }
}
