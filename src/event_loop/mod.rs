//! The event loop: one thread that serves all listeners and connections of a [`Reactor`].
//!
//! # One iteration
//!
//! `EventLoop::iterate` does this again and again until the server has stopped:
//!
//! 1. **Wait.** [`Reactor::wait`] blocks until there are events or the earliest deadline has come. It doesn't block
//!    if connections wait in the backlog.
//! 2. **Turns for connections with an event.** The loop records what the event reports, and gives the connection a
//!    turn. Then connections that were woken get turns (streaming mode only): by a waker, or because a request may
//!    begin.
//! 3. **Further turns for the backlog**: for connections whose last turn ended before their work did.
//! 4. **Accept** connections from the listeners that may be ready. When the server stops, `stop.rs` does its part
//!    here instead.
//! 5. **Deadlines.** Handle those that have passed.
//!
//! # A turn
//!
//! A turn (`drive.rs`) serves one connection: it writes pending output, reads, passes the bytes to the connection's
//! state machine ([`Connection`]), and runs the handler. It ends when a call would block, when there is nothing
//! left to do, or when it has used its quantum.
//!
//! Each slot remembers its [`Readiness`] until a call shows that it no longer holds, by `WouldBlock` or by a short
//! count. So it doesn't matter whether a reactor reports an event once (edge-triggered) or repeatedly
//! (level-triggered).
//!
//! # Fairness
//!
//! The scheduling is deficit round robin (`round_robin.rs`). Each turn has a quantum, and each iteration has a slice
//! for all its turns. A turn that ends before its work puts the connection into the backlog. So no connection
//! starves another.
//!
//! # Accepting
//!
//! `accept.rs` accepts up to `max_connections`. At the limit it closes the connection that has been idle for the
//! longest time. If none can be closed, it pauses the listener.
//!
//! # Deadlines
//!
//! `schedule.rs` keeps one deadline per connection. When it has passed, the connection first gets one more turn, in
//! which it is read and written even if the reactor has reported nothing. So a client isn't blamed for a slow handler,
//! or for a system that reports writability late. If the deadline still holds after that, the connection's state
//! machine handles it: it closes the connection, responds with 408, or sets a new deadline.
//!
//! # Modes
//!
//! The loop knows nothing about handlers. Its [`Mode`] decides what happens with a request:
//!
//! * Whole bodies (`whole.rs`): the handler is called with a complete request and returns a complete response.
//! * Streaming (`streaming/`): the handler returns a future. Bodies are passed on in pieces, and tasks run beside
//!   the requests.

mod accept;
mod drive;
mod driver;
mod links;
mod mode;
mod observed;
mod phase;
mod round_robin;
mod schedule;
mod settings;
mod slot;
mod stop;
mod streaming;
mod whole;

#[cfg(all(test, not(target_os = "wasi")))]
mod seeds;
#[cfg(all(test, not(target_os = "wasi")))]
mod tests;

pub(crate) use self::settings::Settings;
#[cfg(not(target_os = "wasi"))]
pub(crate) use self::settings::Worker;
#[cfg(feature = "wasi-http")]
pub(crate) use self::streaming::{End, Port, RequestTask, run};

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use http::Response;
use poll_turns::{Key, Table};

use self::accept::Listener;
use self::driver::Driver;
use self::mode::{Mode, Woken};
use self::phase::Phase;
use self::round_robin::{Clock, Slice};
use self::schedule::Schedule;
use self::slot::Slot;
use self::stop::Stop;
use self::streaming::Streaming;
use self::whole::WholeBodies;
use crate::body::Whole;
use crate::conn::{CloseReason, Connection, Context, Shared};
use crate::executor::Task;
use crate::handle::Handle;
use crate::incoming::StreamedRequest;
use crate::into_response::IntoResponse;
use crate::reactor::{Event, Reactor, Readiness};
use crate::request::Request;
use crate::shares::{Pools, Share};
use crate::time::Instant;

/// Serves the connections of the reactor's listeners. Returns when the handle stops the server and all
/// connections are closed.
///
/// # Errors
/// The error of [`Reactor::wait`], if it fails.
pub(crate) fn serve<R, B, H>(
    reactor: R,
    handler: H,
    settings: &Settings,
    handle: &Handle,
) -> io::Result<()>
where
    R: Reactor,
    B: Whole,
    H: FnMut(Request) -> Response<B>,
{
    let mode = WholeBodies { handler };
    let mut shared = settings.shared(handle);
    EventLoop::new(reactor, mode, settings, handle, &mut shared).run()
}

/// Like [`serve`], but the handler returns a future for each request, and `tasks` run beside the requests.
///
/// # Errors
/// The error of [`Reactor::wait`], if it fails.
pub(crate) fn serve_async<R, H, F>(
    reactor: R,
    handler: H,
    tasks: Vec<Task>,
    settings: &Settings,
    handle: &Handle,
) -> io::Result<()>
where
    R: Reactor,
    H: FnMut(StreamedRequest) -> F,
    F: Future<Output: IntoResponse>,
{
    let mode = Streaming::new(handler, tasks, reactor.waker(), settings);
    let mut shared = settings.shared(handle);
    EventLoop::new(reactor, mode, settings, handle, &mut shared).run()
}

/// All listeners and connections, and the state of the loop.
struct EventLoop<'a, R: Reactor, M: Mode<R>> {
    mode: M,
    driver: Driver<'a, R>,
    slots: Table<Slot<R::Stream, M::Exchange>>,
    /// With several workers: the share of `max_connections`.
    places: Option<Share>,
    listeners: Vec<Listener>,
    /// The number of the next connection.
    next_id: u64,
    /// The difference between the numbers of two connections: each worker has its own numbers.
    id_step: u64,
    /// Accepting has failed because resources ran out, or other workers use all of `max_connections`. It is tried again
    /// at this moment.
    accept_again_at: Option<Instant>,
    /// When a failure of accepting was last logged.
    accept_logged_at: Option<Instant>,
    stop: Stop,
}

impl<'a, R: Reactor, M: Mode<R>> EventLoop<'a, R, M> {
    /// The largest read. The responses to all requests in it go out in one write. At half, an upload takes twice
    /// as many calls. At double, the buffer no longer fits into the second-level cache of small processors together
    /// with the bytes that are read.
    const READ_SIZE: usize = 64 << 10;

    fn new(
        reactor: R,
        mode: M,
        settings: &'a Settings,
        handle: &'a Handle,
        shared: &'a mut Shared,
    ) -> Self {
        let now = reactor.now();
        let listeners = vec![Listener::default(); reactor.listeners()];
        let pools = settings.worker.pools.as_ref();
        if let Some(held) = pools.map(Pools::held) {
            shared.set_share(held, &settings.limits);
        }
        Self {
            mode,
            driver: Driver {
                reactor,
                handle,
                catch_panics: settings.catch_panics,
                cx: Context {
                    now,
                    limits: &settings.limits,
                    shared,
                },
                schedule: Schedule::new(),
                backlog: VecDeque::new(),
                slice: Slice::new(0, 0, now),
                phase: Phase::Serving,
                buffer: vec![0; Self::READ_SIZE].into_boxed_slice(),
            },
            slots: Table::default(),
            places: pools.map(Pools::connections),
            listeners,
            next_id: settings.worker.number + 1,
            id_step: settings.worker.of,
            accept_again_at: None,
            accept_logged_at: None,
            stop: Stop::default(),
        }
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Vec::new();
        while !self.has_stopped() {
            self.iterate(&mut events)?;
        }
        Ok(())
    }

    /// One iteration: waits, and then gives turns to connections. The head of this file describes the steps.
    fn iterate(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        events.clear();
        let mut timeout = self.wait_timeout();
        let Context { shared, now, .. } = &mut self.driver.cx;
        if let Some(watch) = &mut shared.watch {
            timeout = watch.before_wait(*now, timeout);
        }
        self.driver.reactor.wait(events, timeout)?;
        self.mode.handle_wait();
        let now = self.driver.reactor.now();
        self.driver.cx.now = now;
        self.keep_date(now);

        let waiting = self.driver.backlog.len();
        self.driver.slice = Slice::new(events.len(), waiting, now);
        for event in events.iter() {
            if self.must_end_turns() {
                break;
            }
            match *event {
                Event::Listener(number) => self.listeners[number].is_ready = true,
                Event::Stream(key, readiness) => self.ready(key, readiness),
            }
        }
        self.wake();
        self.resume(waiting);
        if self.driver.handle.is_stopping() {
            self.continue_stopping();
        } else {
            self.accept_all();
        }
        self.expire();
        if self.places.is_some() {
            self.give_back_spare();
        }
        let Driver {
            reactor,
            handle,
            cx,
            ..
        } = &self.driver;
        let (held, peak) = cx.shared.held_and_peak();
        handle.set_held(held, peak);
        handle.set_lingering(reactor.lingering());
        Ok(())
    }

    /// Gives turns to the connections that were woken. These turns, like those for events, take place even if the
    /// slice is spent. But when they have taken as long as a slice, the rest waits for the next iteration.
    #[inline]
    fn wake(&mut self) {
        self.mode.begin_wakes(self.driver.cx.now);
        let mut clock = Clock::new();
        loop {
            match self.mode.next_woken(&mut self.driver) {
                Woken::Nothing => return,
                Woken::Other => {}
                Woken::Connection(key) => self.drive_woken(key),
            }
            if clock.is_over(|| self.driver.reactor.now()) {
                return;
            }
        }
    }

    fn drive_woken(&mut self, key: Key) {
        if let Some(slot) = self.slots.get_mut(key)
            && self.mode.take_woken(&self.driver.cx, slot)
            && !slot.is_queued
        {
            self.drive(key);
        }
    }

    /// Gives further turns to the first `waiting` connections of the backlog, as far as the slice allows.
    fn resume(&mut self, waiting: usize) {
        let owed = self.driver.slice.turns().max(1);
        for resumed in 0..waiting {
            if self.must_end_turns() {
                return;
            }
            let Some(quantum) = self.driver.slice.further_quantum(resumed, owed) else {
                return;
            };
            let Some(key) = self.driver.backlog.pop_front() else {
                return;
            };
            if let Some(slot) = self.slots.get_mut(key) {
                slot.is_queued = false;
                self.drive_for(key, quantum);
                // A turn reads the clock only if it has many requests. Turns with a few slow requests each can take
                // long together.
                self.driver.slice.check_time(self.driver.reactor.now());
            }
        }
    }

    /// Sets the value of the `Date` field again if it is out of date.
    fn keep_date(&mut self, now: Instant) {
        let shared = &mut self.driver.cx.shared;
        if now >= shared.date_expires() {
            shared.set_date(now, self.driver.reactor.wall_clock());
        }
    }

    /// How long the next wait may take; `None` if only an event ends it.
    fn wait_timeout(&mut self) -> Option<Duration> {
        let must_stop = self.driver.handle.is_stopping() && !self.is_stopping();
        if must_stop || !self.driver.backlog.is_empty() {
            return Some(Duration::ZERO);
        }
        let now = self.driver.cx.now;
        let accept = self.next_accept().map(|at| at.saturating_since(now));
        let deadline = self.driver.schedule.next(now);
        let woken = self.mode.timeout(&self.driver, &self.slots);
        if self.is_stopping() {
            let stop = self.next_stop_step().map(|at| at.saturating_since(now));
            return [deadline, stop, woken].into_iter().flatten().min();
        }
        [deadline, accept, woken].into_iter().flatten().min()
    }

    /// Handles the deadlines that have passed.
    fn expire(&mut self) {
        let now = self.driver.cx.now;
        while let Some(index) = self.driver.schedule.expired(now) {
            let Some(key) = self.slots.key_at(index) else {
                continue;
            };
            let Some(slot) = self.slots.get_mut(key) else {
                continue;
            };
            // While it waits, only the deadline of its output applies. Its next turn sets the others again.
            let is_held_back = self.mode.is_held_back(&slot.exchange);
            if slot.timeout(is_held_back).is_some_and(|at| at <= now) {
                // Input that has arrived by now, or output that the socket would take, is not too late. The
                // reactor may not have reported it: systems report writability only when much room is free.
                slot.readiness.readable = true;
                slot.readiness.writable = true;
                self.drive(key);
            }
            self.with_connection(key, |connection, cx| match is_held_back {
                false => connection.handle_timeout(cx),
                true => connection.handle_write_timeout(cx),
            });
            self.drive(key);
        }
    }

    /// Records what the reactor has reported about a connection, and gives the connection a turn. A connection in
    /// the backlog waits for its turn there.
    fn ready(&mut self, key: Key, reported: Readiness) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        slot.readiness.readable |= reported.readable || reported.read_closed;
        slot.readiness.writable |= reported.writable;
        slot.readiness.read_closed |= reported.read_closed;
        let may_be_unread = slot.connection.is_in_use() || self.mode.is_held_back(&slot.exchange);
        if reported.failed && may_be_unread {
            // A read would show the failure too, but perhaps none comes: if enough input is kept, if the client
            // has ended its stream, or if there are too many requests, the connection isn't read.
            self.driver.lose(slot);
        }
        if slot.is_queued {
            return;
        }
        let quantum = self.driver.slice.first_quantum();
        if let Some(reason) = self.driver.drive(&mut self.mode, key, slot, quantum) {
            self.close(key, reason);
        }
    }

    /// Gives a connection a turn with the quantum of a first turn.
    fn drive(&mut self, key: Key) {
        self.drive_for(key, self.driver.slice.first_quantum());
    }

    /// Gives a connection a turn with this quantum.
    fn drive_for(&mut self, key: Key, quantum: usize) {
        if let Some(slot) = self.slots.get_mut(key)
            && let Some(reason) = self.driver.drive(&mut self.mode, key, slot, quantum)
        {
            self.close(key, reason);
        }
    }

    /// Closes a connection and removes its slot.
    fn close(&mut self, key: Key, reason: CloseReason) {
        let Some(mut slot) = self.slots.remove(key) else {
            return;
        };
        self.driver.schedule.remove(key.index(), &slot);
        self.stop.turned_away -= usize::from(slot.is_turned_away);
        self.driver.record_close(&mut slot.connection, reason);
        if self.mode.wants_reset(&slot.connection) {
            self.driver.reactor.reset(slot.stream);
        } else {
            self.driver.reactor.close(slot.stream);
        }
        self.mode.close(slot.exchange, reason);
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

/// If the loop ends by an error or a panic, the open connections are closed with the reason `ServerFailed`. A
/// connection that has already sent all its output keeps the reason that it had.
impl<R: Reactor, M: Mode<R>> Drop for EventLoop<'_, R, M> {
    fn drop(&mut self) {
        for key in self.slots.keys() {
            if let Some(mut slot) = self.slots.remove(key) {
                let failed = CloseReason::ServerFailed;
                slot.connection.abandon(&mut self.driver.cx, failed);
                let reason = slot.connection.state().close_reason().unwrap_or(failed);
                self.driver.record_close(&mut slot.connection, reason);
                self.mode.close(slot.exchange, reason);
                self.driver.reactor.close(slot.stream);
            }
        }
    }
}
