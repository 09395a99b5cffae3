//! One HTTP/1.1 connection as a state machine that does no I/O.
//!
//! [`Connection`] takes bytes and the time, and returns requests, output bytes and its next
//! deadline. It has no socket, clock or thread, so all reactors, unit tests, property tests and
//! fuzzers drive the same code.
//!
//! | what | where |
//! |---|---|
//! | the states and every transition, with the graph | [`state`] |
//! | the header of the PROXY protocol, before the first request | `proxy_header` |
//! | the request's head: strict grammar, target, Host | `head/` |
//! | the length of the body (RFC 9112 §6.3) | [`Framing`] |
//! | chunked bodies | [`ChunkedDecoder`] |
//! | consuming input: heads, bodies, input kept for later | `input` |
//! | responses: the handler's, 500, refusals | `respond` |
//! | timeouts and minimum rates, 408 | `deadlines`, `timers` |
//! | stopping, 503 | `stopping` |
//! | finding the parts and the end of a body | `body_decoder` |
//! | a request whose body is being received, to be handled when it is complete | `partial_request` |
//! | requests and responses whose bodies stream | `streaming/` |
//! | memory: the budget, buffer pools, growth of bodies | `memory/` |
//! | timers and the budget, at the end of each call | `upkeep` |
//! | responses that a host frames, in a component | `hosted` |
//! | encoding responses; which fields a handler may set | `encode`, `date` |
//! | bytes waiting to be sent | `output` |
//! | reports about requests and responses to observers | `watch` |
//! | why a request is refused, and the response to it | [`Refusal`] |
//! | responses to refused requests that the application makes | `custom_refusal` |
//! | why a connection ended | [`CloseReason`] |
//! | a connection whose contract is checked after each call, for tests and fuzzers | `checked` |
//!
//! This module is public (feature `unstable`) for fuzzers and for programs that drive a connection
//! with their own I/O. Every release may change it.
//!
//! # The methods of a connection
//!
//! In this order, in the source and in the documentation:
//!
//! | | | |
//! |---|---|---|
//! | getters | the current state | [`id`](Connection::id) … [`can_be_evicted`](Connection::can_be_evicted) |
//! | `handle_…` | report an event | input, end of input, bytes written, a deadline |
//! | actions | change the connection | [`respond`](Connection::respond), [`stop`](Connection::stop) … |
//! | `poll_…` | ask what to do next | output to send, the next step, the next deadline |
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
//! let response = connection.take_output(&mut cx);
//! assert!(response.starts_with(b"HTTP/1.1 200 OK\r\n") && response.ends_with(b"hello!"));
//! assert_eq!(connection.poll_step(&mut cx), Step::Wait);
//! assert!(connection.poll_timeout().is_some());
//! ```

mod body_decoder;
#[cfg(any(test, feature = "unstable"))]
mod checked;
mod chunked;
mod close_reason;
mod custom_refusal;
mod date;
mod deadlines;
mod encode;
mod field_lines;
mod framing;
mod grammar;
mod head;
#[cfg(feature = "wasi-http")]
mod hosted;
mod input;
mod memory;
mod output;
mod partial_request;
#[cfg(feature = "proxy-protocol")]
pub(crate) mod proxy_header;
mod refusal;
mod respond;
mod shared;
pub mod state;
mod stopping;
mod streaming;
mod timers;
mod upkeep;
mod watch;

#[cfg(any(test, feature = "unstable"))]
pub use checked::CheckedConnection;
pub use chunked::{Chunk, ChunkedDecoder};
pub use close_reason::CloseReason;
pub(crate) use custom_refusal::{CustomRefusal, WriteRefusal};
pub(crate) use encode::{announced_length, decimal, has_body};
pub use framing::Framing;
pub(crate) use grammar::{Quoting, is_token};
#[cfg(feature = "wasi-http")]
pub(crate) use hosted::{Hosted, for_host};
pub use refusal::Refusal;
pub(crate) use shared::ReadProxyHeader;
pub use shared::{Context, Shared};
#[cfg(feature = "wasi-http")]
pub(crate) use streaming::keep_valid_trailers;
pub use streaming::{BodyLength, Received, ResponseLength};
pub(crate) use streaming::{MIN_ROOM, why_no_upgrade};
pub(crate) use watch::{At, Open, Seen, SeenHead, Watch};

use std::io::IoSlice;
use std::net::SocketAddr;

use http::Response;

use self::encode::RequestInfo;
use self::head::HeadLines;
use self::memory::Account;
use self::output::Output;
use self::state::{Reading, State, Writing};
use self::streaming::Streaming;
use self::timers::{Timer, TimerTable};
use crate::body::Whole;
use crate::request::Request;
use crate::time::Instant;

/// One connection. The [module documentation](self) shows how to drive it.
#[derive(Debug)]
pub struct Connection {
    /// The connection's number, shown in every log line about it.
    id: u64,
    peer: Option<SocketAddr>,
    /// The address to which the client has connected.
    local: Option<SocketAddr>,
    state: State,
    /// How far the head at the front of the kept input has been checked, once part of it has arrived.
    head_lines: Option<Box<HeadLines>>,
    /// Input kept until it can be used: an unfinished head, or pipelined requests that wait until
    /// earlier responses are sent.
    kept: Vec<u8>,
    /// How many bytes at the front of `kept` are already consumed.
    kept_used: usize,
    /// What the encoder must know about the current request.
    request_info: RequestInfo,
    /// A head was accepted on this connection. Further input may be the rest of a body whose
    /// length the client got wrong, so the log masks it.
    has_read_head: bool,
    output: Output,
    timers: TimerTable,
    /// This connection's share of the memory budget.
    account: Account,
    /// Bytes read and dropped after the last request.
    dropped_bytes: u64,
    /// Output bytes the client has taken.
    written: u64,
    /// How many of them it had taken when the current rate window began.
    written_before_window: u64,
    /// Bytes received of the current request.
    received: u64,
    /// When the first byte of a head arrived that didn't arrive whole.
    head_began_at: Option<Instant>,
    /// The requests that were reported to a watch, and whose responses aren't sent.
    open: Open,
    /// Additional state for streamed bodies, from the first request on.
    streaming: Option<Box<Streaming>>,
}

/// What the caller must do next with the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send the pending output; wait for input, for writability, or for the deadline.
    Wait,
    /// Shut down the writing side, and keep reading (RFC 9112 §9.6).
    ShutdownWrite,
    /// Close the connection.
    Close(CloseReason),
}

impl Connection {
    /// The most slices that [`poll_output`](Self::poll_output) fills.
    pub const MAX_SLICES: usize = Output::MAX_SLICES;

    /// A connection that was just accepted. `id` is its number in the log; `peer` is returned by
    /// [`Request::peer_addr`].
    #[must_use]
    pub fn new(id: u64, peer: Option<SocketAddr>, cx: &mut Context<'_>) -> Self {
        let mut connection = Self {
            id,
            peer,
            local: None,
            state: match cx.shared.read_proxy_header {
                None => State::new(),
                Some(_) => State::behind_proxy(),
            },
            head_lines: None,
            kept: Vec::new(),
            kept_used: 0,
            request_info: RequestInfo::default(),
            has_read_head: false,
            output: Output::default(),
            timers: TimerTable::new(),
            account: Account::default(),
            dropped_bytes: 0,
            written: 0,
            written_before_window: 0,
            received: 0,
            head_began_at: None,
            open: Open::default(),
            streaming: None,
        };
        connection.update_timers_and_budget(cx);
        connection
    }
}

/// Getters.
impl Connection {
    /// The connection's number.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The client's address, if it is known.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// The server's address to which the client has connected, if it is known.
    #[must_use]
    pub fn local(&self) -> Option<SocketAddr> {
        self.local
    }

    /// The state, for tests and logs.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whether the caller should read input now.
    #[must_use]
    pub fn wants_input(&self, cx: &Context<'_>) -> bool {
        if let Some(streaming) = &self.streaming {
            return (streaming.calls.read_limit)(self, cx) > 0;
        }
        match self.state.reading() {
            Reading::ProxyHeader | Reading::Idle | Reading::Head | Reading::Body(()) => {
                self.has_room_for_responses(cx)
            }
            Reading::Streaming | Reading::Responding | Reading::Upgraded | Reading::Ended => false,
            Reading::Discarding => self.wants_discarded(cx),
        }
    }

    /// Whether kept input can make progress now: then call
    /// [`handle_input`](Self::handle_input) (or [`handle_input_streaming`](Self::handle_input_streaming))
    /// with an empty slice.
    #[must_use]
    pub fn has_usable_input(&self, cx: &Context<'_>) -> bool {
        match &self.streaming {
            None => self.has_unused_input() && self.has_room_for_responses(cx),
            Some(streaming) => (streaming.calls.has_usable_input)(self, cx),
        }
    }

    /// Whether no further request will be read: the next response is the last one, or the last
    /// one is already queued.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.state.close_reason().is_some()
    }

    /// Whether the stream ends after the output that waits to be sent: the last response is queued.
    #[must_use]
    #[inline]
    pub fn ends_after_output(&self) -> bool {
        self.state.writing() == Writing::Closing
    }

    /// Whether there is kept input, usable or not.
    #[must_use]
    pub fn has_kept_input(&self) -> bool {
        self.kept.len() > self.kept_used
    }

    /// Whether the memory budget has room to keep `length` more bytes of input.
    #[must_use]
    pub fn can_keep(&self, cx: &Context<'_>, length: usize) -> bool {
        cx.shared.budget.has_room(length, cx.limits)
    }

    /// Whether a request's body is coming.
    #[must_use]
    pub fn is_reading_body(&self) -> bool {
        matches!(self.state.reading(), Reading::Body(()) | Reading::Streaming)
    }

    /// Bytes waiting to be sent.
    #[must_use]
    pub fn pending_output(&self) -> usize {
        self.output.pending()
    }

    /// Whether the connection may be closed to make room for a new one: it is idle (no request
    /// begun, no response pending), it lingers after its last response, or the client has ended its
    /// stream, and no part of its response is ready to be sent.
    #[must_use]
    pub fn can_be_evicted(&self) -> bool {
        match self.timers.input() {
            Some(Timer::Idle | Timer::Linger | Timer::ProxyHeader) => true,
            Some(Timer::HalfClosed) => self.output.pending() == 0,
            Some(Timer::Head | Timer::Body | Timer::Write | Timer::Handler) | None => false,
        }
    }
}

/// The events of a connection. That of an expired deadline is in `deadlines.rs`.
impl Connection {
    /// Consumes received bytes from the front of `input`, up to the end of one request, and
    /// returns that request. Call [`respond`](Self::respond), then call this again until it
    /// returns `None`: all input is consumed then. With an empty `input` it continues with the
    /// bytes kept from earlier calls.
    #[must_use = "the request needs a response"]
    pub fn handle_input(&mut self, cx: &mut Context<'_>, input: &mut &[u8]) -> Option<Request> {
        if self.kept.is_empty() && input.is_empty() {
            return None;
        }
        let request = self.consume(cx, input, Self::advance);
        // After a request, `respond` does that.
        if request.is_none() {
            self.update_timers_and_budget(cx);
        }
        request
    }

    /// Records that the client has ended its stream (a read returned 0 bytes). An unfinished
    /// request gets 400. A request that is with the handler still gets its response.
    pub fn handle_end_of_input(&mut self, cx: &mut Context<'_>) {
        if let Some(streaming) = &self.streaming {
            return (streaming.calls.handle_end_of_input)(self, cx);
        }
        match self.state.reading() {
            Reading::Head | Reading::Body(()) => self.refuse_unfinished(cx, Refusal::incomplete()),
            Reading::ProxyHeader if self.has_kept_input() => {
                self.state.closed(CloseReason::BadProxyHeader);
            }
            _ => {}
        }
        self.state.input_ended();
        self.drop_kept(cx);
        self.update_timers_and_budget(cx);
    }

    /// Records that the first `count` bytes of the output are sent. A larger `count` than
    /// [`pending_output`](Self::pending_output) is treated as that.
    pub fn handle_written(&mut self, cx: &mut Context<'_>, count: usize) {
        let count = count.min(self.output.pending());
        self.written += count as u64;
        self.output.advance(count, &mut cx.shared.buffers);
        if self.output.pending() == 0 && !self.state.is_in_use() {
            self.output.release();
        }
        if let Some(streaming) = &mut self.streaming
            && count > 0
        {
            streaming.output_taken();
        }
        self.update_timers_and_budget(cx);
    }
}

/// Actions. `stopping.rs` has more.
impl Connection {
    /// Queues the handler's response to the request that
    /// [`handle_input`](Self::handle_input) returned.
    ///
    /// An interim status (1xx, RFC 9110 §15.2) is not a final response; the client gets 500
    /// instead. If the connection was closed in the meantime, the response is dropped.
    ///
    /// # Panics
    /// If no request is waiting for a response.
    pub fn respond<B: Whole>(&mut self, cx: &mut Context<'_>, mut response: Response<B>) {
        self.respond_in_place(cx, &mut response);
    }

    /// Queues 500 (RFC 9110 §15.6.1) as the response to the request that
    /// [`handle_input`](Self::handle_input) returned, and closes the connection after it. For a
    /// handler that panicked.
    ///
    /// # Panics
    /// If no request is waiting for a response.
    pub fn respond_to_panic(&mut self, cx: &mut Context<'_>) {
        if self.is_closed() {
            return;
        }
        if let Some(streaming) = &self.streaming {
            return (streaming.calls.respond_to_error)(self, cx);
        }
        self.assert_request_pending();
        self.respond_refusal(cx, Refusal::handler_failed());
    }

    /// Sets the address that [`Request::local_addr`] returns.
    pub fn set_local(&mut self, local: Option<SocketAddr>) {
        self.local = local;
    }

    /// Keeps input for a later [`handle_input`](Self::handle_input), so that other connections
    /// are served before the requests in it. If the memory budget has no room, the connection
    /// responds with 503 instead.
    pub fn keep_input(&mut self, cx: &mut Context<'_>, input: &[u8]) {
        self.keep(cx, input);
        self.update_timers_and_budget(cx);
    }

    /// Makes the next response the last one. An earlier reason to close is kept.
    pub fn close_after_response(&mut self, reason: CloseReason) {
        self.state.will_close(reason);
    }

    /// Closes the connection at once, without a response: a read or write failed, or its slot is
    /// needed.
    pub fn abandon(&mut self, cx: &mut Context<'_>, reason: CloseReason) {
        self.state.closed(reason);
        self.drop_kept(cx);
        self.update_timers_and_budget(cx);
    }
}

/// Queries.
impl Connection {
    /// Fills `slices` with the output to send, in order, and returns how many it filled; 0 if
    /// there is no output.
    #[must_use]
    pub fn poll_output<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.output.slices(slices)
    }

    /// Returns all pending output and records it as sent. For tests and small tools.
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

    /// What to do next. Ask after each event or action, once the output is sent or the socket is
    /// not writable.
    #[must_use = "the caller must carry out the step"]
    pub fn poll_step(&mut self, cx: &mut Context<'_>) -> Step {
        if self.state.writing() == Writing::Closing && self.output.pending() == 0 {
            self.state.all_sent();
            self.update_timers_and_budget(cx);
            if self.state.writing() == Writing::Lingering {
                return Step::ShutdownWrite;
            }
        }
        match (self.state.writing(), self.state.close_reason()) {
            (Writing::Closed, Some(reason)) => Step::Close(reason),
            _ => Step::Wait,
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout). `None` only when the caller or its
    /// handler has to act first: a request is waiting for a response or a part of it, or
    /// [`poll_step`](Self::poll_step) returns another step than [`Step::Wait`]; and for an upgraded connection that has
    /// nothing to send, which has no deadline.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next_timeout()
    }
}

#[cfg(test)]
mod tests;
