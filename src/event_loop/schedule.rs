//! When connections are due, and which of them can give way.

use std::time::Duration;

use super::links::{Links, List};
use super::slot::{Idle, Slot};
use crate::deadlines::Deadlines;
use crate::time::Instant;

/// The deadlines of all connections, and the order in which they became idle.
#[derive(Debug)]
pub(super) struct Schedule {
    deadlines: Deadlines,
    /// Connections that can give way to a newcomer, the longest idle first.
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

    /// Brings the deadline of the connection in a slot, and its place among the idle, up to date.
    pub(super) fn update<S, X>(&mut self, index: usize, slot: &mut Slot<S, X>, now: Instant) {
        let deadline = slot.connection.poll_timeout();
        if let Some(deadline) = deadline {
            self.deadlines.set(index, next_tick(deadline));
        }
        // A connection that was used has another deadline, and goes to the end of the list as the
        // shortest idle.
        let until = deadline.filter(|_| slot.connection.can_be_evicted());
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

    /// Takes a slot out whose connection is closed.
    pub(super) fn remove<S, X>(&mut self, index: usize, slot: &Slot<S, X>) {
        if slot.idle.is_some() {
            self.idle.remove(&mut self.idle_links, index);
        }
        self.deadlines.cancel(index);
    }

    /// The slot of the connection that was idle for the longest time.
    pub(super) fn longest_idle(&self) -> Option<usize> {
        self.idle.first()
    }

    /// The time from `now` until a connection may be due.
    pub(super) fn next(&mut self, now: Instant) -> Option<Duration> {
        self.deadlines.next(now)
    }

    /// Takes out a slot whose connection may be due. Call until it gives `None`.
    pub(super) fn expired(&mut self, now: Instant) -> Option<usize> {
        self.deadlines.expired(now)
    }
}

/// The end of the tick of 67 ms (2^26 ns) in which `deadline` is. Deadlines wait for it together: each
/// wake-up is a call into the system, or into an interpreter. Limits are in seconds, so nobody misses
/// it; ticks of half the length wake up twice as often, those of double the length make a timeout of
/// 100 ms one of 234.
fn next_tick(deadline: Instant) -> Instant {
    const TICK: u64 = 1 << 26;
    Instant::from_nanos((deadline.as_nanos() | (TICK - 1)).saturating_add(1))
}
