//! What a connection reports about its requests, if they are observed.
//!
//! A [`Watch`] is in [`Shared`], behind a trait object: so a program that observes nothing doesn't contain its code. The
//! connection itself reports refusals, upgrades, heads whose body is to come, and ends of responses. The loop reports
//! the rest, because it calls the handler, reads the clock and writes.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method, StatusCode, Uri, Version};

use super::{CloseReason, Connection, Refusal, Shared};
use crate::time::Instant;

/// Receives reports about the requests of all connections.
pub(crate) trait Watch: fmt::Debug {
    /// Records what was seen of a connection at this time. Returns how many bytes the watch holds now, for all of them.
    fn see(&mut self, connection: &mut Connection, now: Instant, seen: Seen<'_>) -> usize;

    /// Sets the wall clock: the time at `now`.
    fn set_clock(&mut self, now: Instant, wall_clock: SystemTime);

    /// Called before each wait of the loop, with its timeout. Returns the timeout with which to wait.
    fn before_wait(&mut self, now: Instant, timeout: Option<Duration>) -> Option<Duration>;
}

/// What was seen of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Seen<'a> {
    /// Its head is complete and valid, and its body is to be received, or it is refused.
    Head(SeenHead<'a>),
    /// Its head is refused: these are its bytes up to the fault.
    FaultyHead(&'a [u8]),
    /// The server responds by itself: to the last request, or if that has its response, to one that wasn't reported.
    Refused(Refusal),
    /// Its response is queued, with a body of this length.
    RefusalQueued(u64),
    /// The handler is called. The head may have been reported before. With the time at which the last input arrived.
    Called(SeenHead<'a>, Instant),
    /// The future of the request is polled.
    Polled,
    /// The handler has returned the head of its response. With the length of the body if that is queued in the same
    /// step.
    Returned(StatusCode, Option<usize>),
    /// The head of a response whose body follows in parts is queued.
    HeadQueued,
    /// The response is queued to its end, or no more of it will be.
    Ended { is_whole: bool },
    /// The system has taken output, or all of it is taken.
    Sent,
    /// The connection is closed.
    Closed(CloseReason),
}

/// The head of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SeenHead<'a> {
    pub(crate) method: &'a Method,
    pub(crate) target: &'a Uri,
    pub(crate) version: Version,
    pub(crate) fields: &'a HeaderMap,
}

impl<'a> SeenHead<'a> {
    pub(crate) fn of<B>(request: &'a http::Request<B>) -> Self {
        Self {
            method: request.method(),
            target: request.uri(),
            version: request.version(),
            fields: request.headers(),
        }
    }
}

/// How far a connection is: for the watch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    /// Its number.
    pub(crate) id: u64,
    pub(crate) peer: Option<SocketAddr>,
    /// When the first byte of the current request arrived, if its head didn't arrive whole.
    pub(crate) began: Option<Instant>,
    /// Bytes that were received of the current request.
    pub(crate) received: u64,
    /// Bytes of output that the system has taken, since the connection was accepted.
    pub(crate) written: u64,
    /// The same, and those that are queued.
    pub(crate) queued: u64,
    /// A head was accepted on this connection.
    pub(crate) has_read_head: bool,
    /// The method of the current request is HEAD.
    pub(crate) is_head: bool,
    /// Why the connection will close.
    pub(crate) close_reason: Option<CloseReason>,
}

/// The requests of a connection whose responses aren't sent, in their order. The list is in the watch's own memory;
/// here are the keys of its first and last entry, or 0 if it is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) first: u32,
    pub(crate) last: u32,
}

impl Connection {
    /// Whether a request was reported whose response isn't sent.
    #[inline]
    pub(crate) fn is_observed(&self) -> bool {
        self.open.first != 0
    }

    /// Reports something to the watch, if there is one.
    #[cold]
    #[inline(never)]
    pub(crate) fn report(&mut self, shared: &mut Shared, now: Instant, seen: Seen<'_>) {
        if let Some(watch) = &mut shared.watch {
            let held = watch.see(self, now, seen);
            shared.watch_account.set(&mut shared.budget, held);
        }
    }
}

/// For the watch.
impl Connection {
    /// How far it is.
    pub(crate) fn observe(&self) -> At {
        At {
            id: self.id,
            peer: self.peer,
            began: self.head_began_at,
            received: self.received,
            written: self.written,
            queued: self.written + self.output.pending() as u64,
            has_read_head: self.has_read_head,
            is_head: self.request_info.is_head,
            close_reason: self.state.close_reason(),
        }
    }

    /// Records that the current head was reported: the next one begins later.
    pub(crate) fn head_was_reported(&mut self) {
        self.head_began_at = None;
    }

    /// The requests whose responses aren't sent.
    pub(crate) fn open_mut(&mut self) -> &mut Open {
        &mut self.open
    }
}
