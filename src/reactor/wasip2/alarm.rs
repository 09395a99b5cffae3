//! The clock in the list of a poll.

use std::time::Duration;

use wasip2::clocks::monotonic_clock;
use wasip2::io::poll::Pollable;

/// The pollable that ends a wait. It is kept from wait to wait: making one and dropping it are calls
/// to the host, and the loop's next deadline is mostly the same as the time before, or later.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    at: u64,
    later: Option<Pollable>,
    now: Option<Pollable>,
}

/// When a poll ends that finds nothing.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// At once.
    Now,
    /// When this much time has passed since that moment, or somewhat earlier.
    After(u64, Duration),
}

impl End {
    /// When `nanos` have passed since `now`.
    pub(super) const fn after(now: u64, nanos: u64) -> Self {
        Self::After(now, Duration::from_nanos(nanos))
    }
}

impl Alarm {
    /// Makes the pollable for an end, if there is none that will do.
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
                    // If it is ready from the start, a new one each time: at its first poll wasmtime
                    // lets its own event loop run.
                    self.later = Some(monotonic_clock::subscribe_instant(deadline));
                }
            }
        }
    }

    /// The pollable for the end that was set.
    pub(super) fn pollable(&self, end: End) -> Option<&Pollable> {
        match end {
            End::Now => self.now.as_ref(),
            End::After(..) => self.later.as_ref(),
        }
    }
}
