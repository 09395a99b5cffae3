//! Stopping: the server serves the requests that have arrived, and accepts no new connections.
//!
//! 1. It accepts every connection that waits at a listener, even beyond `max_connections`, and closes the listeners.
//! 2. It reads each connection until there is no more input. The last response contains `Connection: close`.
//! 3. A connection without a request stays open for the [`GRACE`], since its request may be on its way.
//! 4. At the end of the grace, each connection is read once more. Then an incomplete request gets 503, and a
//!    connection without a request is closed.
//! 5. An upgraded connection stays open until its user ends it, even if it is idle.
//!
//! If a listener can't be closed, new connections get 503 for as long as other connections are open. At the deadline
//! of [`Handle::stop_within`](crate::Handle::stop_within), all connections are closed.

use std::time::Duration;

use crate::log::{info, warn};
use poll_turns::Key;

use super::EventLoop;
use super::accept::{Attempt, ListenerState};
use super::mode::Mode;
use super::phase::Phase;
use crate::conn::Connection;
use crate::reactor::Reactor;
use crate::time::Instant;

/// The state of stopping, beside the [`Phase`].
#[derive(Debug, Default)]
pub(super) struct Stop {
    /// How many connections were accepted since stopping began.
    accepted: usize,
    /// The deadline that [`Handle::stop_within`](crate::Handle::stop_within) has set.
    deadline: Option<Instant>,
    /// How many open connections were accepted only to get 503.
    pub(super) turned_away: usize,
}

/// How long a connection without a request stays open. A request that the client sent before it could know of the
/// stop arrives in this time, unless the network is very slow.
const GRACE: Duration = Duration::from_millis(500);

/// How many connections are accepted from the listeners while the server stops: as many as the backlog of a listener
/// that the server binds. It is bounded, so that clients that connect without a pause can't prevent the stop.
const MAX_ACCEPTED: usize = 4096;

impl<R: Reactor, M: Mode<R>> EventLoop<'_, R, M> {
    pub(super) fn is_stopping(&self) -> bool {
        self.driver.phase != Phase::Serving
    }

    pub(super) fn has_stopped(&self) -> bool {
        self.is_stopping()
            && self.slots.is_empty()
            && !self.has_open_listener()
            && self.mode.is_idle()
    }

    /// When the next step of stopping is due. `None` if only an event leads to it.
    #[cold]
    pub(super) fn next_stop_step(&self) -> Option<Instant> {
        let grace = match self.driver.phase {
            Phase::Serving => return None,
            Phase::Grace(until) => Some(until),
            Phase::Closing(_) | Phase::Over => None,
        };
        let times = [grace, self.accept_again_at, self.stop.deadline];
        times.into_iter().flatten().min()
    }

    /// Does what is due for stopping. Called once in each iteration.
    #[cold]
    pub(super) fn continue_stopping(&mut self) {
        let now = self.driver.cx.now;
        if self.accept_again_at.is_some_and(|at| now >= at) {
            self.accept_again_at = None;
        }
        match self.driver.phase {
            Phase::Serving => self.begin_to_stop(),
            Phase::Grace(until) if now >= until => self.enter(Phase::Closing(now)),
            Phase::Grace(_) if self.has_open_listener() && self.accept_again_at.is_none() => {
                let accepted = self.close_listeners();
                self.drive_each(&accepted);
            }
            Phase::Grace(_) | Phase::Closing(_) | Phase::Over => {}
        }
        if self.driver.phase != Phase::Over && self.is_overdue(self.driver.reactor.now()) {
            info!(target: "mini_http", "stopping: the deadline has passed");
            self.enter(Phase::Over);
            self.mode.give_up();
        }
        for number in 0..self.listeners.len() {
            if self.listeners[number].state == ListenerState::Refusing {
                self.refuse_new_connections(number);
            }
        }
    }

    fn begin_to_stop(&mut self) {
        info!(target: "mini_http", "stopping: {} connections open", self.slots.len());
        // The clock is read, because handlers may have taken long since the iteration began.
        let now = self.driver.reactor.now();
        // The timeout counts from now on, not from when the requests that wait are served.
        self.update_deadline(now);
        self.driver.phase = Phase::Grace(now + GRACE);
        self.driver.reactor.stopping();
        self.driver.cx.shared.begin_to_stop();
        self.close_listeners();
        for key in self.slots.keys() {
            self.with_connection(key, Connection::shorten_linger);
        }
        self.drive_each(&self.slots.keys());
    }

    /// Enters the next phase, and gives each connection a turn in it.
    fn enter(&mut self, phase: Phase) {
        self.driver.phase = phase;
        self.close_listeners();
        self.drive_each(&self.slots.keys());
    }

    /// Whether the deadline for stopping has passed.
    fn is_overdue(&mut self, now: Instant) -> bool {
        self.update_deadline(now) <= now
    }

    /// Keeps the deadline for stopping, and returns it. The timeout counts from when the loop first sees it. If it is
    /// set again, the deadline can only become earlier.
    fn update_deadline(&mut self, now: Instant) -> Instant {
        let end = now + self.driver.handle.stop_timeout().unwrap_or_default();
        *self.stop.deadline.insert(match self.stop.deadline {
            Some(deadline) => deadline.min(end),
            None => end,
        })
    }

    /// Whether no more turns are to be given in this iteration: the deadline for stopping has passed, and so has the
    /// time of the slice. Each turn may have a slow handler, so those of many connections can take minutes.
    #[inline]
    pub(super) fn must_end_turns(&mut self) -> bool {
        self.driver.handle.is_stopping() && self.has_no_time_left()
    }

    #[cold]
    fn has_no_time_left(&mut self) -> bool {
        let now = self.driver.reactor.now();
        let is_overdue = self.is_overdue(now);
        is_overdue && self.driver.phase != Phase::Over && self.driver.slice.check_time(now)
    }

    fn has_open_listener(&self) -> bool {
        let mut listeners = self.listeners.iter();
        listeners.any(|listener| listener.state == ListenerState::Open)
    }

    /// Accepts all waiting connections, and closes each listener directly afterwards: a connection that arrives in
    /// between is lost. If accepting fails because resources ran out, the listener stays open, and accepting is
    /// tried again until the grace ends. Returns the new connections; they still need their first turn.
    fn close_listeners(&mut self) -> Vec<Key> {
        let mut accepted = Vec::new();
        for number in 0..self.listeners.len() {
            if self.listeners[number].state != ListenerState::Open {
                continue;
            }
            let has_all = self.accept_waiting(number, &mut accepted);
            if has_all || !matches!(self.driver.phase, Phase::Grace(_)) {
                self.close_listener(number);
            }
        }
        accepted
    }

    /// Accepts until no connection waits at a listener, or the bound is reached. Returns false if accepting failed
    /// before that.
    fn accept_waiting(&mut self, number: usize, accepted: &mut Vec<Key>) -> bool {
        for _ in self.stop.accepted..MAX_ACCEPTED {
            if self.slots.len() >= Key::MAX_SLOTS {
                break;
            }
            match self.accept_one(number) {
                Attempt::Accepted(key) => {
                    self.stop.accepted += 1;
                    if let Err(error) = self.watch(key) {
                        self.accept_failed(&error);
                        return false;
                    }
                    accepted.push(key);
                }
                Attempt::NoConnection => break,
                Attempt::Retry => {}
                Attempt::Failed(error) => {
                    self.accept_failed(&error);
                    return false;
                }
            }
        }
        true
    }

    /// Closes a listener. If that fails, its new connections get 503 from now on.
    fn close_listener(&mut self, number: usize) {
        self.listeners[number].state = match self.driver.reactor.close_listener(number) {
            Ok(()) => ListenerState::Closed,
            Err(error) => {
                warn!(
                    target: "mini_http",
                    "can't close a listening socket: {error}; until the server has stopped, new \
                     connections get 503"
                );
                ListenerState::Refusing
            }
        };
    }

    /// Accepts from a listener that can't be closed, and responds with 503, while other connections are open.
    fn refuse_new_connections(&mut self, number: usize) {
        let is_serving = self.slots.len() > self.stop.turned_away;
        let may_accept = is_serving
            && self.accept_again_at.is_none()
            && self.stop.turned_away < MAX_ACCEPTED
            && self.slots.len() < Key::MAX_SLOTS;
        self.pause(number, !may_accept);
        if !may_accept || !self.listeners[number].is_ready {
            return;
        }
        for _ in 0..self.driver.cx.limits.accepts_per_turn {
            match self.accept_one(number) {
                Attempt::Accepted(key) => {
                    if let Some(slot) = self.slots.get_mut(key) {
                        slot.is_turned_away = true;
                        self.stop.turned_away += 1;
                    }
                    self.with_connection(key, Connection::turn_away);
                    self.drive(key);
                    if let Err(error) = self.watch(key) {
                        return self.accept_failed(&error);
                    }
                }
                Attempt::NoConnection => return,
                Attempt::Retry => {}
                Attempt::Failed(error) => return self.accept_failed(&error),
            }
        }
    }

    /// Gives each of these connections a turn in which it is read, even if the reactor has reported nothing. At the
    /// deadline, the rest of them get no turn: all connections are closed then.
    fn drive_each(&mut self, keys: &[Key]) {
        for &key in keys {
            if self.must_end_turns() {
                return;
            }
            if let Some(slot) = self.slots.get_mut(key) {
                slot.readiness.readable = true;
            }
            self.drive(key);
        }
    }
}
