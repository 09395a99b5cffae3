//! The event loop: one for every reactor.
//!
//! Each iteration waits for events, and then gives turns to the connections that may be ready: it reads, feeds
//! the connection machine, runs the handler, and writes. Then it accepts newcomers. What is ready is
//! remembered per connection, so a reactor may report a thing once or again and again.
//!
//! No connection starves another: a turn is bounded, and connections that have more to do wait in the
//! backlog for further turns. `round_robin.rs` has the rules and their numbers.
//!
//! Before a deadline is judged, the connection is read and written once more: a slow handler, or a system
//! that reports room late, makes no peer look late.
//!
//! `accept.rs` takes newcomers and makes room for them; `drive.rs` moves one connection on;
//! `schedule.rs` knows when each is due, and which can give way; `stop.rs` ends it all.
//!
//! What becomes of the requests is decided by the loop's [`Mode`]: `whole.rs` calls a handler with complete
//! requests; `streaming/` runs the futures of requests, and the tasks beside them.

mod accept;
mod drive;
mod driver;
mod links;
mod mode;
mod phase;
mod round_robin;
mod schedule;
mod slot;
mod stop;
mod streaming;
mod whole;

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
use crate::incoming::Incoming;
use crate::into_response::IntoResponse;
use crate::limits::Limits;
use crate::reactor::{Event, Reactor, Readiness};
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
    B: Whole,
    H: FnMut(Request) -> Response<B>,
{
    let mode = WholeBodies { handler };
    EventLoop::new(reactor, mode, settings, handle, &mut Shared::new()).run()
}

/// Like [`serve`], with requests as futures, and beside these tasks.
///
/// # Errors
/// What [`Reactor::wait`] can't survive.
pub(crate) fn serve_async<R, H, F>(
    reactor: R,
    handler: H,
    tasks: Vec<Task>,
    settings: &Settings,
    handle: &Handle,
) -> io::Result<()>
where
    R: Reactor,
    H: FnMut(http::Request<Incoming>) -> F,
    F: Future<Output: IntoResponse>,
{
    let mode = Streaming::new(handler, tasks, reactor.waker(), settings.catch_panics);
    EventLoop::new(reactor, mode, settings, handle, &mut Shared::new()).run()
}

/// What a server is set to.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) limits: Limits,
    pub(crate) catch_panics: bool,
}

/// The listeners and connections, and what drives them.
struct EventLoop<'a, R: Reactor, M: Mode<R>> {
    mode: M,
    driver: Driver<'a, R>,
    slots: Table<Slot<R::Stream, M::Exchange>>,
    listeners: Vec<Listener>,
    /// The number of the last accepted connection.
    last_id: u64,
    /// No connection is accepted before this moment: accepting failed for want of resources.
    accept_again_at: Option<Instant>,
    /// When a failure of accepting was last logged.
    accept_logged_at: Option<Instant>,
    stop: Stop,
}

impl<'a, R: Reactor, M: Mode<R>> EventLoop<'a, R, M> {
    /// One read takes at most this much, and all requests in it are answered by one write. At half, an
    /// upload takes twice as many calls; at double, the buffer no longer fits into the second-level cache of
    /// small processors beside what is read.
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
            self.iterate(&mut events)?;
        }
        Ok(())
    }

    /// Waits once, and does what the events ask for.
    fn iterate(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        events.clear();
        let timeout = self.wait_timeout();
        self.driver.reactor.wait(events, timeout)?;
        let now = self.driver.reactor.now();
        self.driver.cx.now = now;
        self.keep_date(now);

        let waiting = self.driver.backlog.len();
        self.driver.slice = Slice::new(events.len(), waiting, now);
        for event in events.iter() {
            match *event {
                Event::Listener(number) => self.listeners[number].is_ready = true,
                Event::Stream(key, readiness) => self.ready(key, readiness),
            }
        }
        self.wake();
        self.resume(waiting);
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

    /// Gives turns to the connections that were woken. Like those that the reactor has reported, they don't
    /// depend on the slice; but it takes no longer than one, and the others have theirs in the next iteration.
    #[inline]
    fn wake(&mut self) {
        self.mode.handle_wait(&self.driver);
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

    /// Gives further turns to the first `waiting` of the backlog, as far as the slice allows.
    fn resume(&mut self, waiting: usize) {
        let owed = self.driver.slice.turns().max(1);
        for resumed in 0..waiting {
            let Some(quantum) = self.driver.slice.further_quantum(resumed, owed) else {
                return;
            };
            let Some(key) = self.driver.backlog.pop_front() else {
                return;
            };
            if let Some(slot) = self.slots.get_mut(key) {
                slot.is_queued = false;
                self.drive_for(key, quantum);
                // A turn checks the time only if it has many requests; a few of each can be slow.
                self.driver.slice.check_time(self.driver.reactor.now());
            }
        }
    }

    fn keep_date(&mut self, now: Instant) {
        let shared = &mut self.driver.cx.shared;
        if now >= shared.date_expires() {
            shared.set_date(now, self.driver.reactor.wall_clock());
        }
    }

    fn wait_timeout(&mut self) -> Option<Duration> {
        let must_stop = self.driver.handle.is_stopping() && !self.is_stopping();
        if must_stop || !self.driver.backlog.is_empty() {
            return Some(Duration::ZERO);
        }
        let now = self.driver.cx.now;
        let accept = self.accept_at().map(|at| at.saturating_since(now));
        let deadline = self.driver.schedule.next(now);
        let woken = self.mode.timeout(&self.driver, &self.slots);
        if self.is_stopping() {
            let stop = self.stop_again_at().map(|at| at.saturating_since(now));
            return [deadline, stop, woken].into_iter().flatten().min();
        }
        [deadline, accept, woken].into_iter().flatten().min()
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
            if self.mode.is_held_back(&slot.exchange) {
                // Its deadline is set again by its next turn.
                continue;
            }
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
        if reported.failed && slot.connection.request_in_progress() {
            // It may not be read now: enough input is kept, or the client had ended its stream before.
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

    /// Gives a connection a first turn.
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

    fn close(&mut self, key: Key, reason: CloseReason) {
        let Some(slot) = self.slots.remove(key) else {
            return;
        };
        self.driver.schedule.remove(key.index(), &slot);
        self.stop.turned_away -= usize::from(slot.is_turned_away);
        self.driver.handle.count_closed(reason);
        let id = slot.connection.id();
        debug!(target: "mini_http", "conn {id}: closed: {}", reason.explain());
        if self.mode.wants_reset(&slot.connection) {
            self.driver.reactor.reset(slot.stream);
        } else {
            self.driver.reactor.close(slot.stream);
        }
        self.mode.close(slot.exchange);
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

/// What is left when the loop ends by an error or a panic is closed for that reason. A connection that has sent
/// all its output keeps its own.
impl<R: Reactor, M: Mode<R>> Drop for EventLoop<'_, R, M> {
    fn drop(&mut self) {
        for key in self.slots.keys() {
            if let Some(mut slot) = self.slots.remove(key) {
                let failed = CloseReason::ServerFailed;
                slot.connection.abandon(&mut self.driver.cx, failed);
                let reason = slot.connection.state().close_reason().unwrap_or(failed);
                self.driver.handle.count_closed(reason);
                let id = slot.connection.id();
                debug!(target: "mini_http", "conn {id}: closed: {}", reason.explain());
                self.mode.close(slot.exchange);
                self.driver.reactor.close(slot.stream);
            }
        }
    }
}
