//! [`Entry`]: a registered source: which directions are armed (waited for), and which events are pending. The head of
//! [`selector`](super) says when a direction is armed.

use std::io::{self, ErrorKind};

use wasip1_poll::{Errno, Poller, Registration, Wasi};

use crate::event::Readiness;
use crate::{Interest, Token};

/// A registered source.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its registration with the poller.
    pub(super) registration: Registration,
    pub(super) is_listener: bool,
    pub(super) token: Token,
    /// The directions that the user has registered.
    pub(super) interests: Interest,
    /// The directions that the poller waits for: those of `interests` that have not fired, or have failed with
    /// `WouldBlock` since.
    pub(super) armed: wasip1_poll::Interest,
    /// What the next event will report.
    pub(super) pending: Readiness,
    /// It is in the queue of pending events.
    pub(super) is_queued: bool,
    /// The last read has filled less than its buffer, so the next would fail with `WouldBlock`.
    pub(super) is_drained: bool,
    /// The last write has taken fewer bytes than it was passed, so the next would fail with `WouldBlock`.
    pub(super) is_full: bool,
    /// The errors that the runtime has reported for reading and for writing, until a call has returned one.
    pub(super) read_fault: Option<Errno>,
    pub(super) write_fault: Option<Errno>,
    /// How many times in a row `try_io` has failed with `WouldBlock` while one direction was ready.
    pub(super) ambiguous: u8,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Read,
    Write,
}

impl Entry {
    pub(super) fn is_interested(&self, direction: Direction) -> bool {
        match direction {
            Direction::Read => self.interests.is_readable(),
            Direction::Write => self.interests.is_writable(),
        }
    }

    pub(super) fn is_armed(&self, direction: Direction) -> bool {
        match direction {
            Direction::Read => self.armed.read,
            Direction::Write => self.armed.write,
        }
    }

    pub(super) fn arm<W: Wasi>(&mut self, poller: &mut Poller<W>, armed: wasip1_poll::Interest) {
        if self.armed != armed {
            self.armed = armed;
            poller.set_interest(&self.registration, armed);
        }
    }

    /// Handles a `WouldBlock` in a direction: arms it, unless the runtime has reported an error for it. Returns the
    /// error for the user.
    pub(super) fn would_block<W: Wasi>(&mut self, poller: &mut Poller<W>, direction: Direction) -> io::Error {
        let fault = match direction {
            Direction::Read => self.read_fault.take(),
            Direction::Write => self.write_fault.take(),
        };
        if let Some(fault) = fault {
            return fault.into();
        }
        let mut armed = self.armed;
        match direction {
            Direction::Read => {
                armed.read = self.is_interested(direction);
                self.pending.readable = false;
            }
            Direction::Write => {
                armed.write = self.is_interested(direction);
                self.pending.writable = false;
            }
        }
        self.arm(poller, armed);
        ErrorKind::WouldBlock.into()
    }
}
