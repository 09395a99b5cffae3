//! The deadlines of one connection.

use std::time::Duration;

use crate::limits::Limits;
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
    /// How long after its start it is due.
    pub(super) fn duration(self, limits: &Limits) -> Duration {
        match self {
            Self::Head => limits.head_timeout,
            Self::Body | Self::Write => limits.rate_window,
            Self::Idle => limits.idle_timeout,
            Self::Linger => limits.linger_timeout,
        }
    }
}

/// The deadline of each [`Timer`] that is set: [`Timer::Write`], and one of the others, for only
/// one thing at a time is awaited of the client's input.
#[derive(Clone, Debug)]
pub(super) struct TimerTable {
    /// Which timer the deadline of the input is that of.
    input: Option<Timer>,
    input_deadline: Instant,
    write_deadline: Instant,
    /// What is left of a write timer that is paused, in milliseconds; 0 if none is.
    write_left: u32,
}

impl TimerTable {
    /// The deadline of a timer that is not set.
    const NEVER: Instant = Instant::from_nanos(u64::MAX);

    pub(super) fn new() -> Self {
        Self {
            input: None,
            input_deadline: Self::NEVER,
            write_deadline: Self::NEVER,
            write_left: 0,
        }
    }

    /// Starts a timer. One of the input takes the place of the one that was set.
    pub(super) fn start(&mut self, timer: Timer, now: Instant, limits: &Limits) {
        // The end of time is a deadline, too.
        let last = Instant::from_nanos(u64::MAX - 1);
        let deadline = (now + timer.duration(limits)).min(last);
        match timer {
            Timer::Write => self.write_deadline = deadline,
            Timer::Head | Timer::Body | Timer::Idle | Timer::Linger => {
                (self.input, self.input_deadline) = (Some(timer), deadline);
            }
        }
    }

    /// Makes the timer of the input end no later than this.
    pub(super) fn cap_input_deadline(&mut self, latest: Instant) {
        self.input_deadline = self.input_deadline.min(latest);
    }

    /// Stops the timer of the input, whichever is set.
    pub(super) fn stop_input(&mut self) {
        (self.input, self.input_deadline) = (None, Self::NEVER);
    }

    pub(super) fn stop_write(&mut self) {
        (self.write_deadline, self.write_left) = (Self::NEVER, 0);
    }

    /// Stops the write timer, which is to go on later.
    pub(super) fn pause_write(&mut self, now: Instant) {
        let left = self.write_deadline.saturating_since(now).as_millis();
        self.stop_write();
        self.write_left = u32::try_from(left).unwrap_or(u32::MAX).max(1);
    }

    /// Lets a write timer that is paused go on. Returns whether there is one.
    pub(super) fn resume_write(&mut self, now: Instant) -> bool {
        let left = std::mem::take(&mut self.write_left);
        if left > 0 {
            self.write_deadline = now + Duration::from_millis(left.into());
        }
        left > 0
    }

    /// The timer of the input that is set.
    pub(super) fn input(&self) -> Option<Timer> {
        self.input
    }

    pub(super) fn is_write_set(&self) -> bool {
        self.write_deadline != Self::NEVER
    }

    /// The earliest deadline.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let earliest = self.input_deadline.min(self.write_deadline);
        (earliest != Self::NEVER).then_some(earliest)
    }

    /// Takes out a timer whose deadline has passed, if there is one.
    pub(super) fn take_expired(&mut self, now: Instant) -> Option<Timer> {
        if self.input_deadline <= now {
            let timer = self.input;
            self.stop_input();
            timer
        } else if self.write_deadline <= now {
            self.stop_write();
            Some(Timer::Write)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn tells_the_earliest_deadline_and_what_has_expired() {
        let limits = Limits::default();
        let mut timers = TimerTable::new();
        assert_eq!(timers.next_timeout(), None);
        timers.start(Timer::Head, at(0), &limits);
        timers.start(Timer::Idle, at(5), &limits);
        assert_eq!(timers.input(), Some(Timer::Idle));
        timers.start(Timer::Write, at(2), &limits);
        assert_eq!(timers.next_timeout(), Some(at(12)));
        assert_eq!(timers.take_expired(at(11)), None);
        assert_eq!(timers.take_expired(at(80)), Some(Timer::Idle));
        assert_eq!(timers.take_expired(at(80)), Some(Timer::Write));
        assert_eq!(timers.take_expired(at(80)), None);
        assert_eq!(timers.next_timeout(), None);
    }

    #[test]
    fn a_write_timer_that_was_paused_goes_on() {
        let mut timers = TimerTable::new();
        timers.start(Timer::Write, at(0), &Limits::default());
        timers.pause_write(at(4));
        assert_eq!(timers.next_timeout(), None);
        assert!(timers.resume_write(at(100)));
        assert_eq!(timers.next_timeout(), Some(at(106)));
        timers.stop_write();
        assert!(!timers.resume_write(at(101)));
        assert_eq!(timers.next_timeout(), None);
    }

    #[test]
    fn the_end_of_time_is_a_deadline() {
        let limits = Limits {
            idle_timeout: Duration::MAX,
            ..Limits::default()
        };
        let mut timers = TimerTable::new();
        timers.start(Timer::Idle, at(1), &limits);
        assert!(timers.next_timeout().is_some());
    }
}
