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
//! | a body that is coming, and the memory budget | `incoming`, `shared` |
//! | answers as bytes; what a handler may set | `encode` |
//! | bytes waiting to be sent | `output` |
//! | deadlines | `timers` |
//! | what a client did wrong, and its answer | [`Fault`] |
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
mod fault;
mod field_lines;
mod framing;
mod grammar;
mod head;
mod incoming;
mod output;
mod shared;
pub mod state;
mod timers;

pub use chunked::{Chunk, ChunkedDecoder};
pub use close_reason::CloseReason;
pub use fault::Fault;
pub use framing::Framing;
pub use shared::{Context, Shared};

use std::io::IoSlice;
use std::net::SocketAddr;

use http::{Response, StatusCode};
use log::{debug, error};

use self::encode::Exchange;
use self::head::{Head, HeadScanner, Scan};
use self::incoming::Incoming;
use self::output::Output;
use self::state::{KeepAlive, Reading, State, Writing};
use self::timers::{Timer, TimerTable};
use crate::body::Body;
use crate::log_text::{Escaped, MaskedHead};
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
    output: Output,
    timers: TimerTable,
    /// Bytes told to the shared budget.
    accounted: usize,
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
            output: Output::default(),
            timers: TimerTable::new(),
            accounted: 0,
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
            Reading::Head | Reading::Body => self.refuse_unfinished(cx, Fault::incomplete()),
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
    pub fn respond<B: Body>(&mut self, cx: &mut Context<'_>, response: Response<B>) {
        if self.is_given_up() {
            return;
        }
        self.assert_answering();
        // The request's body is the handler's now.
        self.account(cx);
        let (parts, body) = response.into_parts();
        if parts.status.is_informational() {
            let (id, status) = (self.id, parts.status);
            error!(target: "mini_http", "conn {id}: the handler answered {status}: not a final status");
            return self.respond_error(cx, "the handler gave no final answer");
        }
        let (exchange, length) = (self.exchange, body.as_bytes().len());
        // A small answer is always made, for a client with a small wish is to be served beside
        // those that hold all the memory; and a large one when nothing else is held.
        let has_body = !exchange.is_head && encode::has_content(parts.status);
        let is_inserted = has_body && !Output::is_small(length);
        let budget = &cx.shared.budget;
        if is_inserted && !budget.has_room(body.memory(), cx.limits) && !budget.is_empty() {
            return self.respond_overloaded(cx);
        }
        if encode::asks_to_close(&parts.headers) {
            self.state.will_close(CloseReason::HandlerAskedClose);
        }
        let persists = self.state.keep_alive() == KeepAlive::Persist;
        let Shared { buffers, date, .. } = &mut *cx.shared;
        let mut insert = false;
        self.output.append(buffers, |out| {
            let date = date.as_bytes();
            if encode::response_head(out, &parts, length, exchange, persists, date) {
                if Output::is_small(length) {
                    out.extend_from_slice(body.as_bytes());
                } else {
                    insert = true;
                }
            }
        });
        if insert {
            let memory = body.memory();
            self.output.insert(body.into_bytes(), memory);
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
        while let Some(timer) = self.timers.expired(cx.now) {
            self.timers.stop(timer);
            match timer {
                Timer::Head => {
                    self.state.will_close(CloseReason::HeadTimeout);
                    self.refuse_unfinished(cx, Fault::timeout("the head did not arrive in time"));
                }
                Timer::Body => {
                    let came = self
                        .incoming
                        .as_mut()
                        .map(|incoming| &mut incoming.in_window);
                    if came.is_some_and(|came| is_fast_enough(std::mem::take(came), cx)) {
                        self.timers.set(Timer::Body, cx.now + cx.limits.rate_window);
                    } else {
                        self.state.will_close(CloseReason::BodyTimeout);
                        self.refuse_unfinished(cx, Fault::timeout("the body arrived too slowly"));
                    }
                }
                Timer::Write => {
                    if is_fast_enough(std::mem::take(&mut self.written_in_window), cx) {
                        self.timers
                            .set(Timer::Write, cx.now + cx.limits.rate_window);
                    } else {
                        self.state.closed(CloseReason::WriteTimeout);
                    }
                }
                Timer::Idle => self.state.closed(CloseReason::IdleTimeout),
                // Not the first reason: that one is recorded.
                Timer::Linger => self.state.closed(CloseReason::ClientClosed),
            }
            self.settle(cx);
        }
    }

    /// Ends the connection as soon as the answers that are queued are sent: the server stops. An
    /// unfinished request gets 503.
    pub fn stop(&mut self, cx: &mut Context<'_>) {
        match self.state.reading() {
            Reading::Idle if self.output.pending() == 0 && self.stash.is_empty() => {
                self.state.closed(CloseReason::Stopped);
            }
            // What is kept is not answered, but what was answered must not be lost by a reset.
            Reading::Idle => self.state.last_answer(CloseReason::Stopped),
            Reading::Head | Reading::Body => {
                self.state.will_close(CloseReason::Stopped);
                self.refuse_unfinished(cx, Fault::stopped());
            }
            Reading::Answering => self.state.will_close(CloseReason::Stopped),
            Reading::Discarding | Reading::Ended => {}
        }
        self.drop_stash(cx);
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
            (Writing::Closed, None) => Step::Close(CloseReason::ClientClosed),
            (Writing::Open | Writing::Closing | Writing::Lingering, _) => Step::Wait,
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

    /// Bytes waiting to be sent.
    #[must_use]
    pub fn pending_output(&self) -> usize {
        self.output.pending()
    }

    /// Whether the connection can give way to a newcomer: no request has begun and no answer is
    /// due, or its last answer is sent and it only waits for the client to end.
    #[must_use]
    pub fn is_expendable(&self) -> bool {
        self.timers.is_set(Timer::Idle) || self.timers.is_set(Timer::Linger)
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

/// Reading.
impl Connection {
    /// Uses `input` up to the end of a request or to where it can't be used yet.
    fn advance(&mut self, cx: &mut Context<'_>, input: &mut &[u8]) -> Option<Request> {
        loop {
            match self.state.reading() {
                Reading::Idle | Reading::Head => {
                    if input.is_empty() || !self.has_room_for_answers(cx) {
                        return None;
                    }
                    match self.read_head(cx, input) {
                        Ok(Some(head)) => {
                            if let Some(request) = self.head_is_whole(cx, head) {
                                return Some(request);
                            }
                        }
                        Ok(None) => return None,
                        Err(fault) => self.refuse(cx, fault),
                    }
                }
                Reading::Body => match self.read_body(cx, input) {
                    Ok(request) => return request,
                    Err(fault) => self.refuse(cx, fault),
                },
                Reading::Answering => {
                    debug_assert!(false, "a request waits for its answer");
                    return None;
                }
                Reading::Discarding | Reading::Ended => {
                    self.discard(cx, std::mem::take(input));
                    return None;
                }
            }
        }
    }

    /// The head at the front of `input`, if it is whole; if not, nothing is taken from `input`.
    fn read_head(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut &[u8],
    ) -> Result<Option<Head>, Fault> {
        let heads = &mut cx.shared.heads;
        if self.scanner.seen() == 0
            && let Some(parsed) = head::parse_whole(input, cx.limits, heads)
        {
            return self.take_head(parsed, input);
        }
        let scanned = self.scanner.scan(&input[self.scanner.seen()..], cx.limits);
        match scanned {
            Ok(Scan::NeedInput) => {
                if self.scanner.has_request() && self.state.reading() == Reading::Idle {
                    self.state.head_began();
                }
                Ok(None)
            }
            Ok(Scan::Whole { start, end }) => {
                let parsed = head::parse_scanned(&input[start..end], cx.limits, heads);
                self.take_head(parsed.map(|head| (head, end)), input)
            }
            Err(fault) => {
                // By the bytes up to the fault: more of them may have come, or not yet.
                let seen = self.scanner.seen();
                self.exchange.is_head = head::is_head_request(&input[..seen]);
                Err(fault)
            }
        }
    }

    fn take_head(
        &mut self,
        parsed: Result<(Head, usize), Fault>,
        input: &mut &[u8],
    ) -> Result<Option<Head>, Fault> {
        self.exchange.is_head = head::is_head_request(input);
        let (head, length) = parsed?;
        debug!(
            target: "mini_http::conn",
            "conn {}: headers complete: {length}, {}", self.id, MaskedHead(&input[..length])
        );
        *input = &input[length..];
        self.scanner = HeadScanner::new();
        Ok(Some(head))
    }

    /// Gives the request if it has no body; otherwise the body is read next.
    fn head_is_whole(&mut self, cx: &mut Context<'_>, head: Head) -> Option<Request> {
        self.exchange = Exchange::new(head.request.method(), head.request.version());
        let length = match head.framing {
            Framing::None => {
                self.state.request_done();
                return Some(self.for_handler(head.request, head.persist));
            }
            Framing::Length(length) => length,
            Framing::Chunked => 0,
        };
        if length > cx.limits.max_body {
            self.refuse(cx, Fault::body_too_large());
            return None;
        }
        // The least that it will take; it may be refused later, when its body has grown.
        if !cx.shared.budget.has_room(head.size, cx.limits) {
            self.refuse(cx, Fault::overloaded());
            return None;
        }
        if head.expects_continue {
            let write = |out: &mut Vec<u8>| out.extend_from_slice(encode::CONTINUE);
            self.output.append(&mut cx.shared.buffers, write);
        }
        self.state.body_began();
        self.incoming = Some(Box::new(Incoming::new(head)));
        None
    }

    /// Takes bytes of the body, and gives the request when it is whole.
    fn read_body(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut &[u8],
    ) -> Result<Option<Request>, Fault> {
        let Some(mut incoming) = self.incoming.take() else {
            return Err(Fault::malformed("a body without a head"));
        };
        let length_before = incoming.request.body().len();
        let is_whole = incoming.read(cx, &mut self.accounted, input)?;
        let (id, body) = (self.id, incoming.request.body());
        let (new, all) = (&body[length_before..], body.len());
        // What chunks cost beside their data is no progress.
        let in_window = incoming.in_window + new.len() as u64;
        if !new.is_empty() {
            debug!(
                target: "mini_http::conn",
                "conn {id}: body bytes: {}, {all} in all: {}", new.len(), Escaped(new)
            );
        }
        if is_whole {
            self.state.request_done();
            return Ok(Some(self.for_handler(incoming.request, incoming.persist)));
        }
        incoming.in_window = in_window;
        self.incoming = Some(incoming);
        Ok(None)
    }

    fn for_handler(&mut self, mut request: Request, persist: bool) -> Request {
        if !persist {
            self.state.will_close(if self.exchange.is_http10 {
                CloseReason::Http10
            } else {
                CloseReason::ClientAskedClose
            });
        }
        request.set_peer(self.peer);
        request
    }

    /// Keeps input that can't be used yet.
    fn keep(&mut self, cx: &mut Context<'_>, input: &[u8]) {
        if input.is_empty() {
            return;
        }
        // Behind the last answer nothing is kept, and nothing refused either.
        if !self.is_reading() {
            return self.discard(cx, input);
        }
        if !cx.shared.budget.has_room(input.len(), cx.limits) {
            // Enough to tell a HEAD request by; the refusal drops it.
            let missing = head::MAX_METHOD_END.saturating_sub(self.stash.len() - self.stash_used);
            let begin = &input[..input.len().min(missing)];
            self.stash.extend_from_slice(begin);
            return self.refuse_unfinished(cx, Fault::overloaded());
        }
        if self.stash.is_empty() {
            self.stash = cx.shared.buffers.take();
        } else if self.stash_used > 0 {
            self.stash.drain(..self.stash_used);
        }
        self.stash_used = 0;
        if self.stash.try_reserve(input.len()).is_err() {
            return self.refuse_unfinished(cx, Fault::overloaded());
        }
        self.stash.extend_from_slice(input);
    }

    /// Drops input that comes behind the last request.
    fn discard(&mut self, cx: &Context<'_>, input: &[u8]) {
        self.discarded += input.len() as u64;
        let is_lingering = self.state.writing() == Writing::Lingering;
        if is_lingering && self.discarded > cx.limits.max_linger {
            self.state.closed(CloseReason::ClientClosed);
        }
    }

    fn drop_stash(&mut self, cx: &mut Context<'_>) {
        cx.shared.buffers.give_back(&mut self.stash);
        self.stash_used = 0;
    }

    fn is_reading(&self) -> bool {
        match self.state.reading() {
            Reading::Idle | Reading::Head | Reading::Body | Reading::Answering => true,
            Reading::Discarding | Reading::Ended => false,
        }
    }

    /// Backpressure: a client that does not take its answers gets no further ones made. When the
    /// memory for all connections is used up, one at a time is enough.
    fn has_room_for_answers(&self, cx: &Context<'_>) -> bool {
        match self.output.pending() {
            0 => true,
            pending => {
                pending < cx.limits.max_pending_output && cx.shared.budget.has_room(1, cx.limits)
            }
        }
    }
}

/// Writing and ending.
impl Connection {
    /// Queues the answer to a request that is refused; it is the last one.
    fn refuse(&mut self, cx: &mut Context<'_>, fault: Fault) {
        let (id, status) = (self.id, fault.status().as_u16());
        debug!(
            target: "mini_http::conn",
            "conn {id}: refused with {status} ({:?}): {}", fault.kind(), fault.why()
        );
        self.queue_refusal(cx, fault.status(), fault.why());
        self.state.last_answer(fault.close_reason());
        self.incoming = None;
        self.drop_stash(cx);
    }

    /// Refuses a request whose end has not come.
    fn refuse_unfinished(&mut self, cx: &mut Context<'_>, fault: Fault) {
        match self.state.reading() {
            Reading::Idle | Reading::Head => {
                self.exchange.is_head = head::is_head_request(&self.stash[self.stash_used..]);
            }
            Reading::Body | Reading::Answering | Reading::Discarding | Reading::Ended => {}
        }
        self.refuse(cx, fault);
    }

    /// Answers 500 to the request that is with the handler.
    fn respond_error(&mut self, cx: &mut Context<'_>, why: &'static str) {
        self.state.will_close(CloseReason::HandlerFailed);
        self.queue_refusal(cx, StatusCode::INTERNAL_SERVER_ERROR, why);
        self.state.answered();
        self.settle(cx);
    }

    /// Answers 503 to a request whose answer does not fit into the memory for all connections.
    fn respond_overloaded(&mut self, cx: &mut Context<'_>) {
        let fault = Fault::overloaded();
        self.state.will_close(fault.close_reason());
        self.queue_refusal(cx, fault.status(), fault.why());
        self.state.answered();
        self.settle(cx);
    }

    fn queue_refusal(&mut self, cx: &mut Context<'_>, status: StatusCode, why: &str) {
        let Shared { buffers, date, .. } = &mut *cx.shared;
        let is_head = self.exchange.is_head;
        self.output.append(buffers, |out| {
            encode::refusal(out, status, why, is_head, date.as_bytes());
        });
    }

    /// Brings deadlines and budget in line with the state, at the end of every call.
    fn settle(&mut self, cx: &mut Context<'_>) {
        let (reading, writing) = (self.state.reading(), self.state.writing());
        if writing == Writing::Closed {
            self.drop_stash(cx);
            self.incoming = None;
            self.output.clear(&mut cx.shared.buffers);
        }
        let is_taking = self.has_room_for_answers(cx);
        let has_output = self.output.pending() > 0;
        let window = cx.limits.rate_window;

        self.keep_timer(
            cx,
            Timer::Head,
            reading == Reading::Head && is_taking,
            cx.limits.head_timeout,
        );
        self.keep_timer(
            cx,
            Timer::Body,
            reading == Reading::Body && is_taking,
            window,
        );
        if has_output && !self.timers.is_set(Timer::Write) {
            self.written_in_window = 0;
        }
        self.keep_timer(cx, Timer::Write, has_output, window);
        let is_idle = reading == Reading::Idle && !has_output && writing == Writing::Open;
        self.keep_timer(cx, Timer::Idle, is_idle, cx.limits.idle_timeout);
        let is_lingering = writing == Writing::Lingering;
        self.keep_timer(cx, Timer::Linger, is_lingering, cx.limits.linger_timeout);

        self.account(cx);
    }

    /// Tells the budget what is held.
    fn account(&mut self, cx: &mut Context<'_>) {
        let incoming = self.incoming.as_ref().map_or(0, |incoming| incoming.held());
        let held = self.stash.capacity() + incoming + self.output.held();
        cx.shared.budget.replace(self.accounted, held);
        self.accounted = held;
    }

    /// Starts a timer that should run and does not; stops one that should not.
    fn keep_timer(
        &mut self,
        cx: &Context<'_>,
        timer: Timer,
        should: bool,
        after: std::time::Duration,
    ) {
        match (should, self.timers.is_set(timer)) {
            (true, false) => self.timers.set(timer, cx.now + after),
            (false, true) => self.timers.stop(timer),
            (true, true) | (false, false) => {}
        }
    }

    /// Whether the connection was given up while its request was with the handler.
    fn is_given_up(&self) -> bool {
        self.state.writing() == Writing::Closed
    }

    fn assert_answering(&self) {
        assert_eq!(
            self.state.reading(),
            Reading::Answering,
            "no request waits for its answer"
        );
    }
}

/// Whether so many bytes in one window keep the least rate.
fn is_fast_enough(bytes: u64, cx: &Context<'_>) -> bool {
    // Without a division, which would make a small rate over a short window one of 0.
    let due = u128::from(cx.limits.min_rate) * cx.limits.rate_window.as_nanos();
    u128::from(bytes) * 1_000_000_000 >= due
}

#[cfg(test)]
mod tests;
