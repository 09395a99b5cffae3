//! [`Tries`]: how often a connection is tried whose events are uncertain.
//!
//! A *try* is a call that may return `AGAIN`. It finds out what an uncertain event can't say. The cost of such a
//! call is measured, and the time spent on tries is limited.

use poll_turns::TIME_SHARE;

/// Tries of busy connections take at most one part in this many of the time: 6 %. At half (8) it is 12 %; at double
/// 3 %, and it takes twice as long to find the end of a busy connection.
const SHARE: u64 = 16;

/// How often a listener with an uncertain event is tried under load, in nanoseconds. A little less than a
/// millisecond, because an iteration takes a part of it. No client notices such a delay, and a try takes some 1 µs of
/// each millisecond.
pub(super) const LISTENER_INTERVAL: u64 = 900_000;

/// The shortest and the longest time between two tries of one busy connection, in nanoseconds. If it were shorter
/// than the first, a try would find no more than the poll of the next iteration. If it were longer than the second, a
/// person would notice the delay of a single byte or of the end. With 64 busy connections and 0.7 µs for `AGAIN` it
/// is 0.7 ms; 4,500 busy ones reach the longest.
const INTERVAL_BOUNDS: (u64, u64) = (250_000, 50_000_000);

/// The least and the most that a call which returns `AGAIN` can cost, in nanoseconds, to limit the harm of a wrong
/// clock. Some hosts take 30 µs if `RUST_BACKTRACE` is set.
const COST_BOUNDS: (u64, u64) = (100, 100_000);

/// The measured cost of a try, in nanoseconds.
#[derive(Debug)]
pub(super) struct Tries {
    cost: u64,
}

impl Default for Tries {
    fn default() -> Self {
        // A guess, until the first `AGAIN` of a listener is measured.
        Self { cost: 2_000 }
    }
}

impl Tries {
    /// The cost of a call that returns `AGAIN`.
    pub(super) const fn cost(&self) -> u64 {
        self.cost
    }

    /// Records that a call has returned `AGAIN` and took `took`.
    pub(super) fn measured(&mut self, took: u64) {
        self.cost = took.clamp(COST_BOUNDS.0, COST_BOUNDS.1);
    }

    /// The time between two tries of a connection, if there are `busy` of them.
    pub(super) fn interval(&self, busy: usize) -> u64 {
        (SHARE * self.cost * busy as u64).clamp(INTERVAL_BOUNDS.0, INTERVAL_BOUNDS.1)
    }
}

/// The longest that a poll of all connections takes without waiting. One that takes longer has waited, so nothing
/// was ready when it began. `cost` is the average cost of polling one connection; four times that allows for slow
/// polls.
pub(super) const fn max_immediate_poll(cost: u64, idle: usize) -> u64 {
    1_000_000 + 4 * cost * idle as u64
}

/// How long uncertain events of idle connections may stay unexamined while each poll of all also has certain ones.
/// Examining them costs about one more poll of all, so it may take the same [`TIME_SHARE`]. At least 20 ms, which is
/// twice the least time of a cycle, in which all idle connections are polled once (10 ms).
pub(super) fn resolve_interval(cost: u64, idle: usize) -> u64 {
    (TIME_SHARE * cost * idle as u64).max(20_000_000)
}
