//! Checks of streams that are not polled.

use std::time::Duration;

use super::Interest;
use crate::time::Instant;

/// When to check streams that are not polled, because the loop has no interest in them: the client has ended its stream
/// while its request waits, or enough of its input is kept. On WASI a poll can't wait for a reset alone: it would also
/// report the end of the stream or the input, each time. So such streams are checked now and then.
#[derive(Debug, Default)]
pub(super) struct Checks {
    /// There may be such streams.
    pub(super) has_unpolled: bool,
    next: Option<Instant>,
}

/// The time from one check to the next. At half, an idle server is woken twice as often; at double, a client
/// that has reset its connection keeps its slot for 10 seconds more.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

impl Checks {
    /// Records a stream's interest.
    pub(super) fn set_interest(&mut self, interest: Interest) {
        self.has_unpolled |= interest == Interest::NONE;
    }

    /// Whether a check is due. Then the caller makes it.
    pub(super) fn take_due(&mut self, now: Instant) -> bool {
        let is_due = self.next.is_some_and(|next| next <= now);
        if is_due || self.next.is_none() {
            self.next = Some(now + CHECK_INTERVAL);
        }
        is_due
    }

    /// How long a wait may last.
    pub(super) fn longest_wait(
        &mut self,
        now: Instant,
        timeout: Option<Duration>,
    ) -> Option<Duration> {
        if !self.has_unpolled {
            self.next = None;
        }
        let left = self.next.map(|next| next.saturating_since(now));
        [left, timeout].into_iter().flatten().min()
    }
}
