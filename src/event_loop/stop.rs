//! Stopping: all that has come is served, and nobody else is let in.
//!
//! First every connection that waits at a listener is accepted, also beyond the limit of connections,
//! and the listeners are closed. Then each connection is read until nothing waits. The last response
//! says so. A connection without a request stays for the [`GRACE`]: its request may be on its way.
//! At the end of the grace each is read once more; then an unfinished request gets 503, and a
//! connection without a request is closed.
//!
//! Where a listener can't be closed, newcomers get 503 for as long as others are served.

use std::time::Duration;

use log::{info, warn};
use poll_turns::Key;

use super::EventLoop;
use super::accept::{Attempt, Door};
use super::mode::Mode;
use super::phase::Phase;
use crate::conn::Connection;
use crate::reactor::Reactor;
use crate::time::Instant;

/// What the loop has done to stop.
#[derive(Debug, Default)]
pub(super) struct Stop {
    /// Connections accepted since it began.
    accepted: usize,
    /// When the time is over that [`Handle::stop_within`](crate::Handle::stop_within) has given.
    deadline: Option<Instant>,
    /// Connections that are open to get 503.
    pub(super) turned_away: usize,
}

/// How long a connection without a request stays open. A request that was sent when the client
/// couldn't know of the stop arrives in that time, unless the network is very slow.
const GRACE: Duration = Duration::from_millis(500);

/// How many connections that wait at the listeners are accepted: as many as the backlog of a listener
/// that the server binds. Clients that connect again and again don't keep it from stopping.
const MOST_ACCEPTED: usize = 4096;

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

    /// When stopping goes on, if that is not for an event to say.
    #[cold]
    pub(super) fn stop_again_at(&self) -> Option<Instant> {
        let grace = match self.driver.phase {
            Phase::Serving => return None,
            Phase::Grace(until) => Some(until),
            Phase::Closing(_) | Phase::Over => None,
        };
        let times = [grace, self.accept_again_at, self.stop.deadline];
        times.into_iter().flatten().min()
    }

    /// The part of stopping that is due in each turn.
    #[cold]
    pub(super) fn go_on_stopping(&mut self) {
        let now = self.driver.cx.now;
        if self.accept_again_at.is_some_and(|at| now >= at) {
            self.accept_again_at = None;
        }
        match self.driver.phase {
            Phase::Serving => self.begin_to_stop(),
            Phase::Grace(until) if now >= until => self.enter(Phase::Closing(now)),
            Phase::Grace(_) if self.has_open_listener() && self.accept_again_at.is_none() => {
                let accepted = self.shut_listeners();
                self.drive_each(&accepted);
            }
            Phase::Grace(_) | Phase::Closing(_) | Phase::Over => {}
        }
        if self.driver.phase != Phase::Over && self.is_overdue() {
            info!(target: "mini_http", "stopping: the time is over");
            self.enter(Phase::Over);
            self.mode.give_up();
        }
        for number in 0..self.listeners.len() {
            if self.listeners[number].door == Door::Refusing {
                self.turn_newcomers_away(number);
            }
        }
    }

    fn begin_to_stop(&mut self) {
        info!(target: "mini_http", "stopping: {} connections open", self.slots.len());
        // The handler may have worked for long since the turn began.
        self.driver.phase = Phase::Grace(self.driver.reactor.now() + GRACE);
        self.driver.cx.shared.begin_to_stop();
        self.shut_listeners();
        for key in self.slots.keys() {
            self.with_connection(key, Connection::shorten_linger);
        }
        self.drive_each(&self.slots.keys());
    }

    /// Ends a phase, and lets each connection act upon that.
    fn enter(&mut self, phase: Phase) {
        self.driver.phase = phase;
        self.shut_listeners();
        self.drive_each(&self.slots.keys());
    }

    /// Whether the time to stop is over. It begins when the loop sees that it was set; set again, it can only
    /// become shorter.
    fn is_overdue(&mut self) -> bool {
        let now = self.driver.reactor.now();
        let within = self.driver.handle.stop_deadline().unwrap_or_default();
        let deadline = match self.stop.deadline {
            Some(deadline) => deadline.min(now + within),
            None => now + within,
        };
        self.stop.deadline = Some(deadline);
        deadline <= now
    }

    fn has_open_listener(&self) -> bool {
        let mut listeners = self.listeners.iter();
        listeners.any(|listener| listener.door == Door::Open)
    }

    /// Accepts all connections that wait, and then closes the listeners: at once, so that there is next
    /// to no time in which a connection is lost. Where accepting fails for want of resources, that is
    /// tried again until the grace ends. Returns the connections, which have yet to be driven.
    fn shut_listeners(&mut self) -> Vec<Key> {
        let mut accepted = Vec::new();
        for number in 0..self.listeners.len() {
            if self.listeners[number].door != Door::Open {
                continue;
            }
            let has_all = self.accept_waiting(number, &mut accepted);
            if has_all || !matches!(self.driver.phase, Phase::Grace(_)) {
                self.shut(number);
            }
        }
        accepted
    }

    /// Accepts until nobody waits at a listener. Returns whether that is so, or enough were accepted.
    fn accept_waiting(&mut self, number: usize, accepted: &mut Vec<Key>) -> bool {
        for _ in self.stop.accepted..MOST_ACCEPTED {
            if self.slots.len() >= Key::MAX_SLOTS {
                break;
            }
            match self.accept_one(number) {
                Attempt::Accepted(key) => {
                    self.stop.accepted += 1;
                    accepted.push(key);
                }
                Attempt::Nobody => break,
                Attempt::Retry => {}
                Attempt::Failed(error) => {
                    self.accept_failed(&error);
                    return false;
                }
            }
        }
        true
    }

    fn shut(&mut self, number: usize) {
        self.listeners[number].door = match self.driver.reactor.close_listener(number) {
            Ok(()) => Door::Closed,
            Err(error) => {
                warn!(
                    target: "mini_http",
                    "can't close a listening socket: {error}; until the server has stopped, new \
                     connections get 503"
                );
                Door::Refusing
            }
        };
    }

    /// Gives 503 to those that wait at a listener which can't be closed, as long as others are served.
    fn turn_newcomers_away(&mut self, number: usize) {
        let is_serving = self.slots.len() > self.stop.turned_away;
        let may_accept = is_serving
            && self.accept_again_at.is_none()
            && self.stop.turned_away < MOST_ACCEPTED
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
                }
                Attempt::Nobody => return,
                Attempt::Retry => {}
                Attempt::Failed(error) => return self.accept_failed(&error),
            }
        }
    }

    /// Reads and handles what has come, whether or not the reactor has reported it.
    fn drive_each(&mut self, keys: &[Key]) {
        for &key in keys {
            if let Some(slot) = self.slots.get_mut(key) {
                slot.readiness.readable = true;
            }
            self.drive(key);
        }
    }
}
