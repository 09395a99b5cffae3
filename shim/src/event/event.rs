use crate::Token;

/// What may be ready of one source. Both directions come in one event.
#[derive(Clone, Debug)]
pub struct Event {
    token: Token,
    readiness: Readiness,
}

impl Event {
    pub(crate) const fn new(token: Token, readiness: Readiness) -> Self {
        Self { token, readiness }
    }

    /// What was given at the registration.
    #[must_use]
    pub fn token(&self) -> Token {
        self.token
    }

    /// A read or accept may give something.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.readiness.readable
    }

    /// A write may take something.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.readiness.writable
    }

    /// The runtime has said that the connection is broken. Reading or writing tells how.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.readiness.error
    }

    /// The peer has ended its side, or the connection is broken. A peer's end that the runtime
    /// doesn't tell of shows itself as a read of 0 bytes.
    #[must_use]
    pub fn is_read_closed(&self) -> bool {
        self.readiness.read_closed
    }

    /// The connection is broken.
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

/// What an event says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Readiness {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    pub(crate) read_closed: bool,
    pub(crate) write_closed: bool,
    pub(crate) error: bool,
}

impl Readiness {
    pub(crate) const NONE: Self = Self {
        readable: false,
        writable: false,
        read_closed: false,
        write_closed: false,
        error: false,
    };

    pub(crate) const fn and(self, other: Self) -> Self {
        Self {
            readable: self.readable | other.readable,
            writable: self.writable | other.writable,
            read_closed: self.read_closed | other.read_closed,
            write_closed: self.write_closed | other.write_closed,
            error: self.error | other.error,
        }
    }
}
