//! The clock in the list of a poll.

use std::time::Duration;

use wasip2::clocks::monotonic_clock;
use wasip2::io::poll::Pollable;

/// The pollable that ends a wait. It is kept from wait to wait: making one and dropping it are calls
/// to the host, and the loop's next deadline is mostly the same as the time before, or later.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    set: Option<(u64, Pollable)>,
    now: Option<Pollable>,
}

impl Alarm {
    /// A pollable that is ready when `timeout` has passed since `now`, or earlier.
    pub(super) fn after(&mut self, now: u64, timeout: Duration) -> &Pollable {
        let deadline = now.saturating_add(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX));
        let is_of_use = |at: u64| now < at && at <= deadline;
        let kept = self.set.take().filter(|(at, _)| is_of_use(*at));
        let (_, pollable) = self.set.insert(kept.unwrap_or_else(|| {
            // A new one each time, if it is ready from the start: at its first poll wasmtime lets its
            // own event loop run, without which no socket would ever become ready.
            (deadline, monotonic_clock::subscribe_instant(deadline))
        }));
        pollable
    }

    /// A pollable that is ready.
    pub(super) fn now(&mut self) -> &Pollable {
        self.now
            .get_or_insert_with(|| monotonic_clock::subscribe_duration(0))
    }
}
