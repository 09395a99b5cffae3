//! The mode of [`Server::serve_async`](crate::Server::serve_async): a request's handler is a future, and bodies
//! are streams.
//!
//! The loop is the executor. A connection has at most one future, which is the handler and then the body of its
//! response (`exchange.rs`). It is polled in the connection's turns: when it was woken, and when its body can go
//! on because there is room. What it has put into its port is passed to the connection after each poll. Beside
//! those futures there are spawned tasks.
//!
//! | file | |
//! |---|---|
//! | `exchange.rs` | what a connection has for its requests; their future |
//! | `port.rs` | what the future and the loop pass to each other |
//! | `receive.rs` | requests and their bodies: from the connection to the handler |
//! | `respond.rs` | polls of the futures; responses: from the handler to the connection |
//! | `tunnel.rs` | upgraded connections |
//! | `wait_queue.rs` | connections that wait because of `max_requests` |

mod exchange;
mod port;
mod receive;
mod respond;
mod tunnel;
mod wait_queue;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use crate::log::{debug, error};
use poll_turns::{Key, Table};

#[cfg(feature = "wasi-http")]
pub(crate) use self::exchange::{Task as RequestTask, run};
#[cfg(feature = "wasi-http")]
pub(crate) use self::port::{End, Port};

use self::exchange::{Exchange, Place};
use self::wait_queue::WaitQueue;
use super::Settings;
use super::driver::Driver;
use super::mode::{Mode, Woken};
use super::round_robin::Turn;
use super::slot::Slot;
use crate::conn::{CloseReason, Connection, Context};
use crate::executor::{Inbox, LoopContext, Target, Task, Tasks};
use crate::handle::Waker;
use crate::incoming::StreamedRequest;
use crate::into_response::IntoResponse;
use crate::reactor::Reactor;
use crate::shares::{Pools, Share};
use crate::time::Instant;

/// Requests as futures, and spawned tasks.
pub(super) struct Streaming<'h, H> {
    handler: Rc<RefCell<H>>,
    catch_panics: bool,
    /// Whether requests have extensions about their connections.
    connection_extensions: bool,
    context: Rc<LoopContext>,
    tasks: Tasks,
    /// What was woken, and has not been handled yet.
    woken: VecDeque<Target>,
    /// What was just taken out of the inbox; kept for its memory.
    taken: Vec<Target>,
    inbox_reads: InboxReads,
    /// Requests in their handlers, or with the bodies of their responses.
    in_handlers: usize,
    /// With several workers: the share of `max_requests`.
    places: Option<Share>,
    /// Connections that are not read, because too many requests are in handlers.
    waiting: WaitQueue,
    /// The connection that was just taken out of `waiting`.
    next: Option<Key>,
    /// The futures live in the connections' slots, and may borrow what the handler borrows.
    futures: PhantomData<&'h ()>,
}

/// How often the inbox was read in this iteration. A task that was polled may have woken a connection, by what it has
/// written: the connection gets its turn before the next wait. So a message and its echo take one wait, not two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InboxReads {
    /// Once, and no task was polled since.
    First,
    /// Once, before a task was polled.
    Due,
    /// Once more. What is woken from now on waits for the next iteration, also a task that wakes itself.
    Last,
}

impl<'h, H> Streaming<'h, H> {
    /// Serves with this handler, beside these tasks. The waker ends the reactor's wait.
    pub(super) fn new(
        handler: H,
        tasks: Vec<Task>,
        waker: Option<Waker>,
        settings: &Settings,
    ) -> Self {
        let catch_panics = settings.catch_panics;
        let context = LoopContext::new(Inbox::new(waker));
        let mut running = Tasks::new(Rc::clone(&context), catch_panics);
        tasks.into_iter().for_each(|task| running.add(task));
        Self {
            handler: Rc::new(RefCell::new(handler)),
            catch_panics,
            connection_extensions: settings.connection_extensions,
            context,
            tasks: running,
            woken: VecDeque::new(),
            taken: Vec::new(),
            inbox_reads: InboxReads::First,
            in_handlers: 0,
            places: settings.worker.pools.as_ref().map(Pools::requests),
            waiting: WaitQueue::default(),
            next: None,
            futures: PhantomData,
        }
    }

    /// Takes what was woken from the inbox, but of the connections only those that need a turn: most were woken
    /// during their own turn, which has handled the wake-up.
    fn take_inbox(&mut self, needs_turn: impl Fn(&Self, Key) -> bool) {
        let mut taken = std::mem::take(&mut self.taken);
        self.context.inbox().take(&mut taken);
        for target in taken.drain(..) {
            let is_due = match target {
                Target::Connection(key) => needs_turn(self, key),
                Target::Task(_) => true,
            };
            if is_due {
                self.woken.push_back(target);
            }
        }
        self.taken = taken;
    }

    /// Whether the connection may begin a request. If not, it is put into the queue.
    fn may_begin<S>(&mut self, cx: &Context<'_>, slot: &mut Slot<S, Exchange<'h>>) -> bool {
        let exchange = &mut slot.exchange;
        // The rest of a request, or input that is dropped.
        if exchange.running.is_some() || slot.connection.is_ending() {
            return true;
        }
        let has_place = self.has_place(cx);
        let may = match exchange.place {
            Place::Free => has_place && self.waiting.is_empty(),
            Place::Next => has_place,
            Place::Waiting(_) => return false,
        };
        if !may {
            let (id, count) = (slot.connection.id(), self.in_handlers);
            debug!(target: "mini_http", "conn {id}: waits: {count} requests are in handlers");
            exchange.place = Place::Waiting(self.waiting.push(exchange.key()));
        }
        may
    }

    /// Whether another request may begin.
    fn has_place(&self, cx: &Context<'_>) -> bool {
        match &self.places {
            None => self.in_handlers < cx.limits.max_requests,
            Some(share) => share.covers(self.in_handlers + 1),
        }
    }

    /// Whether a connection's request can go on without input: its future was woken or has room, or it has
    /// to be dropped.
    fn can_go_on<S>(&self, cx: &Context<'_>, slot: &Slot<S, Exchange<'h>>) -> bool {
        let (exchange, connection) = (&slot.exchange, &slot.connection);
        if let Some(tunnel) = &exchange.tunnel {
            return exchange.is_woken() || tunnel.has_news(connection);
        }
        exchange.running.is_some()
            && (exchange.is_woken()
                || exchange.wants_room() && connection.can_send_data(cx)
                || !connection.request_in_progress())
    }

    /// Sleeps that were first polled now begin now.
    fn start_sleeps<R: Reactor>(&self, reactor: &R) {
        if self.context.has_new_sleeps() {
            self.context.set_now(reactor.now());
        }
    }

    /// Runs a part of the user's code. `None` if it has panicked.
    fn guard<T>(&self, f: impl FnOnce() -> T) -> Option<T> {
        self.context.enter(|| {
            // A second panic would abort the process.
            if self.catch_panics || std::thread::panicking() {
                catch_unwind(AssertUnwindSafe(f)).ok()
            } else {
                Some(f())
            }
        })
    }

    /// Ends a connection's request: its future, its response's body and what is left of its own body are
    /// dropped.
    fn end_request(&mut self, exchange: &mut Exchange<'h>) {
        let Some(running) = exchange.running.take() else {
            return;
        };
        self.in_handlers -= 1;
        if let Some(body) = &running.body {
            body.gone();
        }
        if let Some(offer) = &running.offer {
            offer.fail("the request has ended without a response");
        }
        let left = exchange.port().filter(|port| port.is_used());
        if running.has_ended() && left.is_none() {
            return;
        }
        let dropped = self.guard(|| {
            drop(running);
            if let Some(port) = left {
                port.clear();
            }
        });
        if dropped.is_none() {
            error!(target: "mini_http", "a handler's future panicked when it was dropped");
        }
    }
}

impl<'h, R, H, F> Mode<R> for Streaming<'h, H>
where
    R: Reactor,
    H: FnMut(StreamedRequest) -> F + 'h,
    F: Future<Output: IntoResponse> + 'h,
{
    type Exchange = Exchange<'h>;

    fn open(&mut self, key: Key) -> Exchange<'h> {
        Exchange::new(key)
    }

    fn handle_input(
        &mut self,
        driver: &mut Driver<'_, R>,
        slot: &mut Slot<R::Stream, Exchange<'h>>,
        length: usize,
        turn: &mut Turn,
    ) {
        let mut from = 0;
        loop {
            from = self.receive(driver, slot, from..length);
            if turn.is_over() || !self.can_go_on(&driver.cx, slot) {
                break;
            }
            if driver.handle.is_stopping() {
                // More is read before the response is made.
                Self::keep(driver, slot, from..length);
                from = length;
            }
            // Responses to a pipeline leave in one write, so the next request is handled before that.
            self.go_on(driver, slot, turn);
            let has_more = from < length || slot.connection.has_usable_input(&driver.cx);
            if turn.is_over() || !has_more || !self.may_begin(&driver.cx, slot) {
                break;
            }
        }
        Self::keep(driver, slot, from..length);
        if slot.connection.request_in_progress() {
            slot.connection.wait_for_handler(&mut driver.cx);
        }
    }

    fn handle_end_of_input(
        &mut self,
        driver: &mut Driver<'_, R>,
        slot: &mut Slot<R::Stream, Exchange<'h>>,
    ) {
        slot.connection.handle_end_of_input(&mut driver.cx);
        self.receive(driver, slot, 0..0);
    }

    fn wants_input(&self, cx: &Context<'_>, slot: &Slot<R::Stream, Exchange<'h>>) -> bool {
        slot.connection.read_limit(cx) > 0
    }

    fn read_limit(&self, cx: &Context<'_>, connection: &Connection, buffer: usize) -> usize {
        connection.read_limit(cx).min(buffer)
    }

    fn may_receive(&mut self, cx: &Context<'_>, slot: &mut Slot<R::Stream, Exchange<'h>>) -> bool {
        self.may_begin(cx, slot)
    }

    fn is_held_back(&self, exchange: &Exchange<'h>) -> bool {
        matches!(exchange.place, Place::Waiting(_))
    }

    fn can_advance(&self, cx: &Context<'_>, slot: &Slot<R::Stream, Exchange<'h>>) -> bool {
        self.can_go_on(cx, slot)
    }

    fn advance(
        &mut self,
        driver: &mut Driver<'_, R>,
        slot: &mut Slot<R::Stream, Exchange<'h>>,
        turn: &mut Turn,
    ) {
        self.go_on(driver, slot, turn);
    }

    fn give_back_spare(&mut self) {
        if let Some(share) = &self.places {
            share.give_back_spare(self.in_handlers);
            let wanted = self.in_handlers + 1;
            if !self.waiting.is_empty() && !share.covers(wanted) && !share.is_wanted() {
                // When another worker gives it up, this one is woken.
                share.want(wanted);
            }
        }
    }

    fn timeout(
        &mut self,
        driver: &Driver<'_, R>,
        slots: &Table<Slot<R::Stream, Exchange<'h>>>,
    ) -> Option<Duration> {
        debug_assert!(self.waiting.keys().all(|key| slots.get(key).is_some()));
        self.tasks.adopt_spawned();
        while self.woken.is_empty() && !self.context.inbox().begin_wait() {
            self.take_inbox(|mode, key| {
                let slot = slots.get(key);
                slot.is_some_and(|slot| mode.can_go_on(&driver.cx, slot))
            });
        }
        let may_begin = !self.waiting.is_empty() && self.has_place(&driver.cx);
        if !self.woken.is_empty() || may_begin {
            return Some(Duration::ZERO);
        }
        self.context.next_sleep(|| driver.reactor.now())
    }

    fn handle_wait(&mut self) {
        // Before any turn: from now on, wake-ups needn't end a wait.
        self.take_inbox(|_, _| true);
    }

    fn begin_wakes(&mut self, now: Instant) {
        // As in `timeout`, which isn't called while the backlog has connections.
        self.tasks.adopt_spawned();
        self.context.wake_sleeps(now);
        self.take_inbox(|_, _| true);
        self.inbox_reads = InboxReads::First;
    }

    fn next_woken(&mut self, driver: &mut Driver<'_, R>) -> Woken {
        if self.woken.is_empty() && self.inbox_reads == InboxReads::Due {
            self.inbox_reads = InboxReads::Last;
            self.take_inbox(|_, _| true);
        }
        match self.woken.pop_front() {
            Some(Target::Connection(key)) => Woken::Connection(key),
            Some(Target::Task(key)) => {
                self.tasks.poll(key);
                if self.inbox_reads == InboxReads::First {
                    self.inbox_reads = InboxReads::Due;
                }
                self.start_sleeps(&driver.reactor);
                Woken::Other
            }
            None if !self.waiting.is_empty() && self.has_place(&driver.cx) => {
                self.next = self.waiting.pop();
                self.next.map_or(Woken::Nothing, Woken::Connection)
            }
            None => Woken::Nothing,
        }
    }

    fn take_woken(&mut self, cx: &Context<'_>, slot: &mut Slot<R::Stream, Exchange<'h>>) -> bool {
        let is_next = self.next.take() == Some(slot.exchange.key());
        if is_next {
            slot.exchange.place = Place::Next;
            return true;
        }
        self.can_go_on(cx, slot)
    }

    fn is_idle(&self) -> bool {
        self.tasks.is_empty()
    }

    fn cut_off(&mut self, cx: &mut Context<'_>, connection: &mut Connection) {
        connection.abort_response(cx, CloseReason::Stopped);
        connection.abandon(cx, CloseReason::Stopped);
    }

    fn give_up(&mut self) {
        self.tasks.clear();
    }

    fn wants_reset(&self, connection: &Connection) -> bool {
        connection.wants_reset()
    }

    fn close(&mut self, mut exchange: Exchange<'h>, reason: CloseReason) {
        if let Place::Waiting(ticket) = exchange.place {
            // While no request ends, the queue would grow with each client that comes and goes.
            self.waiting.remove(ticket);
        }
        if let Some(tunnel) = exchange.tunnel.take() {
            tunnel.close(reason);
        }
        self.end_request(&mut exchange);
    }
}
