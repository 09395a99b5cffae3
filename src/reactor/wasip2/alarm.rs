//! The clock that ends a poll at its deadline.

use std::time::Duration;

use wasip2::clocks::monotonic_clock;
use wasip2::io::poll::Pollable;

/// The pollables of the clock. They are kept from wait to wait: making and dropping one are calls
/// to the host, and the loop's next deadline is usually the same as before, or later.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    /// When `later` is ready, in nanoseconds of the monotonic clock.
    at: u64,
    /// For [`End::After`].
    later: Option<Pollable>,
    /// For [`End::Now`].
    now: Option<Pollable>,
}

/// When a poll that finds nothing ready ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// At once.
    Now,
    /// When the duration has passed since the moment (nanoseconds of the monotonic clock), or somewhat earlier.
    After(u64, Duration),
}

impl End {
    /// `nanos` after `now`.
    pub(super) const fn after(now: u64, nanos: u64) -> Self {
        Self::After(now, Duration::from_nanos(nanos))
    }
}

impl Alarm {
    /// Makes the pollable for `end`, unless the one at hand fits. An earlier one fits too: the wait then polls
    /// again.
    pub(super) fn set(&mut self, end: End) {
        match end {
            End::Now => {
                self.now
                    .get_or_insert_with(|| monotonic_clock::subscribe_duration(0));
            }
            End::After(now, timeout) => {
                let timeout = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
                let deadline = now.saturating_add(timeout);
                let will_do = now < self.at && self.at <= deadline;
                if !will_do || self.later.is_none() {
                    self.at = deadline;
                    // A deadline that has passed already gets a new pollable each time: when wasmtime polls one
                    // for the first time, it runs its own event loop.
                    self.later = Some(monotonic_clock::subscribe_instant(deadline));
                }
            }
        }
    }

    /// The pollable for `end`, after [`set`](Self::set).
    pub(super) fn pollable(&self, end: End) -> Option<&Pollable> {
        match end {
            End::Now => self.now.as_ref(),
            End::After(..) => self.later.as_ref(),
        }
    }
}
