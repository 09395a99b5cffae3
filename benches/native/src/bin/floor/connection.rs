//! One connection: a read, and a write that answers all that was asked.

use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use crate::answer::{self, Answers};
use crate::head::Head;

/// A client's connection.
pub(crate) struct Connection {
    socket: OwnedFd,
    /// The beginning of a head, or of answers that the client hasn't taken yet.
    rest: Vec<u8>,
    /// A request with a body, if there is one under way.
    exchange: Option<Box<Exchange>>,
}

/// Whether a connection is to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    Ended,
}

/// A body that comes, and goes as the answer.
struct Exchange {
    /// The answer's head, and the body behind it.
    buffer: Vec<u8>,
    /// How long that is in the end.
    whole: usize,
    sent: usize,
    is_echo: bool,
    is_last: bool,
}

/// What all connections share.
pub(crate) struct Shared {
    input: Vec<u8>,
    answers: Answers,
    /// Buffers of former bodies.
    spare: Vec<Vec<u8>>,
}

/// So much is read at once.
const READ_SIZE: usize = 16 << 10;
/// No request is shorter: `GET / HTTP/1.1`, and two ends of a line.
const SHORTEST: usize = 18;
/// So many buffers are kept.
const SPARE: usize = 64;

impl Shared {
    pub(crate) fn new() -> Self {
        Self {
            input: vec![0; READ_SIZE],
            answers: Answers::new(READ_SIZE / SHORTEST + 1),
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

    /// Does what can be done now.
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

    /// Reads once: what comes later is reported again. But an end that was reported is looked for.
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
            if self.answer(kept + count, shared) == State::Ended {
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

    /// Answers what is asked in so much input, with one write; or begins an exchange.
    fn answer(&mut self, length: usize, shared: &mut Shared) -> State {
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
        // That answers can't wait is one more liberty: who doesn't take them is cut.
        if asked > 0 && !self.send(shared.answers.row(asked)) {
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
                self.send(shared.answers.last());
                State::Ended
            }
        }
    }

    fn send(&self, bytes: &[u8]) -> bool {
        rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL) == Ok(bytes.len())
    }

    /// Goes on with a body, and with its answer when it is whole.
    #[cold]
    fn exchange(&mut self, shared: &mut Shared) -> State {
        let Some(exchange) = &mut self.exchange else {
            return State::Open;
        };
        match exchange.go_on(&self.socket, &shared.answers) {
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
    /// With what has come of the body already.
    fn new(head: &Head, body: &[u8], mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        buffer.extend(answer::head(head.body, head.is_last));
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

    /// A short read or write is the last for now: when there is more, or room, that is reported.
    fn go_on(&mut self, socket: &OwnedFd, answers: &Answers) -> Result<(), Errno> {
        if self.buffer.len() < self.whole {
            let room = spare_capacity(&mut self.buffer);
            if let (0, _) = rustix::net::recv(socket, room, RecvFlags::empty())? {
                return Err(Errno::PIPE);
            }
            if self.buffer.len() < self.whole {
                return Err(Errno::AGAIN);
            }
        }
        let answer = match self.is_echo {
            true => &self.buffer[..self.whole],
            false => answers.row(1),
        };
        self.sent += rustix::net::send(socket, &answer[self.sent..], SendFlags::NOSIGNAL)?;
        match self.sent == answer.len() {
            true => Ok(()),
            false => Err(Errno::AGAIN),
        }
    }
}
