//! Waiting where `poll_oneoff` doesn't look at sockets.
//!
//! There is nothing to do but sleep for a short time and try. The sleep adapts:
//!
//! - none while something happens;
//! - then 20 µs, doubled with each fruitless round, up to the rest: 4.5 ms, which leaves half a
//!   millisecond of five to wake up and try; or, when that is longer, 24 times as long as a round of
//!   fruitless tries takes, so that trying and waking up are less than 5 % of the time.
//!
//! So at rest, if a round of tries takes t, the first byte of a request waits for at most 4.5 ms, or
//! 24 t once that is more, and half of that on average. t is n connections times what it costs to try
//! one: the call that answers `AGAIN`, and the caller's own work around it, which an interpreter makes
//! the larger part. With 1.6 µs for each: 4.5 ms up to n = 117, then n times 38 µs. To rest for less
//! would spend more than 2 % of a core on waking up alone. (Measured with 1,000 in the host of
//! `ci/wazero-like`: 4.2 % of a core, half of the answers within 16 ms and all within 28.)
//!
//! While something happens the busy ones and the listeners are tried in each round, and the idle
//! ones in turn, on the budget of [`poll_turns`]; their turn takes what 64 n tries take at worst, and
//! 8 n when the caller works all the time, but 10 ms at least with n above 256.

use super::poll::sleep;
use super::{Poller, Ready, RuntimeKind};
use crate::errno::Errno;
use crate::wasi::{Event, EventKind, Subscription, Wasi};

/// How long to sleep.
#[derive(Debug, Default)]
pub(super) struct Sleep {
    /// How long the last sleep was.
    last_sleep: u64,
    /// When to try again, if that is decided.
    next_try: Option<u64>,
    /// What a round of trying everything takes.
    pass: u64,
    /// How many were tried in the last round, if that was everything.
    tried_all: Option<usize>,
}

/// The first sleep, in nanoseconds: about what a host takes to wake up. It doubles within eight rounds to
/// the rest, so half or double is one round more or less.
const MIN_SLEEP: u64 = 20_000;

/// The bounds of the sleep at rest, in nanoseconds. The head of this file has the reason of the first. Beyond
/// the second a person notices: with 2,600 connections at 1.6 µs each, tries take more than 5 % of a core.
const MIN_LONGEST_SLEEP: u64 = 4_500_000;
const MAX_LONGEST_SLEEP: u64 = 100_000_000;

/// How often the runtime is asked in a row whether it looks at sockets. Two good events decide; the rest is for
/// hosts that fail: with three polls of ten that do, four questions leave it open in one start of twelve.
const MAX_PROBES: usize = 16;

/// No connection is accepted for that while this many are kept: the caller has not asked for them yet, and may
/// be at a limit. With one, a second poll at the start could not be judged.
const MAX_ACCEPTED: usize = 4;

/// Up to this many connections all are tried in each round: 32 tries take 50 µs, as long as a wake-up.
const FEW: usize = 32;

impl Sleep {
    /// Something has happened: the next round of tries is at once.
    pub(super) fn progress(&mut self, now: u64) {
        *self = Self {
            pass: self.pass,
            next_try: Some(now),
            ..Self::default()
        };
    }

    /// When to try again, if nothing has happened in the last round of tries, which has taken
    /// `took`.
    fn next_try(&mut self, now: u64, took: u64) -> u64 {
        if self.tried_all.take().is_some() {
            // One that is far longer than others was most likely another process' time, for which
            // nobody should wait 24 times as long.
            self.pass = match self.pass {
                0 => took,
                pass => (pass * 3 + took.min(pass * 2)) / 4,
            };
        }
        let longest = longest_sleep(self.pass);
        self.last_sleep = (self.last_sleep * 2).clamp(MIN_SLEEP, longest);
        now + self.last_sleep
    }

    fn is_at_longest(&self) -> bool {
        self.last_sleep >= longest_sleep(self.pass)
    }
}

/// The sleep at rest when a round of fruitless tries takes `round`.
fn longest_sleep(pass: u64) -> u64 {
    (pass * 24).clamp(MIN_LONGEST_SLEEP, MAX_LONGEST_SLEEP)
}

impl<W: Wasi> Poller<W> {
    pub(super) fn wait_by_trying(
        &mut self,
        now: u64,
        left: u64,
        ready: &mut Vec<Ready>,
    ) -> Result<(), Errno> {
        self.planner.advance(now);
        let next_try = match self.sleep.next_try {
            Some(next_try) => next_try,
            None => {
                let took = now.saturating_sub(self.planner.wait_ended());
                if let Some(count) = self.sleep.tried_all
                    && self.without_progress > 0
                {
                    self.tries.measured(took / (count as u64).max(1));
                }
                self.sleep.next_try(now, took)
            }
        };
        self.sleep.next_try = Some(next_try);
        let nanos = next_try.saturating_sub(now).min(left);
        if nanos > 0 {
            sleep(&self.wasi, nanos);
        }
        if self.now() < next_try {
            return Ok(());
        }
        self.sleep.next_try = None;
        let idle = self.planner.idle();
        if idle <= FEW || self.sleep.is_at_longest() {
            let before = ready.len();
            self.report_all_interests(ready);
            self.sleep.tried_all = Some(ready.len() - before);
            return Ok(());
        }
        self.list_busy();
        let slots = &self.slots;
        let is_polled = |index| slots.at(index).is_polled();
        let count = self.planner.charge_tries(self.tries.cost());
        self.planner
            .next_idle(count, is_polled, &mut self.poll.list);
        let polled = self.poll.list.iter().copied().filter(|it| is_polled(*it));
        ready.extend(polled.map(|index| slots.at(index).all_interests()));
        Ok(())
    }

    /// Finds out whether the runtime looks at sockets: one that doesn't reports a listener and a
    /// clock of no time together, and then there is nobody to accept. An answer that makes no sense,
    /// or a failure, says nothing about that: the question is asked again.
    pub(super) fn detect_blindness(&mut self) -> RuntimeKind {
        let (mut accepted, mut again) = (0, 0);
        for _ in 0..MAX_PROBES {
            if self.accepted.len() >= MAX_ACCEPTED {
                return RuntimeKind::Unknown;
            }
            let mut listeners = self.slots.listeners().iter();
            let Some(&index) = listeners.find(|index| self.slots.at(**index).is_polled()) else {
                return RuntimeKind::Unknown;
            };
            let fd = self.slots.at(index).fd;
            let subscriptions = [Subscription::read(0, fd), Subscription::clock(0, 0)];
            let mut events = [Event::default(); 2];
            match self.wasi.poll_oneoff(&subscriptions, &mut events) {
                Ok(2) => {}
                // The clock, at least, has run out.
                Ok(0) | Err(_) => continue,
                Ok(_) => return RuntimeKind::ChecksSockets,
            }
            let has_succeeded = |kind| {
                events
                    .iter()
                    .any(|event| event.kind() == kind && event.error == Errno::SUCCESS)
            };
            if !has_succeeded(EventKind::Read) || !has_succeeded(EventKind::Clock) {
                continue;
            }
            if self.accepted.may_block {
                return RuntimeKind::Unknown;
            }
            match self.accept_from(fd) {
                Ok(stream) => {
                    self.accepted.keep(index, stream);
                    accepted += 1;
                }
                Err(Errno::AGAIN) => again += 1,
                Err(_) => {}
            }
            // Once may be an accident.
            if again == 2 {
                log::info!("this runtime's poll_oneoff doesn't look at sockets: sleeping");
                return RuntimeKind::Blind;
            }
        }
        match accepted {
            0 => RuntimeKind::ChecksSockets,
            _ => RuntimeKind::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_keeps_the_law() {
        // 40 connections at 1.6 µs, and somewhat more: less than 2 %, and at most 5 ms.
        assert_eq!(longest_sleep(64_000), MIN_LONGEST_SLEEP);
        assert_eq!(longest_sleep(150_000), MIN_LONGEST_SLEEP);
        // 1,000 connections: less than 5 %.
        assert_eq!(longest_sleep(1_600_000), 1_600_000 * 24);
        assert_eq!(longest_sleep(0), MIN_LONGEST_SLEEP);
    }

    #[test]
    fn a_round_that_was_interrupted_hardly_counts() {
        let mut sleep = Sleep::default();
        let mut next_pass = |took| {
            sleep.tried_all = Some(1000);
            sleep.next_try(0, took);
            sleep.pass
        };
        assert_eq!(next_pass(1_600_000), 1_600_000);
        assert_eq!(next_pass(50_000_000), 2_000_000);
        for _ in 0..20 {
            next_pass(1_600_000);
        }
        assert!((1_600_000..1_610_000).contains(&next_pass(1_600_000)));
        // What costs more from now on is learnt.
        for _ in 0..20 {
            next_pass(3_200_000);
        }
        assert!((3_190_000..=3_200_000).contains(&next_pass(3_200_000)));
    }

    #[test]
    fn sleeps_grow_when_nothing_happens() {
        let mut sleep = Sleep::default();
        assert_eq!(sleep.next_try(0, 0), MIN_SLEEP);
        assert_eq!(sleep.next_try(0, 0), 2 * MIN_SLEEP);
        for _ in 0..10 {
            sleep.next_try(0, 0);
        }
        assert_eq!(sleep.next_try(0, 0), MIN_LONGEST_SLEEP);
        assert!(sleep.is_at_longest());
        sleep.progress(7);
        assert_eq!(sleep.next_try, Some(7));
        assert!(!sleep.is_at_longest());
    }
}
