//! [`Event`]: what a poll reports about one source.

use crate::Token;

/// Which directions of one source may be ready. One event reports both.
#[derive(Clone, Debug)]
pub struct Event {
    token: Token,
    readiness: Readiness,
}

impl Event {
    pub(crate) const fn new(token: Token, readiness: Readiness) -> Self {
        Self { token, readiness }
    }

    /// The token that was passed at registration.
    #[must_use]
    pub fn token(&self) -> Token {
        self.token
    }

    /// Whether a read or accept may succeed.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.readiness.readable
    }

    /// Whether a write may succeed.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.readiness.writable
    }

    /// Whether the runtime has reported an error of the connection. Reading or writing returns it.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.readiness.error
    }

    /// Whether the peer has ended its stream, or the connection is broken. If the runtime doesn't report the end, a
    /// read returns 0 bytes.
    #[must_use]
    pub fn is_read_closed(&self) -> bool {
        self.readiness.read_closed
    }

    /// Whether the connection is broken.
    #[must_use]
    pub fn is_write_closed(&self) -> bool {
        self.readiness.write_closed
    }

    /// Always false: preview 1 has no such thing.
    #[must_use]
    pub fn is_priority(&self) -> bool {
        false
    }

    /// Always false: preview 1 has no such thing.
    #[must_use]
    pub fn is_aio(&self) -> bool {
        false
    }

    /// Always false: preview 1 has no such thing.
    #[must_use]
    pub fn is_lio(&self) -> bool {
        false
    }
}

/// What an event reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Readiness {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    pub(crate) read_closed: bool,
    pub(crate) write_closed: bool,
    pub(crate) error: bool,
}

impl Readiness {
    pub(crate) fn is_any(self) -> bool {
        self != Self::default()
    }

    pub(crate) const fn union(self, other: Self) -> Self {
        Self {
            readable: self.readable | other.readable,
            writable: self.writable | other.writable,
            read_closed: self.read_closed | other.read_closed,
            write_closed: self.write_closed | other.write_closed,
            error: self.error | other.error,
        }
    }
}
