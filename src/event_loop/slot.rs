//! A connection with its socket.

use crate::conn::Connection;
use crate::reactor::{Interest, Readiness};
use crate::time::Instant;

/// A connection with its socket.
pub(super) struct Slot<S, X> {
    pub(super) stream: S,
    pub(super) connection: Connection,
    /// What the loop's mode keeps for the connection's requests.
    pub(super) exchange: X,
    /// What the reactor has reported and no call has disproved yet.
    pub(super) readiness: Readiness,
    pub(super) interest: Interest,
    /// Set while the connection is in the idle list.
    pub(super) idle: Option<Idle>,
    /// Whether the connection is in the backlog.
    pub(super) is_queued: bool,
    /// What its last turn has left of its quantum. A peer that has little room in its system's buffers sends a
    /// body in pieces; so it doesn't wait in the backlog for each of them.
    pub(super) deficit: usize,
    /// Turns in which it was read since the end of the grace, when the server stops.
    pub(super) late_turns: u8,
    /// It came after the listeners were shut, and gets 503.
    pub(super) is_turned_away: bool,
}

/// Since when a connection can give way, and the deadline it had then: another one tells that it
/// was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Idle {
    pub(super) since: Instant,
    pub(super) until: Instant,
}

impl<S, X> Slot<S, X> {
    /// A connection that was just accepted, and is registered for reading.
    pub(super) fn new(stream: S, connection: Connection, exchange: X) -> Self {
        Self {
            stream,
            connection,
            exchange,
            readiness: Readiness {
                readable: false,
                writable: true,
                read_closed: false,
                failed: false,
            },
            interest: Interest::READ,
            idle: None,
            is_queued: false,
            deficit: 0,
            late_turns: 0,
            is_turned_away: false,
        }
    }

    pub(super) fn can_write(&self) -> bool {
        self.readiness.writable && self.connection.pending_output() > 0
    }
}
