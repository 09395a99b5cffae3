//! How many calls the host answers truly until it is let go.

use wasip2::clocks::monotonic_clock;

/// What is left of the host's patience.
///
/// wasmtime runs a program as one task of tokio. So that no task starves another, a task may use 128
/// ready sockets; after that tokio says of every socket that it isn't ready, until the task has
/// waited. Then a poll tells nothing, and `check-write` permits nothing, though there is room. A
/// program under load never waits: so it has to say that the host may go on with its own affairs.
#[derive(Debug, Default)]
pub(super) struct CoopBudget {
    /// Sockets that were reported ready, and `check-write`s, since the host was last let go. (It may also
    /// have been while a poll waited, which can't be seen.)
    spent: usize,
}

impl CoopBudget {
    /// A poll begins with at least this much left. At half, polls report 40 sockets at most; with more, each
    /// poll lets the host go first, which costs some µs.
    pub(super) const MIN_FOR_POLL: usize = 80;
    /// What tokio allows.
    const TOTAL: usize = 128;

    pub(super) fn spend(&mut self, count: usize) {
        self.spent += count;
    }

    /// Sees to it that a poll can tell at least [`MIN_FOR_POLL`](Self::MIN_FOR_POLL).
    pub(super) fn before_poll(&mut self) {
        if self.spent > Self::TOTAL - Self::MIN_FOR_POLL {
            self.renew();
        }
    }

    /// Whether a call that was answered by nothing is worth to be tried again: if it may have been
    /// for want of an allowance, there is a new one now.
    pub(super) fn renew_if_low(&mut self) -> bool {
        let may = self.spent > Self::MIN_FOR_POLL / 2;
        if may {
            self.renew();
        }
        may
    }

    /// A clock of no time waits just once for the host's own event loop.
    fn renew(&mut self) {
        self.spent = 0;
        monotonic_clock::subscribe_duration(0).block();
    }
}
