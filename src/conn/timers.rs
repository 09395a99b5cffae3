//! The deadlines of one connection.

use crate::time::Instant;

/// What a connection may be too late with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// When to give up on a head that has begun.
    Head,
    /// When to look whether the body has arrived fast enough.
    Body,
    /// When to look whether the client has taken its answers fast enough.
    Write,
    /// When to close a connection on which nothing happens.
    Idle,
    /// When to stop waiting for the client's end of stream after the last answer.
    Linger,
}

impl Timer {
    const ALL: [Self; 5] = [
        Self::Head,
        Self::Body,
        Self::Write,
        Self::Idle,
        Self::Linger,
    ];
}

/// The deadline of each [`Timer`] that is set.
#[derive(Clone, Debug)]
pub(super) struct TimerTable {
    deadlines: [Instant; Timer::ALL.len()],
}

impl TimerTable {
    /// The deadline of a timer that is not set.
    const NEVER: Instant = Instant::from_nanos(u64::MAX);

    pub(super) fn new() -> Self {
        Self {
            deadlines: [Self::NEVER; Timer::ALL.len()],
        }
    }

    pub(super) fn set(&mut self, timer: Timer, deadline: Instant) {
        // The end of time is a deadline, too.
        let last = Instant::from_nanos(u64::MAX - 1);
        self.deadlines[timer as usize] = deadline.min(last);
    }

    pub(super) fn stop(&mut self, timer: Timer) {
        self.deadlines[timer as usize] = Self::NEVER;
    }

    pub(super) fn is_set(&self, timer: Timer) -> bool {
        self.deadlines[timer as usize] != Self::NEVER
    }

    /// The earliest deadline.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let earliest = self.deadlines.into_iter().min().unwrap_or(Self::NEVER);
        (earliest != Self::NEVER).then_some(earliest)
    }

    /// A timer whose deadline has passed, if there is one.
    pub(super) fn expired(&self, now: Instant) -> Option<Timer> {
        Timer::ALL
            .into_iter()
            .find(|timer| self.deadlines[*timer as usize] <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_earliest_deadline_and_what_has_expired() {
        let mut timers = TimerTable::new();
        assert_eq!(timers.next_timeout(), None);
        timers.set(Timer::Idle, Instant::from_nanos(9));
        timers.set(Timer::Write, Instant::from_nanos(5));
        assert_eq!(timers.next_timeout(), Some(Instant::from_nanos(5)));
        assert_eq!(timers.expired(Instant::from_nanos(4)), None);
        assert_eq!(timers.expired(Instant::from_nanos(5)), Some(Timer::Write));
        timers.stop(Timer::Write);
        assert_eq!(timers.expired(Instant::from_nanos(9)), Some(Timer::Idle));
    }
}
