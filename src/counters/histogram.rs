//! [`Histogram`]: how many durations were up to each of some bounds.

use std::ops::AddAssign;
use std::time::Duration;

/// How many durations were up to each of some bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// For each bound, how many durations exceed the bound before it, but not this one. Then how many exceed all
    /// bounds.
    pub(super) counts: [u64; Self::BOUNDS.len() + 1],
    /// The sum in nanoseconds.
    pub(super) nanos: u64,
}

impl Histogram {
    /// The bounds. The first ones are for handlers that compute, the others are the defaults of Prometheus.
    pub const BOUNDS: &'static [Duration] = &[
        Duration::from_micros(10),
        Duration::from_micros(100),
        Duration::from_micros(500),
        Duration::from_millis(1),
        Duration::from_micros(2500),
        Duration::from_millis(5),
        Duration::from_millis(10),
        Duration::from_millis(25),
        Duration::from_millis(50),
        Duration::from_millis(100),
        Duration::from_millis(250),
        Duration::from_millis(500),
        Duration::from_secs(1),
        Duration::from_millis(2500),
        Duration::from_secs(5),
        Duration::from_secs(10),
    ];

    /// How many durations there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.nanos)
    }

    /// Each bound, with the number of durations that don't exceed it.
    pub fn up_to(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let mut sum = 0;
        Self::BOUNDS
            .iter()
            .zip(&self.counts)
            .map(move |(bound, count)| {
                sum += count;
                (*bound, sum)
            })
    }

    /// The index of a duration in the counts.
    pub(super) fn place(duration: Duration) -> usize {
        Self::BOUNDS.partition_point(|bound| *bound < duration)
    }
}

impl AddAssign<&Self> for Histogram {
    fn add_assign(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.nanos = self.nanos.wrapping_add(other.nanos);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_up_to_the_first_bound_that_is_not_less() {
        assert_eq!(Histogram::place(Duration::ZERO), 0);
        assert_eq!(Histogram::place(Duration::from_micros(10)), 0);
        assert_eq!(Histogram::place(Duration::from_nanos(10_001)), 1);
        assert_eq!(Histogram::place(Duration::from_secs(10)), 15);
        assert_eq!(Histogram::place(Duration::from_secs(11)), 16);
        assert!(Histogram::BOUNDS.is_sorted());
    }
}
