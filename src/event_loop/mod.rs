//! The event loop: one for every reactor.
//!
//! A turn waits for events, accepts, and then for each connection that may be ready: reads,
//! feeds the connection machine, runs the handler, writes. What is ready is remembered per
//! connection, so it does not matter whether a reactor reports a thing once or again and again.
//!
//! **No connection starves another.** A connection gets a bounded number of reads and of requests
//! a turn; if it has more, it queues behind the others. Timers look at the time at which the wait
//! returned, after the events of that wait: a slow handler makes nobody else look late.

mod links;
mod slab;
mod wheel;

#[cfg(all(test, not(target_os = "wasi")))]
mod tests;

use std::io::{self, ErrorKind, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use http::Response;
use log::{debug, error, info};

use self::links::{Links, List};
use self::slab::Slab;
use self::wheel::Wheel;
use crate::body::Body;
use crate::conn::{CloseReason, Connection, Context, Shared, Step};
use crate::handle::Handle;
use crate::key::Key;
use crate::limits::Limits;
use crate::log_text::Escaped;
use crate::reactor::{Accepted, Event, Interest, Reactor, Readiness};
use crate::request::Request;
use crate::time::Instant;

/// Serves what comes to the reactor's listeners, until the handle says to stop.
pub(crate) struct EventLoop<'a, R: Reactor, H> {
    reactor: R,
    handler: H,
    settings: &'a Settings,
    handle: &'a Handle,
    slots: Slab<Slot<R::Stream>>,
    /// Deadlines, by slot.
    wheel: Wheel,
    /// Idle connections, the longest idle first.
    idle: List,
    idle_links: Links,
    /// Connections that have more to do than one turn allowed.
    unfinished: Vec<Key>,
    listeners: Vec<Listener>,
    shared: Shared,
    /// Where all connections' bytes are read to.
    buffer: Box<[u8]>,
    /// When the current turn's wait returned.
    now: Instant,
    /// The number of the last accepted connection.
    last_id: u64,
    /// No connection is accepted before this moment: accepting failed for want of resources.
    accept_again_at: Option<Instant>,
    /// When the failure of accepting was last logged.
    accept_logged_at: Option<Instant>,
    is_stopping: bool,
}

/// What a server is set to.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) limits: Limits,
    pub(crate) catch_panics: bool,
}

/// A connection with its socket.
struct Slot<S> {
    stream: S,
    connection: Connection,
    /// What the reactor has reported and no call has disproved yet.
    readiness: Readiness,
    interest: Interest,
    /// The connection's deadline when it was put into the idle list; `None` if it is not there.
    idle_until: Option<Instant>,
}

#[derive(Clone, Copy, Default)]
struct Listener {
    /// Reported, and no `accept` has answered `WouldBlock` since.
    is_ready: bool,
    /// The reactor was told that nothing is accepted now.
    is_paused: bool,
}

impl<'a, R, B, H> EventLoop<'a, R, H>
where
    R: Reactor,
    B: Body,
    H: FnMut(Request) -> Response<B>,
{
    /// One read takes at most this much; so much of a pipeline is answered by one write.
    const READ_SIZE: usize = 64 << 10;
    /// Reads of one connection a turn.
    const READS_PER_TURN: usize = 4;
    /// Requests of one connection a turn.
    const REQUESTS_PER_TURN: usize = 64;
    /// A connection gives way to a newcomer only when it was idle for so long; what it sends when
    /// it was just accepted may not be read yet.
    const EVICT_AFTER: Duration = Duration::from_millis(100);
    /// How long accepting rests when it failed for want of resources.
    const ACCEPT_BACK_OFF: Duration = Duration::from_millis(50);
    const ACCEPT_LOG_INTERVAL: Duration = Duration::from_secs(1);

    pub(crate) fn new(reactor: R, handler: H, settings: &'a Settings, handle: &'a Handle) -> Self {
        let now = reactor.now();
        let listeners = vec![Listener::default(); reactor.listeners()];
        Self {
            reactor,
            handler,
            settings,
            handle,
            slots: Slab::new(),
            wheel: Wheel::new(now),
            idle: List::EMPTY,
            idle_links: Links::default(),
            unfinished: Vec::new(),
            listeners,
            shared: Shared::new(),
            buffer: vec![0; Self::READ_SIZE].into_boxed_slice(),
            now,
            last_id: 0,
            accept_again_at: None,
            accept_logged_at: None,
            is_stopping: false,
        }
    }

    /// Serves until the handle says to stop and all connections are closed.
    ///
    /// # Errors
    /// What [`Reactor::wait`] can't survive.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        let mut events = Vec::new();
        while !self.is_stopping || self.slots.len() > 0 {
            self.turn(&mut events)?;
        }
        Ok(())
    }

    /// Waits once, and does what the events ask for.
    fn turn(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        events.clear();
        let timeout = self.wait_timeout();
        self.reactor.wait(events, timeout)?;
        self.now = self.reactor.now();
        if self.now >= self.shared.date_expires() {
            self.shared.set_date(self.now, self.reactor.wall_clock());
        }

        let unfinished = std::mem::take(&mut self.unfinished);
        for event in events.iter() {
            match *event {
                Event::Listener(number) => self.listeners[number].is_ready = true,
                Event::Stream(key, readiness) => self.ready(key, readiness),
            }
        }
        // Behind the others: these have had their turn.
        for key in unfinished {
            self.drive(key);
        }
        if self.handle.is_stopping() && !self.is_stopping {
            self.stop();
        }
        self.accept_all();
        self.expire();
        self.handle
            .set_held(self.shared.held(), self.shared.held_peak());
        Ok(())
    }

    fn wait_timeout(&mut self) -> Option<Duration> {
        let must_stop = self.handle.is_stopping() && !self.is_stopping;
        if must_stop || !self.unfinished.is_empty() {
            return Some(Duration::ZERO);
        }
        let accept = self.accept_at().map(|at| at.saturating_since(self.now));
        [self.wheel.next(self.now), accept]
            .into_iter()
            .flatten()
            .min()
    }

    /// Ends what can be ended at once and lets the rest be finished.
    fn stop(&mut self) {
        info!(target: "mini_http", "stopping: {} connections open", self.slots.len());
        self.is_stopping = true;
        for listener in 0..self.listeners.len() {
            self.pause(listener, true);
        }
        for key in self.slots.keys() {
            self.with_connection(key, |connection, cx| connection.stop(cx));
            self.drive(key);
        }
    }
}

/// Accepting.
impl<R, B, H> EventLoop<'_, R, H>
where
    R: Reactor,
    B: Body,
    H: FnMut(Request) -> Response<B>,
{
    /// Whether there is a place for a newcomer, or will be: when, if not now.
    fn place_from(&mut self) -> Option<Instant> {
        let limits = &self.settings.limits;
        if self.slots.len() < limits.max_connections {
            return Some(self.now);
        }
        let longest_idle = self
            .idle
            .first()
            .and_then(|index| self.slots.key_at(index))?;
        let until = self.slots.get_mut(longest_idle)?.idle_until?;
        let since = until.saturating_sub(limits.idle_timeout);
        Some(self.now.max(since + Self::EVICT_AFTER))
    }

    fn may_accept(&mut self) -> bool {
        !self.is_stopping
            && self.accept_again_at.is_none()
            && self.place_from().is_some_and(|from| from <= self.now)
    }

    /// When to look again whether newcomers can be accepted, if that is not for an event to say.
    fn accept_at(&mut self) -> Option<Instant> {
        // A level-triggered reactor is silent about a listener that is paused.
        let may_have = |listener: &Listener| listener.is_ready || listener.is_paused;
        if self.is_stopping || !self.listeners.iter().any(may_have) {
            return None;
        }
        match self.accept_again_at {
            Some(at) => Some(at),
            None => self.place_from(),
        }
    }

    fn accept_all(&mut self) {
        if self.accept_again_at.is_some_and(|at| self.now >= at) {
            self.accept_again_at = None;
        }
        for number in 0..self.listeners.len() {
            let may_accept = self.may_accept();
            self.pause(number, !may_accept);
            if may_accept && self.listeners[number].is_ready {
                self.accept_from(number);
            }
        }
    }

    fn pause(&mut self, number: usize, should_pause: bool) {
        let listener = &mut self.listeners[number];
        if listener.is_paused != should_pause {
            listener.is_paused = should_pause;
            self.reactor.set_accepting(number, !should_pause);
        }
    }

    fn accept_from(&mut self, number: usize) {
        for _ in 0..self.settings.limits.accepts_per_turn {
            if !self.may_accept() {
                return;
            }
            match self.reactor.accept(number, self.slots.next_key()) {
                Ok(accepted) => {
                    let key = self.slots.next_key();
                    self.open(accepted);
                    if self.slots.len() > self.settings.limits.max_connections {
                        self.evict();
                    }
                    self.update(key);
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => {
                        self.listeners[number].is_ready = false;
                        return;
                    }
                    ErrorKind::Interrupted => {}
                    // The client was gone before it was accepted.
                    ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset => {
                        debug!(target: "mini_http", "accept: {error}");
                    }
                    _ => return self.accept_failed(&error),
                },
            }
        }
    }

    /// Mostly for want of file descriptors or memory (EMFILE, ENFILE, ENOBUFS, ENOMEM). Gives the
    /// place of the longest idle connection to a newcomer, and lets accepting rest for a while.
    fn accept_failed(&mut self, error: &io::Error) {
        let is_news = self
            .accept_logged_at
            .is_none_or(|at| self.now.saturating_since(at) >= Self::ACCEPT_LOG_INTERVAL);
        if is_news {
            self.accept_logged_at = Some(self.now);
            error!(
                target: "mini_http",
                "can't accept connections: {error}; {} are open. If this is for want of file \
                 descriptors, raise the limit (ulimit -n) or lower max_connections",
                self.slots.len()
            );
        }
        self.evict();
        self.accept_again_at = Some(self.now + Self::ACCEPT_BACK_OFF);
    }

    fn open(&mut self, accepted: Accepted<R::Stream>) {
        self.last_id += 1;
        let (id, Accepted { stream, peer, fd }) = (self.last_id, accepted);
        self.handle.count_accepted();
        if let Some(fd) = fd {
            self.reactor.name(fd, id);
        }
        debug!(target: "mini_http", "conn {id}: opened{}{}", Fd(fd), From(peer));
        let mut cx = Context {
            now: self.now,
            limits: &self.settings.limits,
            shared: &mut self.shared,
        };
        let connection = Connection::new(id, peer, &mut cx);
        self.slots.insert(Slot {
            stream,
            connection,
            readiness: Readiness {
                readable: false,
                writable: true,
                read_closed: false,
            },
            interest: Interest::READ,
            idle_until: None,
        });
    }

    /// Closes the longest idle connection.
    fn evict(&mut self) {
        if let Some(key) = self.idle.first().and_then(|index| self.slots.key_at(index)) {
            self.with_connection(key, |connection, cx| {
                connection.abandon(cx, CloseReason::Evicted);
            });
            self.drive(key);
        }
    }
}

/// One connection.
impl<R, B, H> EventLoop<'_, R, H>
where
    R: Reactor,
    B: Body,
    H: FnMut(Request) -> Response<B>,
{
    /// Remembers what the reactor has reported, and acts on it.
    fn ready(&mut self, key: Key, reported: Readiness) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        slot.readiness.readable |= reported.readable || reported.read_closed;
        slot.readiness.writable |= reported.writable;
        slot.readiness.read_closed |= reported.read_closed;
        self.drive(key);
    }

    /// Writes, reads and handles until nothing more can be done now, or the turn is over.
    fn drive(&mut self, key: Key) {
        let mut reads = 0;
        let mut requests = 0;
        let has_more = loop {
            if !self.flush(key) {
                return;
            }
            if requests >= Self::REQUESTS_PER_TURN || reads >= Self::READS_PER_TURN {
                break self.has_more(key);
            }
            if self.can_go_on(key) {
                self.handle_input(key, 0, &mut requests);
            } else if self.can_read(key) {
                reads += 1;
                self.read(key, &mut requests);
            } else {
                break false;
            }
        };
        if has_more {
            self.unfinished.push(key);
        }
        self.update(key);
    }

    /// Writes what there is, as far as it can be written now, and takes the step that follows.
    /// Tells whether the connection still exists.
    fn flush(&mut self, key: Key) -> bool {
        loop {
            let Some(slot) = self.slots.get_mut(key) else {
                return false;
            };
            let mut cx = Context {
                now: self.now,
                limits: &self.settings.limits,
                shared: &mut self.shared,
            };
            if slot.connection.pending_output() > 0 && slot.readiness.writable {
                let mut slices = [IoSlice::new(&[]); 8];
                let filled = slot.connection.poll_output(&mut slices);
                let offered: usize = slices[..filled].iter().map(|slice| slice.len()).sum();
                let id = slot.connection.id();
                match self.reactor.write(&mut slot.stream, &slices[..filled]) {
                    Ok(written) => {
                        debug!(target: "mini_http", "conn {id}: wrote {written} bytes");
                        slot.readiness.writable = written == offered || !R::SHORT_IS_LAST;
                        slot.connection
                            .handle_written(&mut cx, written.min(offered));
                        if slot.connection.pending_output() == 0 {
                            debug!(target: "mini_http", "conn {id}: done writing");
                        }
                    }
                    Err(error) => match error.kind() {
                        ErrorKind::WouldBlock => slot.readiness.writable = false,
                        ErrorKind::Interrupted => {}
                        _ => {
                            debug!(target: "mini_http", "conn {id}: write: {error}");
                            slot.connection.abandon(&mut cx, CloseReason::IoError);
                        }
                    },
                }
                continue;
            }
            match slot.connection.poll_step(&mut cx) {
                Step::Wait => return true,
                Step::ShutdownWrite => match self.reactor.shutdown_write(&mut slot.stream) {
                    Ok(()) => return true,
                    // The client is gone.
                    Err(error) => {
                        let id = slot.connection.id();
                        debug!(target: "mini_http", "conn {id}: shutdown: {error}");
                        slot.connection.abandon(&mut cx, CloseReason::IoError);
                    }
                },
                Step::Close(reason) => {
                    self.close(key, reason);
                    return false;
                }
            }
        }
    }

    /// Reads once, and handles what came.
    fn read(&mut self, key: Key, requests: &mut usize) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        let id = slot.connection.id();
        match self.reactor.read(&mut slot.stream, &mut self.buffer) {
            Ok(0) => {
                debug!(target: "mini_http", "conn {id}: end of the client's stream");
                slot.readiness.readable = false;
                self.with_connection(key, |connection, cx| connection.handle_end_of_input(cx));
            }
            Ok(length) => {
                debug!(target: "mini_http", "conn {id}: read {length} bytes");
                // A short read has drained the socket, unless its end stands behind it.
                let is_drained = length < self.buffer.len() && !slot.readiness.read_closed;
                slot.readiness.readable = !(is_drained && R::SHORT_IS_LAST);
                self.handle_input(key, length, requests);
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => slot.readiness.readable = false,
                ErrorKind::Interrupted => {}
                _ => {
                    debug!(target: "mini_http", "conn {id}: read: {error}");
                    self.with_connection(key, |connection, cx| {
                        connection.abandon(cx, CloseReason::IoError);
                    });
                }
            },
        }
    }

    /// Feeds the first `length` bytes of the buffer to the connection, and answers its requests.
    fn handle_input(&mut self, key: Key, length: usize, requests: &mut usize) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        let connection = &mut slot.connection;
        let mut cx = Context {
            now: self.now,
            limits: &self.settings.limits,
            shared: &mut self.shared,
        };
        let mut input = &self.buffer[..length];
        while let Some(request) = connection.handle_input(&mut cx, &mut input) {
            *requests += 1;
            self.handle.count_request();
            let id = connection.id();
            debug!(
                target: "mini_http",
                "conn {id}: begin processing {}",
                Escaped(format!("{} {}", request.method(), request.uri()).as_bytes())
            );
            let answer = if self.settings.catch_panics {
                catch_unwind(AssertUnwindSafe(|| (self.handler)(request)))
            } else {
                Ok((self.handler)(request))
            };
            if self.handle.is_stopping() {
                connection.close_after_answer(CloseReason::Stopped);
            }
            match answer {
                Ok(response) => connection.respond(&mut cx, response),
                Err(_) => {
                    error!(target: "mini_http", "conn {id}: the handler panicked; answering 500");
                    connection.respond_to_panic(&mut cx);
                }
            }
            if *requests >= Self::REQUESTS_PER_TURN {
                return connection.keep_input(&mut cx, input);
            }
        }
    }

    fn can_go_on(&mut self, key: Key) -> bool {
        let (limits, shared) = (&self.settings.limits, &mut self.shared);
        let cx = Context {
            now: self.now,
            limits,
            shared,
        };
        self.slots
            .get_mut(key)
            .is_some_and(|slot| slot.connection.can_go_on(&cx))
    }

    fn can_read(&mut self, key: Key) -> bool {
        let (limits, shared) = (&self.settings.limits, &mut self.shared);
        let cx = Context {
            now: self.now,
            limits,
            shared,
        };
        self.slots
            .get_mut(key)
            .is_some_and(|slot| slot.readiness.readable && slot.connection.wants_input(&cx))
    }

    fn has_more(&mut self, key: Key) -> bool {
        self.can_go_on(key) || self.can_read(key)
    }

    /// Looks at the connections whose deadline may have passed.
    fn expire(&mut self) {
        while let Some(index) = self.wheel.expired(self.now) {
            let Some(key) = self.slots.key_at(index) else {
                continue;
            };
            self.with_connection(key, |connection, cx| connection.handle_timeout(cx));
            self.drive(key);
        }
    }

    /// Brings the reactor's interest, the deadline and the idle list in line with a connection.
    fn update(&mut self, key: Key) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        let (limits, shared) = (&self.settings.limits, &mut self.shared);
        let cx = Context {
            now: self.now,
            limits,
            shared,
        };
        let interest = Interest {
            read: slot.connection.wants_input(&cx),
            write: slot.connection.pending_output() > 0,
        };
        if interest != slot.interest {
            slot.interest = interest;
            self.reactor.set_interest(&mut slot.stream, interest);
        }
        if let Some(deadline) = slot.connection.poll_timeout() {
            self.wheel.set(key.index(), deadline);
        }
        // A connection that was used has another deadline, and goes to the end of the list as the
        // shortest idle.
        let idle_until = slot
            .connection
            .poll_timeout()
            .filter(|_| slot.connection.is_expendable());
        if idle_until != slot.idle_until {
            if slot.idle_until.is_some() {
                self.idle.remove(&mut self.idle_links, key.index());
            }
            if idle_until.is_some() {
                self.idle.push(&mut self.idle_links, key.index());
            }
            slot.idle_until = idle_until;
        }
    }

    fn close(&mut self, key: Key, reason: CloseReason) {
        let Some(slot) = self.slots.remove(key) else {
            return;
        };
        if slot.idle_until.is_some() {
            self.idle.remove(&mut self.idle_links, key.index());
        }
        self.wheel.cancel(key.index());
        self.handle.count_closed(reason);
        let id = slot.connection.id();
        debug!(target: "mini_http", "conn {id}: closed: {}", reason.explain());
        self.reactor.close(slot.stream);
    }

    fn with_connection(
        &mut self,
        key: Key,
        change: impl FnOnce(&mut Connection, &mut Context<'_>),
    ) {
        if let Some(slot) = self.slots.get_mut(key) {
            let (limits, shared) = (&self.settings.limits, &mut self.shared);
            let mut cx = Context {
                now: self.now,
                limits,
                shared,
            };
            change(&mut slot.connection, &mut cx);
        }
    }
}

/// The number of a connection's file descriptor, in the log.
struct Fd(Option<u32>);

impl std::fmt::Display for Fd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |fd| write!(f, ", fd {fd}"))
    }
}

/// The peer's address, in the log.
struct From(Option<std::net::SocketAddr>);

impl std::fmt::Display for From {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |peer| write!(f, ", from {peer}"))
    }
}
