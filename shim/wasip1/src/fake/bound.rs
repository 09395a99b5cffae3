//! How long something may wait until the poller finds it.

use super::personality::{Costs, Personality};

impl Personality {
    /// Nanoseconds within which the poller reports what is ready, as its documentation states, beside
    /// so many connections, if the caller's part of a round takes at most `work` nanoseconds.
    #[must_use]
    pub fn found_within(&self, connections: u64, work: u64) -> u64 {
        let Costs {
            subscription,
            failure,
            ..
        } = self.costs;
        let iteration = connections * (subscription * 4 + failure) + work + self.tick;
        let uncertain = (16 * failure * connections).clamp(1_000_000, 50_000_000);
        let cycle = 64 * connections * subscription;
        let sleep = if self.blind { 5_000_000 } else { 0 };
        // A poll that finds nothing takes a tick; finding what is ready among 40 takes a few.
        let narrowing = self.tick * 9;
        // Each thing that goes wrong may cost one more of everything, and a pause; and no more
        // than ten do in a row, in the seeds that are run.
        let hostile = if self.faults.again > 0 { 10 } else { 1 };
        (uncertain + cycle + sleep + narrowing + 3 * iteration) * hostile + self.faults.late_by
    }

    /// The most calls in a second in which nothing happens, for at most 40 connections.
    #[must_use]
    pub fn calls_at_rest(&self) -> u64 {
        match (self.blind, self.faults.spurious) {
            // 2 % of a second at 1.6 µs, and a thousand sleeps.
            (true, _) => 13_500,
            (false, 0) => 20,
            // Each of them is a spurious event, or a poll that fails or returns at once.
            (false, _) => 5_000,
        }
    }
}
