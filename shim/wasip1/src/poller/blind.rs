//! Detects runtimes whose `poll_oneoff` doesn't check sockets (blind ones), and waits in them.
//!
//! In a blind runtime, the only way to wait is to sleep briefly, and then report the connections so that the caller
//! tries them. One such try of all of them is a *pass*. The sleep adapts:
//!
//! - There is none while something happens.
//! - Then it is 20 µs, and doubles with each pass that finds nothing, up to a longest sleep.
//! - The longest sleep is 24 times as long as such a pass takes, so that passes and wake-ups take less than 5 % of
//!   the time. But it is at least 4.5 ms: shorter ones would spend more than 2 % of a core on wake-ups alone. With
//!   half a millisecond to wake up and try, the first byte of a request then waits for 5 ms.
//!
//! So if nothing has happened for a while, and a pass takes t, the first byte of a request waits for at most 4.5 ms
//! or 24·t, whichever is more, and for half of that on average. t is the number of connections n times the cost of
//! trying one: the call that returns `AGAIN`, and the work of the caller around it, which is the larger part in an
//! interpreter. At 1.6 µs each, the longest sleep is 4.5 ms up to n = 117, and then n times 38 µs. (Measured with
//! 1,000 connections in the host of `ci/wazero-like`: 4.2 % of a core, half of the responses within 16 ms and all
//! within 28.)
//!
//! While something happens, each pass tries the busy connections and the listeners, and some of the idle ones in
//! turn, on the budget of [`poll_turns`]. One cycle over the idle ones takes as long as 64·n tries at worst, and as
//! 13·n tries if the caller works all the time, but at least 10 ms with n above 256.

use super::poll::sleep;
use super::slots::Slot;
use super::{Poller, Ready, RuntimeKind};
use crate::errno::Errno;
use crate::wasi::{Event, EventKind, Subscription, Wasi};

/// How long to sleep before the next pass. All times are in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Sleep {
    /// How long the last sleep was.
    last_sleep: u64,
    /// When the next pass begins, once that is decided.
    next_try: Option<u64>,
    /// How long a pass over all connections takes, as an average.
    pass: u64,
    /// How many connections the last pass has tried, if that was all of them.
    tried_all: Option<usize>,
}

/// The first sleep, in nanoseconds: about as long as a host takes to wake up. After eight passes it has doubled to
/// the longest, so half or double is one pass more or less.
const MIN_SLEEP: u64 = 20_000;

/// The least and the most that the longest sleep can be, in nanoseconds. The head of this file has the reason of the
/// first. A person would notice more than the second. So with more than 2,600 connections at 1.6 µs each, passes take
/// more than 5 % of a core.
const MIN_LONGEST_SLEEP: u64 = 4_500_000;
const MAX_LONGEST_SLEEP: u64 = 100_000_000;

/// The most polls in a row to find out whether the runtime checks sockets. Two that succeed decide. The others are
/// for hosts where polls fail: if three of ten do, four polls leave it open in one start of twelve.
const MAX_PROBES: usize = 16;

/// While this many accepted connections are kept, none is accepted to find out whether the runtime is blind: the
/// caller hasn't accepted them yet, and may be at a limit. With one, the result of a second poll could not be judged.
const MAX_ACCEPTED: usize = 4;

/// Up to this many idle connections, each pass tries all. 32 tries take 50 µs, as long as a wake-up.
const FEW: usize = 32;

impl Sleep {
    /// Records progress: the next pass is at once.
    pub(super) fn progress(&mut self, now: u64) {
        *self = Self {
            pass: self.pass,
            next_try: Some(now),
            ..Self::default()
        };
    }

    /// When the next pass begins, after one that has found nothing and took `took`.
    fn next_try(&mut self, now: u64, took: u64) -> u64 {
        if self.tried_all.take().is_some() {
            // If a pass took much longer than others, most of that was likely another process' time. The next
            // sleep must not be 24 times as long.
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

/// The longest sleep, if a pass that finds nothing takes `pass`.
fn longest_sleep(pass: u64) -> u64 {
    (pass * 24).clamp(MIN_LONGEST_SLEEP, MAX_LONGEST_SLEEP)
}

impl<W: Wasi> Poller<W> {
    /// Sleeps until the next pass, and then reports the connections to try.
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
        let count = self.planner.charge_tries(self.tries.cost());
        self.list_idle(count);
        let listed = self.poll.list.iter().map(|&index| self.slots.at(index));
        ready.extend(
            listed
                .filter(|slot| slot.is_polled())
                .map(Slot::all_interests),
        );
        Ok(())
    }

    /// Finds out whether the runtime is blind. A blind one reports a listener together with a clock of zero
    /// duration, and then there is no connection to accept. A poll that fails or reports nonsense doesn't
    /// decide, and is made again.
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
                // Nonsense: at least the clock must be reported.
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
            // One may be a coincidence: the connection may have gone.
            if again == 2 {
                poll_turns::log::info!(
                    "this runtime's poll_oneoff doesn't check sockets; sleeps and tries instead"
                );
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
    fn passes_take_less_than_5_percent_of_the_time() {
        // 40 connections at 1.6 µs, or somewhat more: less than 2 %, and at most 5 ms of delay.
        assert_eq!(longest_sleep(64_000), MIN_LONGEST_SLEEP);
        assert_eq!(longest_sleep(150_000), MIN_LONGEST_SLEEP);
        // 1,000 connections: less than 5 %.
        assert_eq!(longest_sleep(1_600_000), 1_600_000 * 24);
        assert_eq!(longest_sleep(0), MIN_LONGEST_SLEEP);
    }

    #[test]
    fn one_long_pass_hardly_changes_the_average() {
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
        // A cost that stays higher is followed.
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
