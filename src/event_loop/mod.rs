//! The event loop: one for every reactor.
//!
//! A turn waits for events, accepts, and then for each connection that may be ready: reads,
//! feeds the connection machine, runs the handler, writes. What is ready is remembered per
//! connection, so it does not matter whether a reactor reports a thing once or again and again.
//!
//! **No connection starves another.** A connection gets a bounded number of reads, of requests (64, or
//! 20 ms of the handler, looked at every 8 requests) and of written bytes a turn; if it has more, it
//! queues behind the others, once. The queue goes on until a turn has moved 4 MiB or taken 20 ms,
//! and by at least as many as the turn has found newly ready. So who has just become ready is served
//! within the time that the reactor takes to find it and two turns, and doesn't wait for all that send or
//! take large bodies; and who stands in the queue is not left there for those who ask again and again.
//! The queue's get up to 1 MiB each, at once or, if the system's buffers have room for less, as it comes:
//! a body that comes at one go is still in the processor's cache when it is answered. Before a deadline is
//! judged, the connection is read and written once more: a slow handler, or a system that reports room
//! late, makes nobody look late.
//!
//! `accept.rs` takes newcomers and makes room for them; `drive.rs` moves one connection on;
//! `schedule.rs` knows when each is due, and which can give way; `stop.rs` ends it all.

mod accept;
mod drive;
mod links;
mod schedule;
mod stop;
mod wheel;

#[cfg(all(test, not(target_os = "wasi")))]
mod seeds;
#[cfg(all(test, not(target_os = "wasi")))]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use http::Response;
use log::debug;
use poll_turns::{Key, Table};

use self::accept::Listener;
use self::drive::{Driver, Spent};
use self::schedule::{Idle, Schedule};
use self::stop::{Phase, Stop};
use crate::body::Body;
use crate::conn::{CloseReason, Connection, Context, Shared};
use crate::handle::Handle;
use crate::limits::Limits;
use crate::reactor::{Event, Interest, Reactor, Readiness};
use crate::request::Request;
use crate::time::Instant;

/// Serves what comes to the reactor's listeners, until the handle says to stop and all connections
/// are closed.
///
/// # Errors
/// What [`Reactor::wait`] can't survive.
pub(crate) fn serve<R, B, H>(
    reactor: R,
    handler: H,
    settings: &Settings,
    handle: &Handle,
) -> io::Result<()>
where
    R: Reactor,
    B: Body,
    H: FnMut(Request) -> Response<B>,
{
    EventLoop::new(reactor, handler, settings, handle, &mut Shared::new()).run()
}

/// What a server is set to.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) limits: Limits,
    pub(crate) catch_panics: bool,
}

/// The listeners and connections, and what drives them.
struct EventLoop<'a, R: Reactor, H> {
    driver: Driver<'a, R, H>,
    slots: Table<Slot<R::Stream>>,
    listeners: Vec<Listener>,
    /// The number of the last accepted connection.
    last_id: u64,
    /// No connection is accepted before this moment: accepting failed for want of resources.
    accept_again_at: Option<Instant>,
    /// When a failure of accepting was last logged.
    accept_logged_at: Option<Instant>,
    stop: Stop,
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
    /// Reads that its last turn has left it. Who could not send more at once, by the room in the system's
    /// buffers, goes on as soon as it can, and doesn't queue for each such piece.
    reads_left: u8,
    /// Turns in which it was read since the end of the grace, when the server stops.
    late_turns: u8,
    /// It came after the listeners were shut, and gets 503.
    is_turned_away: bool,
}

impl<'a, R, B, H> EventLoop<'a, R, H>
where
    R: Reactor,
    B: Body,
    H: FnMut(Request) -> Response<B>,
{
    /// One read takes at most this much; so much of a pipeline is answered by one write.
    const READ_SIZE: usize = 64 << 10;
    /// Reads of one connection that has become ready, if not many have, and of a newcomer. With many it
    /// is one, but for what was left of the last turn: what they read together is what others wait for.
    const READS_PER_TURN: u8 = 4;
    const MANY: usize = 16;
    /// Reads of one that has more to do, in a later turn.
    const READS_RESUMED: u8 = 16;

    fn new(
        reactor: R,
        handler: H,
        settings: &'a Settings,
        handle: &'a Handle,
        shared: &'a mut Shared,
    ) -> Self {
        let now = reactor.now();
        let listeners = vec![Listener::default(); reactor.listeners()];
        Self {
            driver: Driver {
                reactor,
                handler,
                handle,
                catch_panics: settings.catch_panics,
                cx: Context {
                    now,
                    limits: &settings.limits,
                    shared,
                },
                schedule: Schedule::new(now),
                unfinished: VecDeque::new(),
                reads_per_turn: Self::READS_PER_TURN,
                spent: Spent::default(),
                phase: Phase::Serving,
                buffer: vec![0; Self::READ_SIZE].into_boxed_slice(),
            },
            slots: Table::default(),
            listeners,
            last_id: 0,
            accept_again_at: None,
            accept_logged_at: None,
            stop: Stop::default(),
        }
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Vec::new();
        while !self.has_stopped() {
            self.turn(&mut events)?;
        }
        Ok(())
    }

    /// Waits once, and does what the events ask for.
    fn turn(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        events.clear();
        let timeout = self.wait_timeout();
        self.driver.reactor.wait(events, timeout)?;
        let now = self.driver.reactor.now();
        self.driver.cx.now = now;
        self.keep_date(now);

        self.driver.spent = Spent::default();
        let unfinished = self.driver.unfinished.len();
        self.driver.reads_per_turn = match events.len().max(unfinished) {
            0..=Self::MANY => Self::READS_PER_TURN,
            _ => 1,
        };
        for event in events.iter() {
            match *event {
                Event::Listener(number) => self.listeners[number].is_ready = true,
                Event::Stream(key, readiness) => self.ready(key, readiness),
            }
        }
        self.resume(unfinished);
        if self.driver.handle.is_stopping() {
            self.go_on_stopping();
        } else {
            self.accept_all();
        }
        self.expire();
        let Driver {
            reactor,
            handle,
            cx,
            ..
        } = &self.driver;
        handle.set_held(cx.shared.held(), cx.shared.held_peak());
        handle.set_lingering(reactor.lingering());
        Ok(())
    }

    /// Gives another turn to those among the first `count` of the unfinished for which the others can wait,
    /// and, so that they don't wait for ever, to as many as have had a first turn before them, and to one.
    fn resume(&mut self, count: usize) {
        let first_turns = self.driver.spent.turns().max(1);
        let usual = std::mem::replace(&mut self.driver.reads_per_turn, Self::READS_RESUMED);
        for resumed in 0..count {
            if self.driver.spent.is_enough() {
                if resumed >= first_turns {
                    break;
                }
                self.driver.reads_per_turn = usual;
            }
            let next = self.driver.unfinished.pop_front();
            if let Some(key) = next
                && let Some(slot) = self.slots.get_mut(key)
            {
                slot.is_queued = false;
                self.drive(key);
                // One turn looks at the time only if it has many requests; a few of each can be slow.
                let Driver {
                    reactor, cx, spent, ..
                } = &mut self.driver;
                spent.look_at_time(reactor.now(), cx.now);
            }
        }
        self.driver.reads_per_turn = usual;
    }

    fn keep_date(&mut self, now: Instant) {
        let shared = &mut self.driver.cx.shared;
        if now >= shared.date_expires() {
            shared.set_date(now, self.driver.reactor.wall_clock());
        }
    }

    fn wait_timeout(&mut self) -> Option<Duration> {
        let must_stop = self.driver.handle.is_stopping() && !self.is_stopping();
        if must_stop || !self.driver.unfinished.is_empty() {
            return Some(Duration::ZERO);
        }
        let now = self.driver.cx.now;
        let accept = self.accept_at().map(|at| at.saturating_since(now));
        let deadline = self.driver.schedule.next(now);
        if self.is_stopping() {
            let stop = self.stop_again_at().map(|at| at.saturating_since(now));
            return [deadline, stop].into_iter().flatten().min();
        }
        [deadline, accept].into_iter().flatten().min()
    }

    /// Looks at the connections whose deadline may have passed.
    fn expire(&mut self) {
        let now = self.driver.cx.now;
        while let Some(index) = self.driver.schedule.expired(now) {
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

    /// Remembers what the reactor has reported, and acts on it.
    fn ready(&mut self, key: Key, reported: Readiness) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        slot.readiness.readable |= reported.readable || reported.read_closed;
        slot.readiness.writable |= reported.writable;
        slot.readiness.read_closed |= reported.read_closed;
        if !slot.is_queued
            && let Some(reason) = self.driver.drive(key, slot)
        {
            self.close(key, reason);
        }
    }

    /// Gives a connection its turn.
    fn drive(&mut self, key: Key) {
        if let Some(slot) = self.slots.get_mut(key)
            && let Some(reason) = self.driver.drive(key, slot)
        {
            self.close(key, reason);
        }
    }

    fn close(&mut self, key: Key, reason: CloseReason) {
        let Some(slot) = self.slots.remove(key) else {
            return;
        };
        self.driver.schedule.remove(key.index(), &slot);
        self.stop.turned_away -= usize::from(slot.is_turned_away);
        self.driver.handle.count_closed(reason);
        let id = slot.connection.id();
        debug!(target: "mini_http", "conn {id}: closed: {}", reason.explain());
        self.driver.reactor.close(slot.stream);
    }

    fn with_connection(
        &mut self,
        key: Key,
        change: impl FnOnce(&mut Connection, &mut Context<'_>),
    ) {
        if let Some(slot) = self.slots.get_mut(key) {
            change(&mut slot.connection, &mut self.driver.cx);
        }
    }
}

/// What is left when the loop ends by an error or a panic is closed for a reason, too.
impl<R: Reactor, H> Drop for EventLoop<'_, R, H> {
    fn drop(&mut self) {
        for key in self.slots.keys() {
            if let Some(slot) = self.slots.remove(key) {
                self.driver.handle.count_closed(CloseReason::Stopped);
                self.driver.reactor.close(slot.stream);
            }
        }
    }
}
