//! The bounds that the seeded tests check: how long it may take until the poller reports an event, and how many calls
//! it may make when nothing happens.

use super::personality::{Costs, Personality};

impl Personality {
    /// How long it takes at most until the poller reports a ready connection, in nanoseconds, according to its
    /// documentation. There are `connections`, and the caller works for at most `work` nanoseconds in an iteration.
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
        // A poll that finds nothing takes a tick. Finding what is ready among 40 uncertain events takes a few polls.
        let narrowing = self.tick * 9;
        // After a fault, all of this may be needed once more, and a pause. In the seeds that are run, there are no
        // more than ten faults in a row.
        let hostile = if self.faults.again > 0 { 10 } else { 1 };
        (uncertain + cycle + sleep + narrowing + 3 * iteration) * hostile + self.faults.late_by
    }

    /// The most calls in a second in which nothing happens, with at most 40 connections.
    #[must_use]
    pub fn calls_at_rest(&self) -> u64 {
        match (self.blind, self.faults.spurious) {
            // 2 % of a second at 1.6 µs each, and a thousand sleeps.
            (true, _) => 13_500,
            (false, 0) => 20,
            // Most are for spurious events, or polls that fail or return at once.
            (false, _) => 5_000,
        }
    }
}
