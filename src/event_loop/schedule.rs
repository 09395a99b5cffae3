//! The deadlines of the connections, and which of them may be closed for a new one.

use std::time::Duration;

use super::links::{Links, List};
use super::slot::{Idle, Slot};
use crate::deadlines::Deadlines;
use crate::time::Instant;

/// The deadlines of all connections, and the order in which they became idle.
#[derive(Debug)]
pub(super) struct Schedule {
    deadlines: Deadlines,
    /// Connections that may be closed for a new one, the longest idle first.
    idle: List,
    idle_links: Links,
}

impl Schedule {
    pub(super) fn new() -> Self {
        Self {
            deadlines: Deadlines::default(),
            idle: List::EMPTY,
            idle_links: Links::default(),
        }
    }

    /// Updates the deadline of the connection in a slot, and its position in the list of idle connections. A connection
    /// that `is_held_back` waits until its request may begin.
    pub(super) fn update<S, X>(
        &mut self,
        index: usize,
        slot: &mut Slot<S, X>,
        is_held_back: bool,
        now: Instant,
    ) {
        let deadline = slot.timeout(is_held_back);
        if let Some(deadline) = deadline {
            self.deadlines.set(index, next_tick(deadline));
        }
        // A connection in the backlog is not idle, even between two of its requests: there is more to read. Neither is
        // one that is held back.
        let waits_for_turn = slot.is_queued || is_held_back;
        let can_be_evicted = slot.connection.can_be_evicted() && !waits_for_turn;
        // A connection that was used has another deadline. It moves to the end of the list, since its idle time
        // begins anew.
        let until = deadline.filter(|_| can_be_evicted);
        if until == slot.idle.map(|idle| idle.until) {
            return;
        }
        match (slot.idle.is_some(), until.is_some()) {
            (true, true) => self.idle.move_to_end(&mut self.idle_links, index),
            (true, false) => self.idle.remove(&mut self.idle_links, index),
            (false, true) => self.idle.push(&mut self.idle_links, index),
            (false, false) => {}
        }
        slot.idle = until.map(|until| Idle { since: now, until });
    }

    /// Removes a slot whose connection is closed.
    pub(super) fn remove<S, X>(&mut self, index: usize, slot: &Slot<S, X>) {
        if slot.idle.is_some() {
            self.idle.remove(&mut self.idle_links, index);
        }
        self.deadlines.cancel(index);
    }

    /// The slot of the connection that has been idle for the longest time.
    pub(super) fn longest_idle(&self) -> Option<usize> {
        self.idle.first()
    }

    /// The time from `now` until the next deadline may pass.
    pub(super) fn next(&mut self, now: Instant) -> Option<Duration> {
        self.deadlines.next(now)
    }

    /// Removes and returns a slot whose deadline may have passed. Call it until it returns `None`.
    pub(super) fn expired(&mut self, now: Instant) -> Option<usize> {
        self.deadlines.expired(now)
    }
}

/// The end of the tick of 67 ms (2^26 ns) that contains `deadline`. All deadlines of a tick are handled in one wait,
/// because each wait is a call into the system or into an interpreter. Limits are in seconds, so the delay doesn't
/// matter. At half, the loop wakes up twice as often. At double, a timeout of 100 ms can take 234 ms.
fn next_tick(deadline: Instant) -> Instant {
    const TICK: u64 = 1 << 26;
    Instant::from_nanos((deadline.as_nanos() | (TICK - 1)).saturating_add(1))
}
