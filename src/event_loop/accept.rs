//! Newcomers: accepting them, and making room for them.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use log::{debug, error};
use poll_turns::Key;

use super::EventLoop;
use super::mode::Mode;
use super::slot::Slot;
use crate::conn::{CloseReason, Connection};
use crate::reactor::{Accepted, Reactor};
use crate::time::Instant;

/// What the loop knows of a listener.
#[derive(Clone, Copy, Default)]
pub(super) struct Listener {
    /// Reported, and no `accept` has answered `WouldBlock` since.
    pub(super) is_ready: bool,
    /// The reactor was told that nothing is accepted now.
    is_paused: bool,
    pub(super) door: Door,
}

/// What becomes of those that come to a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Door {
    /// They are served.
    #[default]
    Open,
    /// They get 503: the server stops, and the listener can't be closed.
    Refusing,
    /// The listener is closed.
    Closed,
}

/// What came of an attempt to accept.
pub(super) enum Attempt {
    Accepted(Key),
    /// Nobody waits.
    Nobody,
    /// The next attempt may succeed.
    Retry,
    /// There are no resources for it.
    Failed(io::Error),
}

/// A connection gives way to a newcomer only when it was idle for so long; what it sends when it was
/// just accepted may not be read yet.
const EVICT_AFTER: Duration = Duration::from_millis(100);

/// How long accepting rests when it failed for want of resources.
const BACK_OFF: Duration = Duration::from_millis(50);

/// A failure of accepting is logged at most so often.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

impl<R: Reactor, M: Mode<R>> EventLoop<'_, R, M> {
    /// Accepts from every listener that may have somebody.
    pub(super) fn accept_all(&mut self) {
        let now = self.driver.cx.now;
        if self.accept_again_at.is_some_and(|at| now >= at) {
            self.accept_again_at = None;
        }
        for number in 0..self.listeners.len() {
            let Listener {
                is_ready,
                is_paused,
                ..
            } = self.listeners[number];
            if is_ready || is_paused {
                let may_accept = self.may_accept();
                self.pause(number, !may_accept);
                if may_accept && is_ready {
                    self.accept_from(number);
                }
            }
        }
    }

    /// When to look again whether newcomers can be accepted, if that is not for an event to say.
    pub(super) fn accept_at(&mut self) -> Option<Instant> {
        // A level-triggered reactor is silent about a listener that is paused.
        let may_have = |listener: &Listener| listener.is_ready || listener.is_paused;
        if self.is_stopping() || !self.listeners.iter().any(may_have) {
            return None;
        }
        match self.accept_again_at {
            Some(at) => Some(at),
            None => self.place_from(),
        }
    }

    pub(super) fn pause(&mut self, number: usize, should_pause: bool) {
        let listener = &mut self.listeners[number];
        if listener.is_paused != should_pause {
            listener.is_paused = should_pause;
            self.driver.reactor.set_accepting(number, !should_pause);
        }
    }

    fn may_accept(&mut self) -> bool {
        let now = self.driver.cx.now;
        self.accept_again_at.is_none() && self.place_from().is_some_and(|from| from <= now)
    }

    /// Whether there is a place for a newcomer, or will be: when, if not now. `None` where another
    /// connection's deadline or the reactor ends the wait for one.
    fn place_from(&mut self) -> Option<Instant> {
        let now = self.driver.cx.now;
        let most = self.driver.cx.limits.max_connections;
        if self.slots.len() + self.driver.reactor.lingering() >= most_sockets(most) {
            return None;
        }
        if self.slots.len() < most {
            return Some(now);
        }
        let (_, from) = self.next_to_go()?;
        Some(now.max(from))
    }

    /// The longest idle connection, and from when on it can give way.
    fn next_to_go(&mut self) -> Option<(Key, Instant)> {
        let key = self.slots.key_at(self.driver.schedule.longest_idle()?)?;
        let idle = self.slots.get_mut(key)?.idle?;
        Some((key, idle.since + EVICT_AFTER))
    }

    fn accept_from(&mut self, number: usize) {
        for _ in 0..self.driver.cx.limits.accepts_per_turn {
            if !self.may_accept() {
                return;
            }
            match self.accept_one(number) {
                Attempt::Accepted(key) => {
                    if self.slots.len() > self.driver.cx.limits.max_connections {
                        self.evict();
                    }
                    self.drive(key);
                }
                Attempt::Nobody => return,
                Attempt::Retry => {}
                Attempt::Failed(error) => return self.accept_failed(&error),
            }
        }
    }

    /// Accepts a connection, which has yet to be driven.
    pub(super) fn accept_one(&mut self, number: usize) -> Attempt {
        let key = self.slots.next_key();
        match self.driver.reactor.accept(number, key) {
            Ok(accepted) => {
                self.open(key, accepted);
                Attempt::Accepted(key)
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => {
                    self.listeners[number].is_ready = false;
                    Attempt::Nobody
                }
                ErrorKind::Interrupted => Attempt::Retry,
                // The newcomer's own trouble; it was gone before it was accepted, or its
                // network is (accept(2) passes that on).
                ErrorKind::ConnectionAborted
                | ErrorKind::ConnectionReset
                | ErrorKind::TimedOut
                | ErrorKind::NetworkDown
                | ErrorKind::NetworkUnreachable
                | ErrorKind::HostUnreachable
                | ErrorKind::PermissionDenied => {
                    debug!(target: "mini_http", "accept: {error}");
                    Attempt::Retry
                }
                _ if self.driver.reactor.asks_to_stop(&error) => {
                    self.listeners[number].is_ready = false;
                    self.driver.handle.stop();
                    Attempt::Nobody
                }
                _ => Attempt::Failed(error),
            },
        }
    }

    /// Mostly for want of file descriptors or memory (EMFILE, ENFILE, ENOBUFS, ENOMEM). Gives the
    /// place of the longest idle connection to a newcomer, if that is of use, and lets accepting rest
    /// for a while.
    pub(super) fn accept_failed(&mut self, error: &io::Error) {
        let now = self.driver.cx.now;
        let gains_by_closing = self.driver.reactor.gains_by_closing();
        let is_news = self
            .accept_logged_at
            .is_none_or(|at| now.saturating_since(at) >= LOG_INTERVAL);
        if is_news {
            self.accept_logged_at = Some(now);
            error!(
                target: "mini_http",
                "can't accept connections: {error}; {} are open. If this is for want of file \
                 descriptors, {}",
                self.slots.len(),
                if gains_by_closing {
                    "raise the limit (ulimit -n) or lower max_connections"
                } else {
                    "those of closed connections come back when the runtime collects garbage: let it \
                     do so more often (wazero: GOGC=1), or raise the limit (ulimit -n)"
                }
            );
        }
        if gains_by_closing {
            self.evict();
        }
        self.accept_again_at = Some(now + BACK_OFF);
    }

    fn open(&mut self, key: Key, accepted: Accepted<R::Stream>) {
        self.last_id += 1;
        let (id, Accepted { stream, peer, fd }) = (self.last_id, accepted);
        self.driver.handle.count_accepted();
        debug!(target: "mini_http", "conn {id}: opened{}{}", OfFd(fd), FromPeer(peer));
        let connection = Connection::new(id, peer, &mut self.driver.cx);
        let exchange = self.mode.open(key, peer);
        self.slots.insert(Slot::new(stream, connection, exchange));
    }

    /// Closes the longest idle connection, if it can give way already.
    fn evict(&mut self) {
        let now = self.driver.cx.now;
        if let Some((key, from)) = self.next_to_go()
            && from <= now
        {
            self.with_connection(key, |connection, cx| {
                connection.abandon(cx, CloseReason::Evicted);
            });
            self.drive(key);
        }
    }
}

/// The second bound: how many connections may be open or linger. Those that linger don't take the
/// places of newcomers, since clients can make them linger for as long as they like; but they take
/// resources. `max_connections` may be open, and one more while another gives way to it. No more than
/// these can linger without end (see the reactor's contract).
fn most_sockets(max_connections: usize) -> usize {
    max_connections.saturating_add(1).saturating_mul(2)
}

/// The number of a connection's file descriptor, in the log.
struct OfFd(Option<u32>);

impl fmt::Display for OfFd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |fd| write!(f, ", fd {fd}"))
    }
}

/// The peer's address, in the log.
struct FromPeer(Option<SocketAddr>);

impl fmt::Display for FromPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |peer| write!(f, ", from {peer}"))
    }
}
