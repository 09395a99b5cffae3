//! A [`Slot`]: a connection with its socket, as the loop keeps it in its table.

use crate::conn::Connection;
use crate::reactor::{Interest, Readiness};
use crate::time::Instant;

/// A connection with its socket.
pub(super) struct Slot<S, X> {
    pub(super) stream: S,
    pub(super) connection: Connection,
    /// The state that the loop's mode keeps for the connection.
    pub(super) exchange: X,
    /// What the reactor has reported, until a call shows that it no longer holds.
    pub(super) readiness: Readiness,
    /// The directions that are registered with the reactor.
    pub(super) interest: Interest,
    /// Set while the connection is in the idle list.
    pub(super) idle: Option<Idle>,
    /// Whether the connection is in the backlog.
    pub(super) is_queued: bool,
    /// What its last turn left of its quantum. A peer whose system has small buffers sends a body in pieces. With the
    /// deficit, the connection doesn't wait in the backlog for each of them.
    pub(super) deficit: usize,
    /// While the server stops: the number of turns after the grace in which the connection was read.
    pub(super) late_turns: u8,
    /// It was accepted while the server stops, from a listener that can't be closed. Its request gets 503.
    pub(super) is_turned_away: bool,
}

/// Since when a connection is idle, and the deadline that it had then. If its deadline is another one now, the
/// connection was used in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Idle {
    pub(super) since: Instant,
    pub(super) until: Instant,
}

impl<S, X> Slot<S, X> {
    /// A connection that was just accepted.
    pub(super) fn new(stream: S, connection: Connection, exchange: X, readable: bool) -> Self {
        Self {
            stream,
            connection,
            exchange,
            readiness: Readiness {
                readable,
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

    /// When the next deadline of the connection passes. While it `is_held_back`, the server keeps it waiting, so only
    /// the client's time to take its responses goes on.
    pub(super) fn timeout(&self, is_held_back: bool) -> Option<Instant> {
        match is_held_back {
            false => self.connection.poll_timeout(),
            true => self.connection.poll_write_timeout(),
        }
    }

    pub(super) fn can_write(&self) -> bool {
        self.readiness.writable && self.connection.pending_output() > 0
    }
}
