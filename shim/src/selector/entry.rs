//! [`Entry`]: a registered source, with what of it is armed and what is pending.

use std::io::{self, ErrorKind};

use wasip1_poll::{Errno, Poller, Registration, Wasi};

use crate::event::Readiness;
use crate::{Interest, Token};

/// A registered source.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its place in the poller.
    pub(super) registration: Registration,
    pub(super) is_listener: bool,
    pub(super) token: Token,
    /// What the user wants.
    pub(super) interests: Interest,
    /// What of that the poller waits for: not what has fired, and hasn't said `WouldBlock` since.
    pub(super) armed: wasip1_poll::Interest,
    /// What is to be reported.
    pub(super) pending: Readiness,
    /// It is in the queue of those that have something pending.
    pub(super) is_queued: bool,
    /// The last read has filled less than its buffer, so the next would answer `WouldBlock`.
    pub(super) is_drained: bool,
    /// The last write has taken less than it was given, so the next would answer `WouldBlock`.
    pub(super) is_full: bool,
    /// What the runtime says is wrong with reading and with writing, until a call has told.
    pub(super) read_fault: Option<Errno>,
    pub(super) write_fault: Option<Errno>,
    /// How often in a row `try_io` has answered `WouldBlock` when one direction was ready.
    pub(super) ambiguous: u8,
}

/// A direction.
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

    /// There is nothing more in this direction: it is armed, unless the runtime has said that it is
    /// broken. The answer is what the user gets.
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
