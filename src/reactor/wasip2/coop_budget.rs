//! tokio's cooperative budget: how many ready sockets the host reports before the program has to wait.
//!
//! wasmtime runs a program as one task of tokio. So that no task starves another, a task may use 128
//! ready sockets. After that, tokio says of every socket that it isn't ready, until the task has
//! waited. Then a poll reports nothing, and `check-write` permits nothing although there is room. A
//! program under load never has to wait, so it must do so on purpose: it waits for a clock of zero duration,
//! which gives control to tokio once.

use wasip2::clocks::monotonic_clock;

/// An estimate of how much of the budget is spent.
#[derive(Debug, Default)]
pub(super) struct CoopBudget {
    /// Sockets that were reported ready, and calls of `check-write`, since the last [`renew`](Self::renew).
    /// A poll that waited has renewed the budget, too, but the program can't know whether it waited. So less may
    /// be spent than this.
    spent: usize,
}

impl CoopBudget {
    /// A poll begins with at least this much left. At half, polls report 40 sockets at most. With more, the
    /// budget has to be renewed before each poll, which costs some µs.
    pub(super) const MIN_FOR_POLL: usize = 80;
    /// tokio's number.
    const TOTAL: usize = 128;

    pub(super) fn spend(&mut self, count: usize) {
        self.spent += count;
    }

    /// Makes sure that a poll can report at least [`MIN_FOR_POLL`](Self::MIN_FOR_POLL) sockets.
    pub(super) fn before_poll(&mut self) {
        if self.spent > Self::TOTAL - Self::MIN_FOR_POLL {
            self.renew();
        }
    }

    /// Renews the budget if it may have been used up. Returns whether it did; then a call that has returned
    /// nothing is worth another try.
    pub(super) fn renew_if_low(&mut self) -> bool {
        let is_low = self.spent > Self::MIN_FOR_POLL / 2;
        if is_low {
            self.renew();
        }
        is_low
    }

    /// Waits for a clock of zero duration, which runs the host's own event loop once.
    fn renew(&mut self) {
        self.spent = 0;
        monotonic_clock::subscribe_duration(0).block();
    }
}
