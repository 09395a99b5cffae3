//! The states of a connection, and all transitions between them.
//!
//! # Theory of operation
//!
//! A connection is four small state machines: how input is treated ([`Reading`]), what may still
//! be sent ([`Writing`]), whether another request will be read ([`KeepAlive`]), and, where bodies
//! stream, how far the response is ([`ResponseState`]). Only this file changes their states.
//!
//! ```text
//! Reading
//!   ProxyHeader (only behind a proxy that sends one)
//!           │ complete
//!           │   first byte          complete head, no body
//!      ┌─> Idle ──────────> Head ─────────────────────────┐
//!      │    │                │ └ complete head ─> Body ──>│ complete body
//!      │    │                │                     │      v
//!      │    │                │                     │   Responding
//!      └────┼────────────────┼─────────────────────┼──────┤ responded, the connection persists
//!           │                │                     │      │ responded, it does not
//!           │ refused, timed out, stopped          │      v
//!           └────────────────┴─────────────────────┴─> Discarding
//!           the client's end of stream: from any of these to Ended
//!
//! Writing
//!      Open ─ last response queued ─> Closing ── all sent ──> Lingering ──> Closed
//!                                        └── the client's stream has ended ───^
//!                                 any ── failed, timed out ───────────────────^
//!
//! KeepAlive
//!      Persist ── the first cause to close ──> Close(reason)
//!                                                └ planned ── a failure ──> Close(reason of the failure)
//!
//! Where bodies stream, the handler has the request from its head on. Then there is also:
//!
//! ResponseState
//!              head passed to the handler            head queued
//!      ┌─> None ────────────────────────> Awaited ─────────────────> Begun
//!      │                                     │ refused, failed        │ body ended, failed
//!      └─────────────────────────────────────┴────────────────────────┘
//!
//! Reading, with the response
//!      Streaming ── complete ──> Responding ── response ended ──> Idle, or Discarding at the last one
//!        │  └── complete, after the response has ended ────────────^
//!        └───── failed, or too much of it is left unread ─────────> Discarding
//!
//! After an upgrade, the connection carries another protocol. From the response's head on:
//!
//! Reading          Responding ──> Upgraded ── the client's end of stream ──> Ended
//! ResponseState    Awaited ─────> Upgraded ── dropped by the handler ──────> None, Discarding, Closing
//! Writing          Open ── output ended by the handler ──> Closing ── all sent ──> Lingering, reading goes on
//! ```
//!
//! *Responding* lasts while the handler runs, from the end of the request on. A connection has at most
//! one request there, so responses are sent in the order of the requests. *Discarding* drops input: the
//! client may still be sending, and bytes after a refused request could be an attempt to smuggle one.
//! *Lingering* means that the writing side is shut down and the client's end of stream is awaited
//! (RFC 9112 §9.6). Closing at once would reset the connection if more input arrived, even from a
//! client that asked to close, and the client might lose its response.
//!
//! `KeepAlive` only changes from `Persist` to `Close`, and keeps its first reason, which is logged and
//! counted. A planned reason (`CloseReason::is_planned`) is not a failure, so a failure replaces it:
//!
//! * A request fails while it is with the handler (500, 503), or its body does. The close would otherwise
//!   look like the end of a good request.
//! * The connection fails or times out before all output is sent. The client didn't get its response.
//!
//! Once all output is sent, the reason is final: a connection that lingers did what was planned. If it was upgraded, it
//! has done so only when its input has ended too, or the handler has dropped it. The reason of a refusal is final too,
//! whether or not the response to it can be sent.

mod machines;

pub use self::machines::{KeepAlive, Reading, ResponseState, Writing};

use super::close_reason::CloseReason;
use super::partial_request::PartialRequest;

/// The state of a connection.
#[derive(Debug)]
pub struct State {
    reading: Reading<Box<PartialRequest>>,
    writing: Writing,
    keep_alive: KeepAlive,
    response: ResponseState,
}

impl State {
    /// A connection that was just accepted.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            reading: Reading::Idle,
            writing: Writing::Open,
            keep_alive: KeepAlive::Persist,
            response: ResponseState::None,
        }
    }

    /// A connection that was just accepted from a proxy, which sends a header of the PROXY protocol.
    pub(super) fn behind_proxy() -> Self {
        Self {
            reading: Reading::ProxyHeader,
            ..Self::new()
        }
    }

    /// How input from the client is treated.
    #[must_use]
    pub const fn reading(&self) -> Reading {
        match self.reading {
            Reading::ProxyHeader => Reading::ProxyHeader,
            Reading::Idle => Reading::Idle,
            Reading::Head => Reading::Head,
            Reading::Body(_) => Reading::Body(()),
            Reading::Streaming => Reading::Streaming,
            Reading::Responding => Reading::Responding,
            Reading::Upgraded => Reading::Upgraded,
            Reading::Discarding => Reading::Discarding,
            Reading::Ended => Reading::Ended,
        }
    }

    /// What may still be sent.
    #[must_use]
    pub const fn writing(&self) -> Writing {
        self.writing
    }

    /// Whether another request will be read.
    #[must_use]
    pub const fn keep_alive(&self) -> KeepAlive {
        self.keep_alive
    }

    /// How far the response to the request with the handler is, where bodies stream.
    #[must_use]
    pub const fn response(&self) -> ResponseState {
        self.response
    }

    /// Whether a request is with the handler, where bodies stream.
    pub(super) fn is_in_progress(&self) -> bool {
        matches!(self.response, ResponseState::Awaited | ResponseState::Begun)
    }

    /// Whether a request is with the handler, or the connection was upgraded.
    pub(super) fn is_in_use(&self) -> bool {
        self.response != ResponseState::None
    }

    /// Whether the connection was upgraded, and the handler still uses it.
    pub(super) fn is_upgraded(&self) -> bool {
        self.response == ResponseState::Upgraded && self.writing != Writing::Closed
    }

    /// The reason to close, if one is recorded.
    #[must_use]
    pub fn close_reason(&self) -> Option<CloseReason> {
        match self.keep_alive {
            KeepAlive::Persist => None,
            KeepAlive::Close(reason) => Some(reason),
        }
    }

    /// The request whose body is being gathered.
    pub(super) fn partial_request(&self) -> Option<&PartialRequest> {
        if let Reading::Body(request) = &self.reading {
            return Some(request);
        }
        None
    }

    /// The same, to change it.
    pub(super) fn partial_request_mut(&mut self) -> Option<&mut PartialRequest> {
        if let Reading::Body(request) = &mut self.reading {
            return Some(request);
        }
        None
    }

    /// Moves the request out whose body is being gathered. Call [`request_done`](Self::request_done) then, or
    /// [`body_began`](Self::body_began) again if more of the body is missing.
    pub(super) fn take_partial_request(&mut self) -> Option<Box<PartialRequest>> {
        match std::mem::replace(&mut self.reading, Reading::Head) {
            Reading::Body(request) => Some(request),
            other => {
                self.reading = other;
                None
            }
        }
    }

    /// The header of the PROXY protocol is complete.
    #[cfg(feature = "proxy-protocol")]
    pub(super) fn proxy_header_done(&mut self) {
        debug_assert_eq!(self.reading(), Reading::ProxyHeader);
        self.reading = Reading::Idle;
    }

    /// The first byte of a head has arrived.
    pub(super) fn head_began(&mut self) {
        debug_assert_eq!(self.reading(), Reading::Idle);
        self.reading = Reading::Head;
    }

    /// The head is complete and a body follows, or more of the body.
    pub(super) fn body_began(&mut self, request: Box<PartialRequest>) {
        debug_assert!(matches!(self.reading, Reading::Idle | Reading::Head));
        self.reading = Reading::Body(request);
    }

    /// The request is complete and goes to the handler.
    pub(super) fn request_done(&mut self) {
        debug_assert!(matches!(
            self.reading,
            Reading::Idle | Reading::Head | Reading::Streaming
        ));
        self.reading = Reading::Responding;
    }

    /// The head is complete and goes to the handler. If a body follows, it is passed on in parts.
    pub(super) fn head_passed(&mut self, has_body: bool) {
        debug_assert!(matches!(self.reading, Reading::Idle | Reading::Head));
        self.reading = match has_body {
            true => Reading::Streaming,
            false => Reading::Responding,
        };
        self.response = ResponseState::Awaited;
    }

    /// The body that the handler got in parts is complete, or the rest of it is drained.
    pub(super) fn streamed_body_ended(&mut self) {
        self.request_done();
        if self.response == ResponseState::None {
            self.responded();
        }
    }

    /// A body that the handler gets in parts can't be received: what follows is neither body nor
    /// request. This replaces an earlier reason to close.
    pub(super) fn streamed_body_failed(&mut self, reason: CloseReason) {
        debug_assert_eq!(self.reading(), Reading::Streaming);
        self.keep_alive = KeepAlive::Close(reason);
        self.stop_reading();
    }

    /// The rest of a body is not received.
    pub(super) fn body_left_unread(&mut self, reason: CloseReason) {
        debug_assert_eq!(self.reading(), Reading::Streaming);
        self.will_close(reason);
        self.stop_reading();
        if self.response == ResponseState::None {
            self.begin_closing();
        }
    }

    /// The head of a response is queued whose body follows in parts.
    pub(super) fn response_began(&mut self) {
        debug_assert_eq!(self.response, ResponseState::Awaited);
        self.response = ResponseState::Begun;
    }

    /// The last part of a response is queued. The rest of the request's body may still be drained.
    pub(super) fn response_ended(&mut self) {
        debug_assert!(self.is_in_progress());
        self.response = ResponseState::None;
        match (self.keep_alive, self.reading()) {
            (KeepAlive::Close(_), _) => self.begin_closing(),
            (KeepAlive::Persist, Reading::Responding) => self.responded(),
            (KeepAlive::Persist, Reading::Streaming) => {}
            (KeepAlive::Persist, Reading::Ended) => {
                self.last_response_queued(CloseReason::ClientClosed);
            }
            (KeepAlive::Persist, _) => debug_assert!(false, "a request is with the handler"),
        }
    }

    /// The head that changes the protocol is queued. This replaces an earlier reason to close, which was about HTTP.
    pub(super) fn upgraded(&mut self) {
        debug_assert_eq!(self.response, ResponseState::Awaited);
        debug_assert!(matches!(
            self.reading(),
            Reading::Responding | Reading::Ended
        ));
        self.response = ResponseState::Upgraded;
        self.keep_alive = KeepAlive::Close(CloseReason::Upgraded);
        if self.reading() == Reading::Responding {
            self.reading = Reading::Upgraded;
        }
    }

    /// All output of an upgraded connection is queued. Reading goes on.
    pub(super) fn upgraded_output_ended(&mut self) {
        debug_assert!(self.is_upgraded());
        if self.writing == Writing::Open {
            self.writing = Writing::Closing;
        }
    }

    /// The handler has dropped an upgraded connection.
    pub(super) fn upgraded_dropped(&mut self) {
        debug_assert!(self.is_upgraded());
        self.response = ResponseState::None;
        self.begin_closing();
    }

    /// No further request will be read. An earlier reason is kept.
    pub(super) fn will_close(&mut self, reason: CloseReason) {
        if self.keep_alive == KeepAlive::Persist {
            self.keep_alive = KeepAlive::Close(reason);
        }
    }

    /// The request with the handler failed: its response (500, 503) is queued, or no more of its
    /// response follows. This replaces an earlier reason to close.
    pub(super) fn failed(&mut self, reason: CloseReason) {
        debug_assert!(self.reading() == Reading::Responding || self.is_in_progress());
        self.response = ResponseState::None;
        self.keep_alive = KeepAlive::Close(reason);
        self.begin_closing();
    }

    /// The handler's response is queued.
    pub(super) fn responded(&mut self) {
        debug_assert_eq!(self.reading(), Reading::Responding);
        match self.keep_alive {
            KeepAlive::Persist => self.reading = Reading::Idle,
            KeepAlive::Close(_) => self.begin_closing(),
        }
    }

    /// The last response is queued, in any reading state.
    pub(super) fn last_response_queued(&mut self, reason: CloseReason) {
        self.will_close(reason);
        self.begin_closing();
    }

    /// The client's stream has ended. The caller has refused an unfinished request before.
    pub(super) fn input_ended(&mut self) {
        debug_assert!(!matches!(
            self.reading,
            Reading::Head | Reading::Body(_) | Reading::Streaming
        ));
        if matches!(self.reading, Reading::ProxyHeader | Reading::Idle) {
            self.last_response_queued(CloseReason::ClientClosed);
        }
        self.reading = Reading::Ended;
        if self.writing == Writing::Lingering {
            self.writing = Writing::Closed;
        }
    }

    /// All output is sent.
    pub(super) fn all_sent(&mut self) {
        if self.writing == Writing::Closing {
            self.writing = match self.reading() {
                Reading::Ended => Writing::Closed,
                _ => Writing::Lingering,
            };
        }
    }

    /// Lingering is over. The reason to close was recorded with the last response.
    pub(super) fn lingered(&mut self) {
        debug_assert_eq!(self.writing, Writing::Lingering);
        self.writing = Writing::Closed;
    }

    /// The connection closes at once: it failed, timed out, or has to make room. `reason` is recorded, unless
    /// an earlier one is final.
    pub(super) fn closed(&mut self, reason: CloseReason) {
        let has_ended = match self.writing {
            Writing::Open | Writing::Closing => false,
            // The program may still read what the client sends.
            Writing::Lingering => self.response != ResponseState::Upgraded,
            Writing::Closed => true,
        };
        let is_final = |earlier: CloseReason| has_ended || !earlier.is_planned();
        if !self.close_reason().is_some_and(is_final) {
            self.keep_alive = KeepAlive::Close(reason);
        }
        self.response = ResponseState::None;
        self.stop_reading();
        self.writing = Writing::Closed;
    }

    fn begin_closing(&mut self) {
        self.stop_reading();
        if self.writing == Writing::Open {
            self.writing = Writing::Closing;
        }
    }

    /// Drops input from now on, if there is more.
    fn stop_reading(&mut self) {
        if self.reading() != Reading::Ended {
            self.reading = Reading::Discarding;
        }
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
