//! The event loop: one for every reactor.
//!
//! A turn waits for events, accepts, and then for each connection that may be ready: reads,
//! feeds the connection machine, runs the handler, writes. What is ready is remembered per
//! connection, so it does not matter whether a reactor reports a thing once or again and again.
//!
//! **No connection starves another.** A connection gets a bounded number of reads, of requests and
//! of written bytes a turn; if it has more, it queues behind the others, once. So who is ready is served
//! within the time that the reactor takes to find it and two turns, in each of which every connection
//! gets at most 64 requests, or 20 ms of the handler (looked at every 8 requests). Before a deadline is
//! judged, the connection is read and written once more: a slow handler, or a system that reports
//! room late, makes nobody look late.
//!
//! `accept.rs` takes newcomers and makes room for them; `drive.rs` moves one connection on.

mod accept;
mod drive;
mod links;
mod slab;
mod wheel;

#[cfg(all(test, not(target_os = "wasi")))]
mod seeds;
#[cfg(all(test, not(target_os = "wasi")))]
mod tests;

use std::io;
use std::time::Duration;

use http::Response;
use log::info;

use self::accept::Listener;
use self::links::{Links, List};
use self::slab::Slab;
use self::wheel::Wheel;
use crate::body::Body;
use crate::conn::{CloseReason, Connection, Context, Shared};
use crate::handle::Handle;
use crate::key::Key;
use crate::limits::Limits;
use crate::reactor::{Event, Interest, Reactor, Readiness};
use crate::request::Request;
use crate::time::Instant;

/// Serves what comes to the reactor's listeners, until the handle says to stop.
pub(crate) struct EventLoop<'a, R: Reactor, H> {
    reactor: R,
    handler: H,
    handle: &'a Handle,
    catch_panics: bool,
    slots: Slab<Slot<R::Stream>>,
    common: Common<'a>,
    /// Deadlines, by slot.
    wheel: Wheel,
    /// Connections that can give way to a newcomer, the longest idle first.
    idle: List,
    idle_links: Links,
    /// Connections that have more to do than one turn allowed.
    unfinished: Vec<Key>,
    listeners: Vec<Listener>,
    /// Reads that a connection gets in the current turn.
    reads_per_turn: usize,
    /// Where all connections' bytes are read to.
    buffer: Box<[u8]>,
    /// The number of the last accepted connection.
    last_id: u64,
    /// No connection is accepted before this moment: accepting failed for want of resources.
    accept_again_at: Option<Instant>,
    /// When a failure of accepting was last logged.
    accept_logged_at: Option<Instant>,
    is_stopping: bool,
}

/// What a server is set to.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) limits: Limits,
    pub(crate) catch_panics: bool,
}

/// What every call of a connection is given.
struct Common<'a> {
    limits: &'a Limits,
    shared: Shared,
    /// When the current turn's wait returned.
    now: Instant,
}

impl Common<'_> {
    fn cx(&mut self) -> Context<'_> {
        Context {
            now: self.now,
            limits: self.limits,
            shared: &mut self.shared,
        }
    }
}

/// A connection with its socket.
struct Slot<S> {
    stream: S,
    connection: Connection,
    /// What the reactor has reported and no call has disproved yet.
    readiness: Readiness,
    interest: Interest,
    /// Set while the connection is in the idle list.
    idle: Option<Idle>,
    /// Whether the connection is among the unfinished.
    is_queued: bool,
}

/// Since when a connection can give way, and the deadline it had then: another one tells that it
/// was used.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Idle {
    since: Instant,
    until: Instant,
}

impl<'a, R, B, H> EventLoop<'a, R, H>
where
    R: Reactor,
    B: Body,
    H: FnMut(Request) -> Response<B>,
{
    /// One read takes at most this much; so much of a pipeline is answered by one write.
    const READ_SIZE: usize = 64 << 10;
    /// Reads of one connection a turn, if not many are ready. With many it is one: what they read
    /// together is what a newcomer waits for.
    const READS_PER_TURN: usize = 4;
    const MANY: usize = 16;

    pub(crate) fn new(reactor: R, handler: H, settings: &'a Settings, handle: &'a Handle) -> Self {
        let now = reactor.now();
        let listeners = vec![Listener::default(); reactor.listeners()];
        Self {
            reactor,
            handler,
            handle,
            catch_panics: settings.catch_panics,
            slots: Slab::new(),
            common: Common {
                limits: &settings.limits,
                shared: Shared::new(),
                now,
            },
            wheel: Wheel::new(now),
            idle: List::EMPTY,
            idle_links: Links::default(),
            unfinished: Vec::new(),
            listeners,
            reads_per_turn: Self::READS_PER_TURN,
            buffer: vec![0; Self::READ_SIZE].into_boxed_slice(),
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
        let now = self.reactor.now();
        self.common.now = now;
        self.wheel.awake(now);
        self.keep_date(now);

        let unfinished = std::mem::take(&mut self.unfinished);
        self.reads_per_turn = match events.len().max(unfinished.len()) {
            0..=Self::MANY => Self::READS_PER_TURN,
            _ => 1,
        };
        for event in events.iter() {
            match *event {
                Event::Listener(number) => self.listeners[number].is_ready = true,
                Event::Stream(key, readiness) => self.ready(key, readiness),
            }
        }
        // Behind the others: these have had their turn.
        for key in unfinished {
            if let Some(slot) = self.slots.get_mut(key) {
                slot.is_queued = false;
                self.drive(key);
            }
        }
        if self.handle.is_stopping() && !self.is_stopping {
            self.stop();
        }
        self.accept_all();
        self.expire();
        let shared = &self.common.shared;
        self.handle.set_held(shared.held(), shared.held_peak());
        Ok(())
    }

    fn keep_date(&mut self, now: Instant) {
        if now >= self.common.shared.date_expires() {
            let wall_clock = self.reactor.wall_clock();
            self.common.shared.set_date(now, wall_clock);
        }
    }

    fn wait_timeout(&mut self) -> Option<Duration> {
        let must_stop = self.handle.is_stopping() && !self.is_stopping;
        if must_stop || !self.unfinished.is_empty() {
            return Some(Duration::ZERO);
        }
        let now = self.common.now;
        let accept = self.accept_at().map(|at| at.saturating_since(now));
        [self.wheel.next(now), accept].into_iter().flatten().min()
    }

    /// Looks at the connections whose deadline may have passed.
    fn expire(&mut self) {
        let now = self.common.now;
        while let Some(index) = self.wheel.expired(now) {
            let Some(key) = self.slots.key_at(index) else {
                continue;
            };
            let Some(slot) = self.slots.get_mut(key) else {
                continue;
            };
            if slot.connection.poll_timeout().is_some_and(|at| at <= now) {
                // Whatever has come, or can be taken, by now is not too late: the wait may not have
                // told yet, and systems tell of room to write only when there is much of it.
                slot.readiness.readable = true;
                slot.readiness.writable = true;
                self.drive(key);
            }
            self.with_connection(key, |connection, cx| connection.handle_timeout(cx));
            self.drive(key);
        }
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

    fn with_connection(
        &mut self,
        key: Key,
        change: impl FnOnce(&mut Connection, &mut Context<'_>),
    ) {
        if let Some(slot) = self.slots.get_mut(key) {
            change(&mut slot.connection, &mut self.common.cx());
        }
    }
}

/// What is left when the loop ends by an error or a panic is closed for a reason, too.
impl<R: Reactor, H> Drop for EventLoop<'_, R, H> {
    fn drop(&mut self) {
        for key in self.slots.keys() {
            if let Some(slot) = self.slots.remove(key) {
                self.handle.count_closed(CloseReason::Stopped);
                self.reactor.close(slot.stream);
            }
        }
    }
}
