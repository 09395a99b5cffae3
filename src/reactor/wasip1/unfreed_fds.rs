//! Descriptors that come back only some time after their streams were closed.

use crate::time::Instant;
use std::time::Duration;

/// What is known of the descriptors of closed streams, on a runtime where a garbage collector closes
/// the sockets.
///
/// Nothing says when there is a collection. But one has come when accepting works again after it had
/// failed; and none is longer away than [`MAX_COLLECTION_INTERVAL`].
#[derive(Debug, Default)]
pub(super) struct UnfreedFds {
    /// At most so many descriptors of closed streams are not back yet.
    at_most: usize,
    last_closed: Option<Instant>,
    /// The last time that accepting was tried it has failed.
    last_accept_failed: bool,
}

/// Go collects garbage after two minutes at the latest, and then runs what closes the sockets.
const MAX_COLLECTION_INTERVAL: Duration = Duration::from_secs(125);

/// Closing an idle connection for a newcomer is of use as long as at most one descriptor comes back for
/// this many connections that are open. So a fifth of them is closed at most; at half it is a third, at
/// double a ninth, and newcomers wait for the collection sooner.
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

    /// Whether most descriptors are surely those of the `open` connections, so that there is a place for
    /// a newcomer only when one of them is closed. If not, waiting for the collection is enough.
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
    fn many_that_were_closed_are_waited_for() {
        let mut unfreed = UnfreedFds::default();
        assert!(unfreed.are_few(after(0), 1));
        for _ in 0..1_000 {
            unfreed.closed(after(1));
        }
        unfreed.failed_to_accept();
        assert!(!unfreed.are_few(after(1), 20));
        // But not longer than a collection can be away.
        assert!(!unfreed.are_few(after(125), 20));
        assert!(unfreed.are_few(after(126), 20));
    }

    #[test]
    fn after_a_collection_none_is_waited_for() {
        let mut unfreed = UnfreedFds::default();
        unfreed.closed(after(1));
        unfreed.accepted();
        assert!(!unfreed.are_few(after(1), 3));
        unfreed.failed_to_accept();
        unfreed.accepted();
        assert!(unfreed.are_few(after(1), 3));
    }

    #[test]
    fn of_the_open_ones_a_quarter_is_closed_at_most() {
        let mut unfreed = UnfreedFds::default();
        let mut open = 100;
        while unfreed.are_few(after(1), open) {
            unfreed.closed(after(1));
            open -= 1;
        }
        assert_eq!(open, 79);
    }
}
