//! File descriptors of closed streams that the runtime frees late.
//!
//! In some runtimes (wazero) a garbage collector closes the sockets, up to two minutes after `fd_close`. Until
//! then they count towards the process' limit of open files. So closing an idle connection to make room for a
//! new one may not help. This module estimates whether it does.

use crate::time::Instant;
use std::time::Duration;

/// An upper bound of the number of file descriptors that are not freed yet.
///
/// The runtime doesn't report a collection. But there has been one if accepting succeeds after it had
/// failed, and at the latest after [`MAX_COLLECTION_INTERVAL`].
#[derive(Debug, Default)]
pub(super) struct UnfreedFds {
    /// At most this many file descriptors of closed streams are not freed yet.
    at_most: usize,
    last_closed: Option<Instant>,
    /// The most recent attempt to accept has failed.
    last_accept_failed: bool,
}

/// Go collects garbage at least every two minutes, and then runs the finalizers that close the sockets.
const MAX_COLLECTION_INTERVAL: Duration = Duration::from_secs(125);

/// Idle connections are closed for new ones only while there are at least this many open connections for each
/// unfreed file descriptor. So at most a fifth of the connections is closed; then new ones wait for the
/// collection. At half it is a third, at double a ninth.
const OPEN_PER_UNFREED: usize = 4;

impl UnfreedFds {
    pub(super) fn closed(&mut self, now: Instant) {
        self.at_most += 1;
        self.last_closed = Some(now);
    }

    pub(super) fn accepted(&mut self) {
        if std::mem::take(&mut self.last_accept_failed) {
            self.at_most = 0;
        }
    }

    pub(super) fn failed_to_accept(&mut self) {
        self.last_accept_failed = true;
    }

    /// Whether most file descriptors certainly belong to the `open` connections. Then closing one of them is
    /// the only way to make room for a new connection. If not, the collection will make room.
    pub(super) fn are_few(&self, now: Instant, open: usize) -> bool {
        let is_over = |at| now.saturating_since(at) >= MAX_COLLECTION_INTERVAL;
        self.last_closed.is_none_or(is_over) || self.at_most * OPEN_PER_UNFREED <= open
    }
}

#[cfg(all(test, not(target_os = "wasi")))]
mod tests {
    use super::*;

    fn after(seconds: u64) -> Instant {
        Instant::default() + Duration::from_secs(seconds)
    }

    #[test]
    fn while_many_are_unfreed_the_collection_is_waited_for() {
        let mut unfreed = UnfreedFds::default();
        assert!(unfreed.are_few(after(0), 1));
        for _ in 0..1_000 {
            unfreed.closed(after(1));
        }
        unfreed.failed_to_accept();
        assert!(!unfreed.are_few(after(1), 20));
        // But not longer than a collection can take.
        assert!(!unfreed.are_few(after(125), 20));
        assert!(unfreed.are_few(after(126), 20));
    }

    #[test]
    fn accepting_after_a_failure_means_that_all_are_freed() {
        let mut unfreed = UnfreedFds::default();
        unfreed.closed(after(1));
        unfreed.accepted();
        assert!(!unfreed.are_few(after(1), 3));
        unfreed.failed_to_accept();
        unfreed.accepted();
        assert!(unfreed.are_few(after(1), 3));
    }

    #[test]
    fn at_most_a_fifth_of_the_connections_is_closed() {
        let mut unfreed = UnfreedFds::default();
        let mut open = 100;
        while unfreed.are_few(after(1), open) {
            unfreed.closed(after(1));
            open -= 1;
        }
        assert_eq!(open, 79);
    }
}
