//! The timers of one connection: which are set, and when they expire.

use std::time::Duration;

use crate::limits::Limits;
use crate::time::Instant;

/// What the connection waits for with a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// The header of the PROXY protocol. On expiry the connection is closed.
    ProxyHeader,
    /// The rest of a head that has begun. On expiry: 408.
    Head,
    /// The end of a rate window in which a body is received. On expiry the rate is checked.
    Body,
    /// The end of a rate window in which responses are sent. On expiry the rate is checked.
    Write,
    /// The next request. On expiry the idle connection is closed.
    Idle,
    /// The client's end of stream after the last response. On expiry the connection is closed.
    Linger,
    /// The response of a handler whose bodies stream. On expiry: 503.
    Handler,
    /// The end of a response, after the client's end of stream. On expiry the connection is closed.
    HalfClosed,
}

impl Timer {
    /// The time from the timer's start to its deadline.
    pub(super) fn duration(self, limits: &Limits) -> Duration {
        match self {
            Self::ProxyHeader => limits.proxy_header_timeout,
            Self::Head => limits.head_timeout,
            Self::Body | Self::Write => limits.rate_window,
            Self::Idle => limits.idle_timeout,
            Self::Linger => limits.linger_timeout,
            Self::Handler => limits.handler_timeout.unwrap_or(Duration::MAX),
            Self::HalfClosed => limits.half_closed_timeout,
        }
    }
}

/// The timers that are set, with their deadlines: [`Timer::Write`], and at most one of the others
/// (the input timer), because input is awaited for one purpose at a time.
#[derive(Clone, Debug)]
pub(super) struct TimerTable {
    /// Which timer `input_deadline` belongs to.
    input: Option<Timer>,
    input_deadline: Instant,
    write_deadline: Instant,
}

impl TimerTable {
    /// The deadline of a timer that is not set.
    const NEVER: Instant = Instant::from_nanos(u64::MAX);
    /// The latest deadline of one that is set.
    const LAST: Instant = Instant::from_nanos(u64::MAX - 1);

    pub(super) fn new() -> Self {
        Self {
            input: None,
            input_deadline: Self::NEVER,
            write_deadline: Self::NEVER,
        }
    }

    /// Starts a timer. A new input timer replaces the one that was set.
    pub(super) fn start(&mut self, timer: Timer, now: Instant, limits: &Limits) {
        let deadline = Self::after(now, timer.duration(limits));
        match timer {
            Timer::Write => self.write_deadline = deadline,
            input => self.set_input(input, deadline),
        }
    }

    /// The deadline of a timer that starts at `now`. A duration that goes beyond [`LAST`](Self::LAST) is shortened to 292
    /// years: so a later start has a later deadline, by which the loop sees that a connection was used.
    pub(super) fn after(now: Instant, duration: Duration) -> Instant {
        let deadline = now + duration;
        match deadline > Self::LAST {
            true => (now + Duration::from_nanos(u64::MAX / 2)).min(Self::LAST),
            false => deadline,
        }
    }

    /// Sets the input timer, in place of the one that was set.
    pub(super) fn set_input(&mut self, timer: Timer, deadline: Instant) {
        (self.input, self.input_deadline) = (Some(timer), deadline.min(Self::LAST));
    }

    /// Moves the input timer's deadline to `latest` if it is later than that.
    pub(super) fn cap_input_deadline(&mut self, latest: Instant) {
        self.input_deadline = self.input_deadline.min(latest);
    }

    /// Stops the input timer, whichever is set.
    pub(super) fn stop_input(&mut self) {
        (self.input, self.input_deadline) = (None, Self::NEVER);
    }

    pub(super) fn stop_write(&mut self) {
        self.write_deadline = Self::NEVER;
    }

    /// The input timer, if one is set.
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

    /// The deadline of [`Timer::Write`].
    pub(super) fn write_timeout(&self) -> Option<Instant> {
        self.is_write_set().then_some(self.write_deadline)
    }

    /// Stops [`Timer::Write`] if its deadline has passed. Returns whether it has.
    pub(super) fn take_expired_write(&mut self, now: Instant) -> bool {
        let is_expired = self.write_deadline <= now;
        if is_expired {
            self.stop_write();
        }
        is_expired
    }

    /// Stops and returns one timer whose deadline has passed, if there is one.
    pub(super) fn take_expired(&mut self, now: Instant) -> Option<Timer> {
        if self.input_deadline <= now {
            let timer = self.input;
            self.stop_input();
            timer
        } else {
            self.take_expired_write(now).then_some(Timer::Write)
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
    fn returns_the_earliest_deadline_and_expired_timers() {
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
    fn the_longest_duration_still_sets_a_deadline() {
        let limits = Limits {
            idle_timeout: Duration::MAX,
            ..Limits::default()
        };
        let mut timers = TimerTable::new();
        timers.start(Timer::Idle, at(1), &limits);
        assert!(timers.next_timeout().is_some());
    }
}
