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

use http::Response;
use log::{info, warn};
use poll_turns::Key;

use super::accept::{Attempt, Door};
use super::drive::Driver;
use super::round_robin::Turn;
use super::{EventLoop, Slot};
use crate::body::Body;
use crate::conn::{CloseReason, Connection};
use crate::reactor::Reactor;
use crate::request::Request;
use crate::time::Instant;

/// How far the loop is with stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It doesn't stop.
    Serving,
    /// Input is waited for until this moment.
    Grace(Instant),
    /// Since this moment only what has come already is read, and not all of it: see [`LATE_BODIES`] and
    /// [`LATE_PIPELINES`].
    Closing(Instant),
}

/// What the loop has done to stop.
#[derive(Debug, Default)]
pub(super) struct Stop {
    /// Connections accepted since it began.
    accepted: usize,
    /// Connections that are open to get 503.
    pub(super) turned_away: usize,
}

/// How long a connection without a request stays open. A request that was sent when the client
/// couldn't know of the stop arrives in that time, unless the network is very slow.
const GRACE: Duration = Duration::from_millis(500);

/// How many connections that wait at the listeners are accepted: as many as the backlog of a listener
/// that the server binds. Clients that connect again and again don't keep it from stopping.
const MOST_ACCEPTED: usize = 4096;

/// Turns in which a connection is read after the grace: enough for what a system's buffer holds, and
/// for a few bodies. A client that sends without a pause doesn't keep the server from stopping.
const MOST_LATE_TURNS: u8 = 64;

/// How long a body is still read after the grace. It gets 503 then: an interpreter takes 20 s for the
/// bytes of all those turns if they are chunks of one byte.
const LATE_BODIES: Duration = Duration::from_secs(1);

/// How long more than one request of a connection is served after the grace: the next response is the last
/// one then, and says so. The client can repeat the rest elsewhere (RFC 9112 §9.3.2). Those turns alone can
/// hold 100,000 requests, which a slow handler takes minutes for. With the grace before it and the lingering
/// behind it, this is well below the ten seconds after which common supervisors kill a process.
const LATE_PIPELINES: Duration = Duration::from_secs(5);

impl<R, B, H> EventLoop<'_, R, H>
where
    R: Reactor,
    B: Body,
    H: FnMut(Request) -> Response<B>,
{
    pub(super) fn is_stopping(&self) -> bool {
        self.driver.phase != Phase::Serving
    }

    pub(super) fn has_stopped(&self) -> bool {
        self.is_stopping() && self.slots.is_empty() && !self.has_open_listener()
    }

    /// When stopping goes on, if that is not for an event to say.
    #[cold]
    pub(super) fn stop_again_at(&self) -> Option<Instant> {
        let grace = match self.driver.phase {
            Phase::Serving => return None,
            Phase::Grace(until) => Some(until),
            Phase::Closing(_) => None,
        };
        [grace, self.accept_again_at].into_iter().flatten().min()
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
            Phase::Grace(until) if now >= until => self.end_grace(),
            Phase::Grace(_) if self.has_open_listener() && self.accept_again_at.is_none() => {
                let accepted = self.shut_listeners();
                self.drive_each(&accepted);
            }
            Phase::Grace(_) | Phase::Closing(_) => {}
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

    fn end_grace(&mut self) {
        self.driver.phase = Phase::Closing(self.driver.cx.now);
        self.shut_listeners();
        self.drive_each(&self.slots.keys());
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
            if has_all || matches!(self.driver.phase, Phase::Closing(_)) {
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

impl<R, B, H> Driver<'_, R, H>
where
    R: Reactor,
    B: Body,
    H: FnMut(Request) -> Response<B>,
{
    /// After the grace a connection is read before it is closed: what waits may not be reported.
    pub(super) fn look_again(&self, slot: &mut Slot<R::Stream>) {
        if let Phase::Closing(since) = self.phase
            && !slot.connection.is_ending()
        {
            let is_late = slot.connection.is_reading_body() && self.cx.now >= since + LATE_BODIES;
            slot.readiness.readable = slot.late_turns < self.most_late_turns() && !is_late;
            slot.late_turns +=
                u8::from(slot.readiness.readable && slot.connection.wants_input(&self.cx));
        }
    }

    /// Ends the connection's wait for input, if the grace is over. Returns whether that has changed
    /// anything.
    pub(super) fn stop_waiting(&mut self, slot: &mut Slot<R::Stream>) -> bool {
        matches!(self.phase, Phase::Closing(_)) && slot.connection.stop(&mut self.cx)
    }

    /// Makes the next response of a server that stops the last one, unless more input waits. That is
    /// kept for after the response.
    #[cold]
    pub(super) fn read_behind(&mut self, slot: &mut Slot<R::Stream>, turn: &mut Turn) {
        if slot.connection.is_ending() || slot.connection.has_kept_input() {
            return;
        }
        let can_keep = slot.connection.can_keep(&self.cx, self.buffer.len());
        if can_keep && slot.late_turns < MOST_LATE_TURNS {
            slot.late_turns += u8::from(matches!(self.phase, Phase::Closing(_)));
            match self.read_some(slot) {
                // The end of the stream is for after the response, too.
                Some(0) => slot.readiness.readable = true,
                Some(length) => {
                    turn.add_bytes(length);
                    return slot
                        .connection
                        .keep_input(&mut self.cx, &self.buffer[..length]);
                }
                None => {}
            }
        }
        slot.connection.close_after_response(CloseReason::Stopped);
    }
    /// In how many turns a connection may be read after the grace. Whatever the time, each is read once.
    fn most_late_turns(&self) -> u8 {
        match self.is_too_late_for_pipelines() {
            true => 1,
            false => MOST_LATE_TURNS,
        }
    }

    /// Whether the next response of each connection is its last one. Handlers may have worked for long since
    /// the iteration began, so the clock is read.
    pub(super) fn is_too_late_for_pipelines(&self) -> bool {
        match self.phase {
            Phase::Serving | Phase::Grace(_) => false,
            Phase::Closing(since) => self.reactor.now() >= since + LATE_PIPELINES,
        }
    }
}
