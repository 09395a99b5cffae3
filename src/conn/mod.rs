//! One HTTP/1.1 connection as a state machine without input and output.
//!
//! [`Connection`] is given bytes and the time, and gives back requests, bytes and its next
//! deadline. It has no socket, no clock and no thread, so that every reactor drives the same one,
//! and so do unit tests, property tests and fuzzers.
//!
//! | what | where |
//! |---|---|
//! | the states and every transition, with the graph | [`state`] |
//! | the request's head: strict grammar, target, Host | `head/` |
//! | how long the body is (RFC 9112 §6.3) | [`Framing`] |
//! | chunked bodies | [`ChunkedDecoder`] |
//! | using input: heads, bodies, what is kept | `reading` |
//! | refusing, ending, keeping deadlines and budget | `ending` |
//! | a request whose body is coming | `incoming` |
//! | memory: the budget, what is used again, a body's | `memory/` |
//! | answers as bytes; what a handler may set | `encode` |
//! | bytes waiting to be sent | `output` |
//! | deadlines | `timers` |
//! | what a client did wrong, and its answer | [`Refusal`] |
//! | why a connection ended | [`CloseReason`] |
//!
//! This module is public for whoever wants to drive a connection in another way, and for fuzzers. Its
//! details may change with every release.
//!
//! # Driving one
//!
//! ```
//! use mini_http::conn::{Connection, Context, Shared, Step};
//! use mini_http::{Instant, Limits, Response};
//!
//! let limits = Limits::default();
//! let mut shared = Shared::new();
//! let mut cx = Context { now: Instant::default(), limits: &limits, shared: &mut shared };
//! let mut connection = Connection::new(1, None, &mut cx);
//!
//! let mut input = &b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"[..];
//! while let Some(request) = connection.handle_input(&mut cx, &mut input) {
//!     assert_eq!(request.uri(), "/");
//!     connection.respond(&mut cx, Response::new("hello!"));
//! }
//! let answer = connection.take_output(&mut cx);
//! assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n") && answer.ends_with(b"hello!"));
//! assert_eq!(connection.poll_step(&mut cx), Step::Wait);
//! assert!(connection.poll_timeout().is_some());
//! ```

mod chunked;
mod close_reason;
mod encode;
mod ending;
mod field_lines;
mod framing;
mod grammar;
mod head;
mod incoming;
mod memory;
mod output;
mod reading;
mod refusal;
mod shared;
pub mod state;
mod timers;

pub use chunked::{Chunk, ChunkedDecoder};
pub use close_reason::CloseReason;
pub use framing::Framing;
pub use refusal::Refusal;
pub use shared::{Context, Shared};

use std::io::IoSlice;
use std::net::SocketAddr;

use http::Response;
use log::error;

use self::encode::Exchange;
use self::head::HeadScanner;
use self::incoming::Incoming;
use self::memory::Account;
use self::output::Output;
use self::state::{KeepAlive, Reading, State, Writing};
use self::timers::{Timer, TimerTable};
use crate::body::Body;
use crate::request::Request;
use crate::time::Instant;

/// One connection. The module's documentation shows how to drive it.
#[derive(Debug)]
pub struct Connection {
    /// The connection's number, in every log line about it.
    id: u64,
    peer: Option<SocketAddr>,
    state: State,
    /// How far the head at the front of the stash is looked at.
    scanner: HeadScanner,
    /// Input that can't be used yet: an unfinished head, or requests that wait until answers are
    /// taken. Its first `stash_used` bytes are used.
    stash: Vec<u8>,
    stash_used: usize,
    /// The request whose body is coming.
    incoming: Option<Box<Incoming>>,
    /// What the answer to the request with the handler must know of it.
    exchange: Exchange,
    /// A request's head was right: what is read now may be the rest of its body.
    has_read_head: bool,
    output: Output,
    timers: TimerTable,
    /// The memory of all this, as the budget counts it.
    account: Account,
    /// Bytes read and dropped since the last answer was queued.
    discarded: u64,
    /// Bytes of output taken in the current window of the rate.
    written_in_window: u64,
}

/// What the connection's owner is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send what is in the output, and wait for input and the deadline.
    Wait,
    /// Shut down the writing side, and go on reading.
    ShutdownWrite,
    /// Close the connection.
    Close(CloseReason),
}

impl Connection {
    /// How many slices [`poll_output`](Self::poll_output) can fill.
    pub const MAX_SLICES: usize = Output::MAX_SLICES;

    /// A connection that was just accepted. `id` is its number in the log.
    #[must_use]
    pub fn new(id: u64, peer: Option<SocketAddr>, cx: &mut Context<'_>) -> Self {
        let mut connection = Self {
            id,
            peer,
            state: State::new(),
            scanner: HeadScanner::new(),
            stash: Vec::new(),
            stash_used: 0,
            incoming: None,
            exchange: Exchange {
                is_head: false,
                is_http10: false,
            },
            has_read_head: false,
            output: Output::default(),
            timers: TimerTable::new(),
            account: Account::default(),
            discarded: 0,
            written_in_window: 0,
        };
        connection.settle(cx);
        connection
    }

    /// Takes bytes that came, from the front of `input`, up to the end of a request, which it
    /// gives. Answer it with [`respond`](Self::respond) and call again, until it gives `None`:
    /// then all input is taken. With an empty `input` it goes on with bytes it has kept.
    #[must_use = "a request waits for its answer"]
    pub fn handle_input(&mut self, cx: &mut Context<'_>, input: &mut &[u8]) -> Option<Request> {
        if self.stash.is_empty() && input.is_empty() {
            return None;
        }
        let request = if self.stash.is_empty() {
            let request = self.advance(cx, input);
            if request.is_none() {
                self.keep(cx, std::mem::take(input));
            }
            request
        } else {
            self.keep(cx, std::mem::take(input));
            let stash = std::mem::take(&mut self.stash);
            let mut rest = &stash[self.stash_used..];
            let request = self.advance(cx, &mut rest);
            self.stash_used = stash.len() - rest.len();
            self.stash = stash;
            if self.stash_used == self.stash.len() || !self.is_reading() {
                self.drop_stash(cx);
            }
            request
        };
        // A request's answer settles the rest.
        if request.is_none() {
            self.settle(cx);
        }
        request
    }

    /// Keeps input for a later [`handle_input`](Self::handle_input), so that other connections
    /// get their turn before the requests in it.
    pub fn keep_input(&mut self, cx: &mut Context<'_>, input: &[u8]) {
        self.keep(cx, input);
        self.settle(cx);
    }

    /// Takes note that the client's stream has ended.
    pub fn handle_end_of_input(&mut self, cx: &mut Context<'_>) {
        match self.state.reading() {
            Reading::Head | Reading::Body => self.refuse_unfinished(cx, Refusal::incomplete()),
            Reading::Idle | Reading::Answering | Reading::Discarding | Reading::Ended => {}
        }
        self.state.input_ended();
        self.drop_stash(cx);
        self.settle(cx);
    }

    /// Queues the handler's answer to the request that
    /// [`handle_input`](Self::handle_input) gave.
    ///
    /// An interim status (1xx) is no answer; the client gets 500 instead.
    ///
    /// # Panics
    /// If no request waits for its answer.
    pub fn respond<B: Body>(&mut self, cx: &mut Context<'_>, mut response: Response<B>) {
        self.respond_in_place(cx, &mut response);
    }

    /// [`respond`](Self::respond) without moving the response, which is large; the body may be
    /// taken out of it.
    pub(crate) fn respond_in_place<B: Body>(
        &mut self,
        cx: &mut Context<'_>,
        response: &mut Response<B>,
    ) {
        if self.is_given_up() {
            return;
        }
        self.assert_answering();
        let (status, fields, body) = (response.status(), response.headers(), response.body());
        if status.is_informational() {
            let (id, why) = (self.id, encode::why_not_final(status));
            error!(target: "mini_http", "conn {id}: the handler answered {status}: {why}");
            return self.respond_error(cx, "the handler gave no final answer");
        }
        let (exchange, length) = (self.exchange, body.as_bytes().len());
        // A small answer is always made, for a client with a small wish is to be served beside
        // those that hold all the memory; and a large one when nothing else is held.
        let has_body = encode::has_body(status, exchange);
        let is_inserted = has_body && !Output::is_small(length);
        if is_inserted {
            // The request's body is the handler's now.
            self.count_memory(cx);
            let admitted = cx.shared.budget.admit_response(body.memory(), cx.limits);
            if let Err(refusal) = admitted {
                return self.respond_refusal(cx, refusal);
            }
        }
        if encode::asks_to_close(fields) {
            self.state.will_close(CloseReason::HandlerAskedClose);
        }
        let persists = self.state.keep_alive() == KeepAlive::Persist;
        let Shared { buffers, date, .. } = &mut *cx.shared;
        self.output.append(buffers, |out| {
            encode::response_head(out, status, fields, length, exchange, persists, date);
            if has_body && !is_inserted {
                out.extend_from_slice(body.as_bytes());
            }
        });
        if is_inserted {
            let memory = body.memory();
            self.output.insert(response.body_mut().take(), memory);
        }
        self.state.answered();
        self.settle(cx);
    }

    /// Queues 500 as the answer to the request that [`handle_input`](Self::handle_input) gave,
    /// and closes the connection: the handler panicked.
    ///
    /// # Panics
    /// If no request waits for its answer.
    pub fn respond_to_panic(&mut self, cx: &mut Context<'_>) {
        if self.is_given_up() {
            return;
        }
        self.assert_answering();
        self.respond_error(cx, "the handler failed");
    }

    /// Makes the next answer the last one, for this reason.
    pub fn close_after_answer(&mut self, reason: CloseReason) {
        self.state.will_close(reason);
    }

    /// Looks which deadlines have passed.
    pub fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        while let Some(timer) = self.timers.take_expired(cx.now) {
            match timer {
                Timer::Head => {
                    self.refuse_unfinished(cx, Refusal::late_head());
                }
                Timer::Body => {
                    let is_fast_enough = self.incoming.as_mut().is_some_and(|incoming| {
                        let came = std::mem::take(&mut incoming.in_window);
                        ending::is_fast_enough(came, incoming.held(), cx)
                    });
                    if is_fast_enough {
                        self.timers.start(Timer::Body, cx.now, cx.limits);
                    } else {
                        self.refuse_unfinished(cx, Refusal::slow_body());
                    }
                }
                Timer::Write => {
                    let taken = std::mem::take(&mut self.written_in_window);
                    self.output.recount();
                    self.count_memory(cx);
                    // What waits until answers are taken is held for as long as they are.
                    let held = match self.timers.input() {
                        Some(_) => self.output.held(),
                        None => self.account.held(),
                    };
                    if ending::is_fast_enough(taken, held, cx) {
                        self.timers.start(Timer::Write, cx.now, cx.limits);
                    } else {
                        self.state.closed(CloseReason::WriteTimeout);
                    }
                }
                Timer::Idle => self.state.closed(CloseReason::IdleTimeout),
                Timer::Linger => self.state.lingered(),
            }
            self.settle(cx);
        }
    }

    /// Lets a connection that lingers already do so only for as long as is right when the server stops;
    /// see [`Shared::begin_to_stop`].
    pub fn hurry(&mut self, cx: &mut Context<'_>) {
        self.shorten_lingering(cx);
    }

    /// Ends the wait for input, because the server stops and nothing waits to be read. An unfinished
    /// request gets 503; a connection without a request is closed when its responses are sent. While
    /// input is kept that can be used, or none is wanted because responses wait, nothing changes: call
    /// again later. Returns whether anything has changed.
    pub fn stop(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.has_room_for_answers(cx) || self.can_go_on(cx) {
            return false;
        }
        match self.state.reading() {
            Reading::Idle if self.output.pending() == 0 => {
                self.state.closed(CloseReason::Stopped);
            }
            // What was answered must not be lost by a reset.
            Reading::Idle => self.state.last_answer(CloseReason::Stopped),
            Reading::Head | Reading::Body => {
                self.refuse_unfinished(cx, Refusal::stopped());
            }
            Reading::Answering | Reading::Discarding | Reading::Ended => return false,
        }
        self.settle(cx);
        true
    }

    /// Refuses a connection that came after the server was stopped: it gets 503 without a request.
    pub fn turn_away(&mut self, cx: &mut Context<'_>) {
        self.refuse(cx, Refusal::stopped());
        self.settle(cx);
    }

    /// Gives the connection up: a read or write failed, or its place is needed.
    pub fn abandon(&mut self, cx: &mut Context<'_>, reason: CloseReason) {
        self.state.closed(reason);
        self.drop_stash(cx);
        self.settle(cx);
    }

    /// Fills `slices` with output to be sent, in order, and tells how many it filled; 0 when
    /// there is none.
    #[must_use]
    pub fn poll_output<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.output.slices(slices)
    }

    /// Takes note that the first `count` bytes of the output are sent; at most all that there are.
    pub fn handle_written(&mut self, cx: &mut Context<'_>, count: usize) {
        let count = count.min(self.output.pending());
        self.written_in_window += count as u64;
        self.output.advance(count, &mut cx.shared.buffers);
        self.settle(cx);
    }

    /// Takes all output at once, as one that is sent. For tests and small tools.
    #[must_use]
    pub fn take_output(&mut self, cx: &mut Context<'_>) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.output.pending());
        while self.output.pending() > 0 {
            let mut slices = [IoSlice::new(&[]); Output::MAX_SLICES];
            let filled = self.poll_output(&mut slices);
            let before = all.len();
            slices[..filled]
                .iter()
                .for_each(|slice| all.extend_from_slice(slice));
            self.handle_written(cx, all.len() - before);
        }
        all
    }

    /// What to do next. Ask after each change, when the output is sent or can't be sent now.
    #[must_use = "it says what to do"]
    pub fn poll_step(&mut self, cx: &mut Context<'_>) -> Step {
        if self.state.writing() == Writing::Closing && self.output.pending() == 0 {
            self.state.all_sent();
            self.settle(cx);
            if self.state.writing() == Writing::Lingering {
                return Step::ShutdownWrite;
            }
        }
        match (self.state.writing(), self.state.close_reason()) {
            (Writing::Closed, Some(reason)) => Step::Close(reason),
            (Writing::Open | Writing::Closing | Writing::Lingering | Writing::Closed, _) => {
                Step::Wait
            }
        }
    }

    /// The moment at which [`handle_timeout`](Self::handle_timeout) is to be called. There always
    /// is one, unless the next move is the owner's: a request waits for its answer, or
    /// [`poll_step`](Self::poll_step) says what to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next_timeout()
    }

    /// Whether input should be read now.
    #[must_use]
    pub fn wants_input(&self, cx: &Context<'_>) -> bool {
        match self.state.reading() {
            Reading::Idle | Reading::Head | Reading::Body => self.has_room_for_answers(cx),
            Reading::Answering | Reading::Ended => false,
            Reading::Discarding => {
                self.state.writing() != Writing::Closed && self.discarded <= cx.limits.max_linger
            }
        }
    }

    /// Whether there is kept input that can be used now, by
    /// [`handle_input`](Self::handle_input) with nothing new.
    #[must_use]
    pub fn can_go_on(&self, cx: &Context<'_>) -> bool {
        !self.stash.is_empty()
            && self.stash.len() - self.stash_used > self.scanner.seen()
            && self.is_reading()
            && self.has_room_for_answers(cx)
    }

    /// Whether there will be no further request: the next response is the last one, or was.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.state.close_reason().is_some()
    }

    /// Whether there is kept input.
    #[must_use]
    pub fn has_kept(&self) -> bool {
        self.stash.len() > self.stash_used
    }

    /// Whether the budget has room to keep so much input.
    #[must_use]
    pub fn can_keep(&self, cx: &Context<'_>, length: usize) -> bool {
        cx.shared.budget.has_room(length, cx.limits)
    }

    /// Bytes waiting to be sent.
    #[must_use]
    pub fn pending_output(&self) -> usize {
        self.output.pending()
    }

    /// Whether the connection can give way to a newcomer: no request has begun and no answer is
    /// due, or its last answer is sent and it only waits for the client to end.
    #[must_use]
    pub fn is_expendable(&self) -> bool {
        matches!(self.timers.input(), Some(Timer::Idle | Timer::Linger))
    }

    /// The states, for tests and logs.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// The connection's number.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }
}

#[cfg(test)]
mod tests;
