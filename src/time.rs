//! Monotonic time, as read from a reactor's clock, and dates.

use std::ops::Add;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time on the reactor's monotonic clock, in nanoseconds since an arbitrary start.
///
/// Unlike `std::time::Instant` it can be made from a number: from the result of WASI's
/// `clock_time_get`, or by a test's virtual clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The point in time `nanos` nanoseconds after the clock's start.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock's start.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to this point; zero if `earlier` is later.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The point in time `duration` earlier, but not before the clock's start.
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(duration)))
    }
}

/// The nanoseconds of a duration, at most `u64::MAX` (584 years).
///
/// Avoids the 128-bit arithmetic of [`Duration::as_nanos`], because each request reads the clock and
/// sets a deadline.
pub(crate) fn nanos(duration: Duration) -> u64 {
    const PER_SECOND: u64 = 1_000_000_000;
    if duration.as_secs() < u64::MAX / PER_SECOND {
        duration.as_secs() * PER_SECOND + u64::from(duration.subsec_nanos())
    } else {
        u64::MAX
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// The point in time `duration` later, at most 584 years after the clock's start.
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }
}

/// The date as in RFC 9110 §5.6.7: `Fri, 27 Nov 2026 18:25:43 GMT`. A time outside of the years 1970 to 9999 is moved
/// to the nearest one in them, because `httpdate` panics otherwise, and a runtime's clock may return any time.
pub(crate) fn http_date(time: SystemTime) -> String {
    const YEAR_9999: Duration = Duration::from_secs(253_402_300_799);
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    httpdate::fmt_http_date(UNIX_EPOCH + since.min(YEAR_9999))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_and_subtracts_without_overflow() {
        let second = Instant::from_nanos(1_000_000_000);
        assert_eq!(
            second + Duration::from_secs(1),
            Instant::from_nanos(2_000_000_000)
        );
        assert_eq!(second + Duration::MAX, Instant::from_nanos(u64::MAX));
        assert_eq!(Instant::default().saturating_since(second), Duration::ZERO);
        assert_eq!(
            second.saturating_since(Instant::default()),
            Duration::from_secs(1)
        );
    }

    #[test]
    fn durations_are_clamped_to_584_years() {
        let most = Duration::from_nanos(u64::MAX);
        for (duration, nanos) in [
            (Duration::new(7, 9), 7_000_000_009),
            (most - Duration::from_secs(1), u64::MAX - 1_000_000_000),
            (most, u64::MAX),
            (most + Duration::from_secs(1), u64::MAX),
            (Duration::MAX, u64::MAX),
        ] {
            assert_eq!((Instant::default() + duration).as_nanos(), nanos);
        }
    }
}
