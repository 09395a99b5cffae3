//! Waiting where `poll_oneoff` doesn't look at sockets.
//!
//! There is nothing to do but sleep for a short time and try everything. The sleep adapts:
//!
//! - none while something happens;
//! - then 20 µs, doubled with each fruitless round, up to the rest: 59 times as long as a round of
//!   fruitless tries takes, so that trying is 1.7 % of the time; but no longer than
//!   [`SHORT_REST`] unless trying would then be more than 5 % of it.
//!
//! So if a round of tries takes t (which is n connections times what one `AGAIN` costs), the first
//! byte of a request waits for at most 59 t, or 4.5 ms once that is more, or 19 t once that is more
//! still. With 1.6 µs for each of n connections: 4.5 ms up to n = 148, then n times 30 µs.

use super::{Interest, Poller, Ready, Sight};
use crate::errno::Errno;
use crate::wasi::{Event, EventKind, FdFlags, Subscription, Wasi};

/// How long to sleep.
#[derive(Debug, Default)]
pub(super) struct Sleep {
    /// Something has happened since the last wait.
    progress: bool,
    /// How long the last sleep was.
    last: u64,
    /// When the last wait returned.
    returned: u64,
}

const FIRST: u64 = 20_000;
const SHORTEST_REST: u64 = 1_000_000;
const SHORT_REST: u64 = 4_500_000;
const LONGEST_REST: u64 = 100_000_000;

impl Sleep {
    pub(super) fn progress(&mut self) {
        self.progress = true;
    }

    /// How long to sleep, at `now`, before everything is tried again.
    fn next(&mut self, now: u64) -> u64 {
        if std::mem::take(&mut self.progress) {
            self.last = 0;
            return 0;
        }
        let round = now.saturating_sub(self.returned);
        let rest = rest(round);
        self.last = (self.last * 2).clamp(FIRST.min(rest), rest);
        self.last
    }
}

/// The sleep at rest when a round of fruitless tries takes `round`.
fn rest(round: u64) -> u64 {
    let two_percent = (round * 59).clamp(SHORTEST_REST, SHORT_REST);
    let five_percent = round * 19;
    two_percent.max(five_percent).min(LONGEST_REST)
}

impl<W: Wasi> Poller<W> {
    pub(super) fn wait_blindly(
        &mut self,
        ready: &mut Vec<Ready>,
        timeout: u64,
    ) -> Result<(), Errno> {
        let sleep = self.sleep.next(self.now()).min(timeout);
        if sleep > 0 {
            self.sleep_for(sleep);
        }
        self.report_everything(ready);
        self.sleep.returned = self.now();
        Ok(())
    }

    /// Finds out whether the runtime looks at sockets: one that doesn't reports a listener and a
    /// clock of no time together, and then there is nobody to accept.
    pub(super) fn decide_sight(&mut self) -> Sight {
        for _ in 0..16 {
            let Some((index, fd)) = self.slots.any_listener() else {
                return Sight::Undecided;
            };
            let asked = [Subscription::read(0, fd), Subscription::clock(0, 0)];
            let mut answers = [Event::default(); 2];
            let Ok(2) = self.wasi.poll_oneoff(&asked, &mut answers) else {
                return Sight::Sighted;
            };
            let good = |kind| {
                answers
                    .iter()
                    .any(|event| event.kind() == kind && event.error == Errno::SUCCESS)
            };
            if !good(EventKind::Read) || !good(EventKind::Clock) {
                return Sight::Sighted;
            }
            match self.wasi.sock_accept(fd, FdFlags::NONBLOCK) {
                Ok(stream) => self.accepted.push((index, stream)),
                Err(_) => {
                    log::info!("this runtime's poll_oneoff doesn't look at sockets: sleeping");
                    return Sight::Blind;
                }
            }
        }
        Sight::Undecided
    }
}

impl Interest {
    /// Nothing.
    pub const NONE: Self = Self {
        read: false,
        write: false,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_keeps_the_law() {
        // 40 connections at 1.6 µs: at most 2 % and at most 5 ms.
        assert_eq!(rest(64_000), 64_000 * 59);
        // A little more: the latency stays.
        assert_eq!(rest(150_000), SHORT_REST);
        // 1,000 connections: 5 %.
        assert_eq!(rest(1_600_000), 1_600_000 * 19);
        assert_eq!(rest(0), SHORTEST_REST);
    }

    #[test]
    fn sleeps_grow_when_nothing_happens() {
        let mut sleep = Sleep::default();
        sleep.progress();
        assert_eq!(sleep.next(0), 0);
        assert_eq!(sleep.next(0), FIRST);
        assert_eq!(sleep.next(0), 2 * FIRST);
        for _ in 0..10 {
            sleep.next(0);
        }
        assert_eq!(sleep.next(0), SHORTEST_REST);
        sleep.progress();
        assert_eq!(sleep.next(0), 0);
    }
}
