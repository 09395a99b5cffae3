//! State that the connections of one event loop share: memory, and the `Date` field.

use std::sync::Arc;
use std::time::SystemTime;

use super::Connection;
use super::custom_refusal::WriteRefusal;
use super::date::Date;
use super::head::HeadMemory;
use super::memory::{Account, Budget, BufferPool};
use super::watch::Watch;
use crate::limits::Limits;
use crate::shares::Share;
use crate::time::Instant;

/// The arguments of every call to a connection: the time, the limits, and the state shared with the
/// other connections.
#[derive(Debug)]
pub struct Context<'a> {
    /// The time of the call.
    pub now: Instant,
    /// The limits of the server.
    pub limits: &'a Limits,
    /// The state that all connections share.
    pub shared: &'a mut Shared,
}

/// State shared by the connections of one event loop: the memory budget, buffer pools and `Date`.
#[derive(Debug, Default)]
pub struct Shared {
    pub(super) buffers: BufferPool,
    pub(super) budget: Budget,
    pub(super) date: Date,
    pub(super) heads: HeadMemory,
    pub(super) is_stopping: bool,
    /// Whether CONNECT is refused where bodies stream, because the handler makes no tunnels. Where bodies don't stream,
    /// it is always refused.
    pub(crate) refuses_connect: bool,
    /// The application's function for the server's own responses, if it has one.
    pub(crate) on_refusal: Option<Arc<dyn WriteRefusal>>,
    /// Observes requests and responses, if that is on.
    pub(crate) watch: Option<Box<dyn Watch>>,
    /// What the watch holds.
    pub(super) watch_account: Account,
    /// Where each connection begins with a header of the PROXY protocol: what reads it.
    pub(crate) read_proxy_header: Option<ReadProxyHeader>,
}

/// Reads a header of the PROXY protocol at the front of the input, and takes it from there. If it is none, the
/// connection closes. Returns false if it isn't complete.
///
/// It is a pointer, so that a program that doesn't use the protocol doesn't contain the code.
pub(crate) type ReadProxyHeader = fn(&mut Connection, &mut Context<'_>, &mut &[u8]) -> bool;

impl Shared {
    /// An empty pool and budget, and the date 1 January 1970 until [`set_date`](Self::set_date).
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes this the state of one of several workers: it has a share of the memory budget.
    pub(crate) fn set_share(&mut self, held: Share, limits: &Limits) {
        self.budget.set_share(held, limits);
    }

    /// With several workers: gives back what this one doesn't need of its share of the budget.
    pub(crate) fn give_back_spare(&mut self, limits: &Limits) {
        self.budget.give_back_spare(limits);
    }

    /// Sets the `Date` field of responses (RFC 9110 §6.6.1) to `wall_clock`, the time at `now`. Call
    /// it again at [`date_expires`](Self::date_expires).
    pub fn set_date(&mut self, now: Instant, wall_clock: SystemTime) {
        self.date.set(now, wall_clock);
        if let Some(watch) = &mut self.watch {
            watch.set_clock(now, wall_clock);
        }
    }

    /// State for connections that begin with a header of the PROXY protocol.
    #[cfg(feature = "proxy-protocol")]
    #[must_use]
    pub fn with_proxy_protocol() -> Self {
        Self {
            read_proxy_header: Some(super::proxy_header::read),
            ..Self::default()
        }
    }

    /// Records that the server is stopping: connections that begin to linger from now on do so for
    /// one second at most.
    pub fn begin_to_stop(&mut self) {
        self.is_stopping = true;
    }

    /// When the next second begins: call [`set_date`](Self::set_date) before the next response
    /// after that.
    #[must_use]
    pub fn date_expires(&self) -> Instant {
        self.date.expires()
    }

    /// Bytes held for all connections, as counted against
    /// [`Limits::max_held`](crate::Limits::max_held).
    #[must_use]
    pub fn held(&self) -> usize {
        self.budget.held()
    }

    /// Whether more may be held; with several workers, by all of them together.
    pub(crate) fn has_room(&self, limits: &Limits) -> bool {
        self.budget.has_room(1, limits)
    }

    /// [`held`](Self::held), and the highest value of it so far.
    #[must_use]
    #[inline]
    pub fn held_and_peak(&self) -> (usize, usize) {
        self.budget.held_and_peak()
    }
}
