//! Monotonic time, as a reactor tells it.

use std::ops::Add;
use std::time::Duration;

/// A moment on the reactor's monotonic clock, in nanoseconds from a start of its own choosing.
///
/// `std::time::Instant` can't be made from a number, and so neither by a runtime's
/// `clock_time_get` nor by a test's virtual clock; hence this one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The moment `nanos` nanoseconds after the clock's start.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock's start.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to this moment; zero if `earlier` is later.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The moment `duration` earlier; the clock's start if that is before it.
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(duration)))
    }
}

/// The nanoseconds of a duration, at most 584 years.
///
/// Every request reads a clock and sets a deadline, so this does without the 128 bits of
/// [`Duration::as_nanos`].
fn nanos(duration: Duration) -> u64 {
    const PER_SECOND: u64 = 1_000_000_000;
    if duration.as_secs() < u64::MAX / PER_SECOND {
        duration.as_secs() * PER_SECOND + u64::from(duration.subsec_nanos())
    } else {
        u64::MAX
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// The moment `duration` later; the end of time (584 years) if that is beyond it.
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }
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
    fn a_duration_of_centuries_is_the_end_of_time() {
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
