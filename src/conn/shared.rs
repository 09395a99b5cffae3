//! What the connections of one event loop share: memory, and the date.

use std::time::SystemTime;

use super::date::Date;
use super::head::HeadArena;
use super::memory::{Budget, BufferPool};
use crate::limits::Limits;
use crate::time::Instant;

/// What a connection is given with each call: the time, the limits, and what it shares with the
/// others.
#[derive(Debug)]
pub struct Context<'a> {
    /// The time of the call.
    pub now: Instant,
    /// The limits of the server.
    pub limits: &'a Limits,
    /// What all connections share.
    pub shared: &'a mut Shared,
}

/// What the connections of one event loop share.
#[derive(Debug, Default)]
pub struct Shared {
    pub(super) buffers: BufferPool,
    pub(super) budget: Budget,
    pub(super) date: Date,
    pub(super) heads: HeadArena,
    pub(super) is_stopping: bool,
}

impl Shared {
    /// Nothing shared yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells the wall clock's time, for `Date`, at a moment of the monotonic clock. Due again at
    /// [`date_expires`](Self::date_expires).
    pub fn set_date(&mut self, now: Instant, wall_clock: SystemTime) {
        self.date.set(now, wall_clock);
    }

    /// The server stops: from now on connections linger for a second at most.
    pub fn begin_to_stop(&mut self) {
        self.is_stopping = true;
    }

    /// When the next second begins and [`set_date`](Self::set_date) is to be called before an
    /// answer is made.
    #[must_use]
    pub fn date_expires(&self) -> Instant {
        self.date.expires()
    }

    /// Bytes held for all connections, as counted against
    /// [`Limits::max_held`](crate::Limits::max_held).
    #[must_use]
    pub fn held(&self) -> usize {
        self.budget.held
    }

    /// The most bytes that were held at a time.
    #[must_use]
    pub fn held_peak(&self) -> usize {
        self.budget.peak
    }
}
