//! Reports to systemd (`sd_notify(3)`): that the server is ready, that it stops, and that its loops still run.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::executor::lock;

/// What the reactors of a server report together to systemd. The server is ready when all of them accept, and alive
/// while all of them run.
#[derive(Debug)]
pub(crate) struct Service {
    /// Half of the time after which systemd restarts the service.
    period: Option<Duration>,
    round: Mutex<Round>,
}

/// The part of one reactor.
#[derive(Debug)]
pub(super) struct Member {
    service: Arc<Service>,
    number: usize,
    /// When its next sign of life (for the watchdog) is due. It is sent before a wait, so a loop that is stuck sends
    /// none.
    next: Option<Instant>,
    has_begun: bool,
}

impl Service {
    /// `None` if `NOTIFY_SOCKET` isn't set.
    pub(crate) fn from_env() -> Option<Arc<Self>> {
        std::env::var_os("NOTIFY_SOCKET")?;
        Some(Arc::new(Self {
            period: sd_notify::watchdog_enabled().map(|limit| limit / 2),
            round: Mutex::new(Round::new(1)),
        }))
    }

    /// Sets how many reactors there will be, before they join. Without it, there is one.
    pub(crate) fn expect(&self, reactors: usize) {
        *lock(&self.round) = Round::new(reactors);
    }

    pub(super) fn join(self: Arc<Self>) -> Member {
        let number = lock(&self.round).join();
        Member {
            service: self,
            number,
            next: None,
            has_begun: false,
        }
    }

    /// Records a sign of life of one reactor. When all reactors have one, the server reports to systemd.
    fn arrive(&self, number: usize) {
        let completed = lock(&self.round).arrive(number);
        if completed == Some(1)
            && let Err(error) = sd_notify::notify(&[NotifyState::Ready])
        {
            crate::log::warn!(target: "mini_http", "can't report to systemd that it is ready: {error}");
        }
        if completed.is_some() && self.period.is_some() {
            log_failure(sd_notify::notify(&[NotifyState::Watchdog]));
        }
    }
}

impl Member {
    /// Sends what is due. Returns how long the wait may take, so that the next message is sent in time.
    pub(super) fn before_wait(&mut self, timeout: Option<Duration>) -> Option<Duration> {
        let Some(period) = self.service.period else {
            if !self.has_begun {
                self.has_begun = true;
                self.service.arrive(self.number);
            }
            return timeout;
        };
        let now = Instant::now();
        let mut next = self.next.unwrap_or(now);
        if now >= next {
            self.service.arrive(self.number);
            next = now + period;
            self.next = Some(next);
        }
        let left = next - now;
        Some(timeout.map_or(left, |timeout| timeout.min(left)))
    }

    pub(super) fn stopping(&self) {
        if lock(&self.service.round).begin_to_stop() {
            log_failure(sd_notify::notify(&[NotifyState::Stopping]));
        }
    }
}

/// When the server stops, one loop may end long before the others.
impl Drop for Member {
    fn drop(&mut self) {
        lock(&self.service.round).leave(self.number);
    }
}

/// At `debug`, because it isn't a fault: a process that has started this one may be gone.
fn log_failure(sent: io::Result<()>) {
    if let Err(error) = sent {
        crate::log::debug!(target: "mini_http", "can't report to systemd: {error}");
    }
}

/// Counts the signs of life: a round is complete when each reactor that is left has sent one.
#[derive(Debug)]
struct Round {
    expected: usize,
    members: Vec<State>,
    completed: u64,
    is_stopping: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Missing,
    Arrived,
    Left,
}

impl Round {
    fn new(expected: usize) -> Self {
        Self {
            expected,
            members: Vec::new(),
            completed: 0,
            is_stopping: false,
        }
    }

    /// Returns the new member's number.
    fn join(&mut self) -> usize {
        self.members.push(State::Missing);
        self.members.len() - 1
    }

    /// Returns the number of the round, from 1 on, if this completes it.
    fn arrive(&mut self, number: usize) -> Option<u64> {
        self.members[number] = State::Arrived;
        let is_complete =
            self.members.len() >= self.expected && !self.members.contains(&State::Missing);
        if !is_complete {
            return None;
        }
        for member in &mut self.members {
            if *member == State::Arrived {
                *member = State::Missing;
            }
        }
        self.completed += 1;
        Some(self.completed)
    }

    /// Rounds no longer wait for this member.
    fn leave(&mut self, number: usize) {
        self.members[number] = State::Left;
    }

    /// Returns whether it is the first call.
    fn begin_to_stop(&mut self) -> bool {
        !std::mem::replace(&mut self.is_stopping, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_complete_when_all_have_arrived() {
        let mut round = Round::new(3);
        let [a, b] = [round.join(), round.join()];
        assert_eq!((round.arrive(a), round.arrive(b)), (None, None));
        let c = round.join();
        assert_eq!(round.arrive(c), Some(1));
        for (number, completes) in [(c, None), (c, None), (b, None), (a, Some(2)), (a, None)] {
            assert_eq!(round.arrive(number), completes);
        }
    }

    #[test]
    fn a_reactor_that_has_left_is_not_waited_for() {
        let mut round = Round::new(2);
        let [a, b] = [round.join(), round.join()];
        assert_eq!((round.arrive(a), round.arrive(b)), (None, Some(1)));
        assert_eq!(round.arrive(a), None);
        round.leave(b);
        assert_eq!((round.arrive(a), round.arrive(a)), (Some(2), Some(3)));
        assert!(round.begin_to_stop());
        assert!(!round.begin_to_stop());
    }

    #[test]
    fn the_only_reactor_completes_each_round() {
        let mut round = Round::new(1);
        let only = round.join();
        assert_eq!((round.arrive(only), round.arrive(only)), (Some(1), Some(2)));
    }
}
