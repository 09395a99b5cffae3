//! Accepting new connections, and closing idle ones to make room for them.

use std::fmt;
use std::io::{self, ErrorKind};
use std::time::Duration;

use crate::log::{debug, error};
use poll_turns::Key;

use super::EventLoop;
use super::mode::Mode;
use super::slot::Slot;
use crate::conn::{CloseReason, Connection};
use crate::reactor::{Accepted, Peer, Reactor};
use crate::shares::Share;
use crate::time::Instant;

/// What the loop records about a listener.
#[derive(Clone, Copy, Default)]
pub(super) struct Listener {
    /// The reactor has reported it, and no `accept` has returned `WouldBlock` since.
    pub(super) is_ready: bool,
    /// The reactor doesn't wait for it: nothing can be accepted now.
    is_paused: bool,
    pub(super) state: ListenerState,
}

/// What happens with the new connections of a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ListenerState {
    /// They are served.
    #[default]
    Open,
    /// They get 503: the server stops, and the listener can't be closed.
    Refusing,
    /// The listener is closed.
    Closed,
}

/// The result of one call of `accept`.
pub(super) enum Attempt {
    Accepted(Key),
    /// No connection waits.
    NoConnection,
    /// The call failed, but the next one may succeed.
    Retry,
    /// The call failed, mostly because resources ran out.
    Failed(io::Error),
}

/// A connection is closed for a new one only if it has been idle for this long. Otherwise a connection that was just
/// accepted could be closed before its first request is read. At half, a client whose request
/// comes 50 ms after its connection may lose it; at double, new connections wait twice as long while all others are
/// new.
const EVICT_AFTER: Duration = Duration::from_millis(100);

/// How long the loop waits before it accepts again, if accepting failed because resources ran out, or if other workers
/// use all of `max_connections`. At half, a server without file descriptors tries twice as often in vain; at double, a
/// new client waits for twice as long after one has become free.
const BACK_OFF: Duration = Duration::from_millis(50);

/// The clock is read after this number of connections, if their requests are served while they are accepted. See
/// `REQUESTS_PER_CLOCK` in `round_robin.rs`.
const ACCEPTS_PER_CLOCK: usize = 8;

/// The shortest time between two log lines about failures of accepting: without it, each attempt after [`BACK_OFF`]
/// would write one.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

impl<R: Reactor, M: Mode<R>> EventLoop<'_, R, M> {
    /// Accepts from every listener at which a connection may wait.
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

    /// When the loop has to try again to accept. `None` if no connection may be waiting, or if another connection has
    /// to end first: that ends the wait by itself.
    pub(super) fn next_accept(&mut self) -> Option<Instant> {
        // While a listener is paused, the reactor doesn't report that a connection waits.
        let may_have_connections = |listener: &Listener| listener.is_ready || listener.is_paused;
        if self.is_stopping() || !self.listeners.iter().any(may_have_connections) {
            return None;
        }
        match self.accept_again_at {
            Some(at) => Some(at),
            None => self.free_from(),
        }
    }

    /// Sets whether the reactor waits for a listener.
    pub(super) fn pause(&mut self, number: usize, should_pause: bool) {
        let listener = &mut self.listeners[number];
        if listener.is_paused != should_pause {
            listener.is_paused = should_pause;
            self.driver.reactor.set_accepting(number, !should_pause);
        }
    }

    fn may_accept(&mut self) -> bool {
        let now = self.driver.cx.now;
        self.accept_again_at.is_none() && self.free_from().is_some_and(|from| from <= now)
    }

    /// From when on there is room for a new connection. `None` if another connection has to close or to end its
    /// lingering first. An event, a deadline or the reactor ends the wait then.
    fn free_from(&mut self) -> Option<Instant> {
        let now = self.driver.cx.now;
        let most = self.driver.cx.limits.max_connections;
        if self.slots.len() + self.driver.reactor.lingering() >= most_sockets(most) {
            return None;
        }
        if self.may_have(self.slots.len() + 1) {
            return Some(now);
        }
        match self.next_to_evict() {
            Some((_, from)) => Some(now.max(from)),
            None => self.want_place(),
        }
    }

    /// Whether this number of connections may be open.
    fn may_have(&self, count: usize) -> bool {
        match &self.places {
            None => count <= self.driver.cx.limits.max_connections,
            Some(share) => share.covers(count),
        }
    }

    /// With several workers: asks the other workers for room for one more connection. Returns when to try again.
    #[cold]
    fn want_place(&mut self) -> Option<Instant> {
        let now = self.driver.cx.now;
        if self.places.as_ref()?.want(self.slots.len() + 1) {
            return Some(now);
        }
        // Not at once: the others are woken each time.
        self.accept_again_at = Some(now + BACK_OFF);
        self.accept_again_at
    }

    /// With several workers: gives back what this one doesn't need of its shares. If another worker waits for room for
    /// a connection, and this one uses its whole share, it closes an idle connection.
    pub(super) fn give_back_spare(&mut self) {
        let count = self.slots.len();
        let must_evict =
            |share: &Share| share.is_wanted() && share.taken() > 0 && share.taken() <= count;
        if self.places.as_ref().is_some_and(must_evict) {
            self.evict();
        }
        if let Some(share) = &self.places {
            share.give_back_spare(self.slots.len());
        }
        let cx = &mut self.driver.cx;
        cx.shared.give_back_spare(cx.limits);
        self.mode.give_back_spare();
    }

    /// The longest idle connection, and from when on it may be closed for a new one.
    fn next_to_evict(&mut self) -> Option<(Key, Instant)> {
        let key = self.slots.key_at(self.driver.schedule.longest_idle()?)?;
        let idle = self.slots.get_mut(key)?.idle?;
        Some((key, idle.since + EVICT_AFTER))
    }

    fn accept_from(&mut self, number: usize) {
        for attempt in 1..=self.driver.cx.limits.accepts_per_turn {
            if !self.may_accept() {
                return;
            }
            match self.accept_one(number) {
                Attempt::Accepted(key) => {
                    if !self.may_have(self.slots.len()) {
                        self.evict();
                    }
                    self.drive(key);
                    if let Err(error) = self.watch(key) {
                        return self.accept_failed(&error);
                    }
                }
                Attempt::NoConnection => return,
                Attempt::Retry => {}
                Attempt::Failed(error) => return self.accept_failed(&error),
            }
            // Requests of new connections are served here, too: slow handlers must not keep the others waiting.
            let must_check = R::READS_NEW && attempt.is_multiple_of(ACCEPTS_PER_CLOCK);
            if must_check && self.driver.slice.check_time(self.driver.reactor.now()) {
                return;
            }
        }
    }

    /// Registers a connection after its first turn. If that fails, it is closed.
    ///
    /// # Errors
    /// That of [`Reactor::watch`].
    pub(super) fn watch(&mut self, key: Key) -> io::Result<()> {
        let Some(slot) = self.slots.get_mut(key) else {
            return Ok(());
        };
        let watched = self.driver.reactor.watch(&mut slot.stream);
        if watched.is_err() {
            self.driver.lose(slot);
            self.drive(key);
        }
        watched
    }

    /// Accepts a connection. It still needs its first turn.
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
                    Attempt::NoConnection
                }
                ErrorKind::Interrupted => Attempt::Retry,
                // An error of the new connection alone: it ended before it was accepted, or its network
                // failed (accept(2) returns such errors, too).
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
                    Attempt::NoConnection
                }
                _ => Attempt::Failed(error),
            },
        }
    }

    /// Handles a failure of accepting: mostly there are no file descriptors or no memory left (EMFILE, ENFILE, ENOBUFS,
    /// ENOMEM). Closes the longest idle connection, if this makes room for a new one. Accepting is tried again after
    /// [`BACK_OFF`].
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
                "can't accept connections: {error}; {} are open. If no file descriptors are left, \
                 {}",
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

    /// Makes a slot for an accepted connection.
    fn open(&mut self, key: Key, accepted: Accepted<R::Stream>) {
        let id = self.next_id;
        let Accepted {
            stream,
            peer,
            local,
            fd,
        } = accepted;
        self.next_id += self.id_step;
        self.driver.handle.count_accepted();
        debug!(target: "mini_http", "conn {id}: opened{}{}", OfFd(fd), FromPeer(peer));
        let mut connection = Connection::new(id, peer.address(), &mut self.driver.cx);
        connection.set_local(local);
        let exchange = self.mode.open(key);
        let slot = Slot::new(stream, connection, exchange, R::READS_NEW);
        self.slots.insert(slot);
    }

    /// Closes the longest idle connection, if it has been idle for [`EVICT_AFTER`].
    fn evict(&mut self) {
        let now = self.driver.cx.now;
        if let Some((key, from)) = self.next_to_evict()
            && from <= now
        {
            self.with_connection(key, |connection, cx| {
                connection.abandon(cx, CloseReason::Evicted);
            });
            self.drive(key);
        }
    }
}

/// How many connections may be open or linger in the reactor, in all. Connections that linger don't count towards
/// `max_connections`, because clients can make them linger for as long as they like. But they use resources, so there
/// is this second bound.
///
/// `max_connections` may be open, and one more while an idle one is closed for it. The same number may linger
/// (see the contract of [`Reactor`]).
fn most_sockets(max_connections: usize) -> usize {
    max_connections.saturating_add(1).saturating_mul(2)
}

/// Shows the file descriptor of a connection in the log.
struct OfFd(Option<u32>);

impl fmt::Display for OfFd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |fd| write!(f, ", fd {fd}"))
    }
}

/// Shows the peer in the log.
struct FromPeer(Peer);

impl fmt::Display for FromPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Peer::Address(peer) => write!(f, ", from {peer}"),
            Peer::Unix => f.write_str(", from unix:"),
            Peer::Unknown => Ok(()),
        }
    }
}
