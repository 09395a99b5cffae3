//! The states of a connection, and every transition between them.
//!
//! # Theory of operation
//!
//! A connection is three small machines side by side: what is done with the client's bytes
//! ([`Reading`]), what may still be sent ([`Writing`]), and whether there will be another request
//! ([`KeepAlive`]). Nothing outside this file assigns a state.
//!
//! ```text
//! Reading
//!               first byte          whole head, no body
//!      ┌─> Idle ──────────> Head ─────────────────────────┐
//!      │    │                │ └── whole head ──> Body ──>│ whole body
//!      │    │                │                     │      v
//!      │    │                │                     │   Answering
//!      └────┼────────────────┼─────────────────────┼──────┤ answered, the connection persists
//!           │                │                     │      │ answered, it does not
//!           │ refused, too late, stopped           │      v
//!           └────────────────┴─────────────────────┴─> Discarding
//!           the client's end of stream: from any of these to Ended
//!
//! Writing
//!      Open ── last answer queued ──> Closing ── all sent ──> Lingering ──> Closed
//!                                        └── the client's stream has ended ───^
//!                                 any ── failed, too late ────────────────────^
//!
//! KeepAlive
//!      Persist ── the first cause to close ──> Close(reason)
//! ```
//!
//! *Answering* lasts as long as the handler runs: a connection has at most one request there, so
//! answers leave in the order of the requests. *Discarding* drops input: the client may still be
//! sending, and bytes after a refused request can't be told from an attempt to smuggle one.
//! *Lingering* has shut its writing side and waits for the client's end of stream (RFC 9112
//! §9.6); closing at once would reset the connection if anything more came, even from a client that
//! asked to close, and the client might never see its answer.
//!
//! `KeepAlive` only ever goes from `Persist` to `Close`, and its first reason stays: that is the
//! one logged and counted. Only a request that ends badly (500, 503) replaces what was to happen behind
//! a good response.

use super::close_reason::CloseReason;

/// What is done with the client's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// No byte of the next request has come.
    Idle,
    /// A head has begun.
    Head,
    /// The head is whole; its body is coming.
    Body,
    /// A whole request is with the handler.
    Answering,
    /// No request is read any more; input is dropped.
    Discarding,
    /// The client's stream has ended.
    Ended,
}

/// What may still be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    /// Answers may follow.
    Open,
    /// The last answer is queued.
    Closing,
    /// Everything is sent and the writing side is shut.
    Lingering,
    /// Nothing more is sent or read; the connection is to be closed.
    Closed,
}

/// Whether there will be another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepAlive {
    /// The connection persists (RFC 9112 §9.3).
    Persist,
    /// It closes after what is queued, for this reason.
    Close(CloseReason),
}

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    reading: Reading,
    writing: Writing,
    keep_alive: KeepAlive,
}

impl State {
    /// A connection that was just accepted.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            reading: Reading::Idle,
            writing: Writing::Open,
            keep_alive: KeepAlive::Persist,
        }
    }

    /// What is done with the client's bytes.
    #[must_use]
    pub const fn reading(&self) -> Reading {
        self.reading
    }

    /// What may still be sent.
    #[must_use]
    pub const fn writing(&self) -> Writing {
        self.writing
    }

    /// Whether there will be another request.
    #[must_use]
    pub const fn keep_alive(&self) -> KeepAlive {
        self.keep_alive
    }

    /// The reason recorded for closing.
    #[must_use]
    pub fn close_reason(&self) -> Option<CloseReason> {
        match self.keep_alive {
            KeepAlive::Persist => None,
            KeepAlive::Close(reason) => Some(reason),
        }
    }

    /// The first byte of a head has come.
    pub(super) fn head_began(&mut self) {
        debug_assert_eq!(self.reading, Reading::Idle);
        self.reading = Reading::Head;
    }

    /// The head is whole and a body follows.
    pub(super) fn body_began(&mut self) {
        debug_assert!(matches!(self.reading, Reading::Idle | Reading::Head));
        self.reading = Reading::Body;
    }

    /// The request is whole and goes to the handler.
    pub(super) fn request_done(&mut self) {
        debug_assert!(matches!(
            self.reading,
            Reading::Idle | Reading::Head | Reading::Body
        ));
        self.reading = Reading::Answering;
    }

    /// There will be no further request; the first reason is kept.
    pub(super) fn will_close(&mut self, reason: CloseReason) {
        match self.keep_alive {
            KeepAlive::Persist => self.keep_alive = KeepAlive::Close(reason),
            KeepAlive::Close(_) => {}
        }
    }

    /// The request with the handler gets a response that says what went wrong. That is why the
    /// connection closes, even if it would have closed behind a good response, too.
    pub(super) fn failed(&mut self, reason: CloseReason) {
        debug_assert_eq!(self.reading, Reading::Answering);
        self.keep_alive = KeepAlive::Close(reason);
        self.last_answer_queued();
    }

    /// The handler's answer is queued.
    pub(super) fn answered(&mut self) {
        debug_assert_eq!(self.reading, Reading::Answering);
        match self.keep_alive {
            KeepAlive::Persist => self.reading = Reading::Idle,
            KeepAlive::Close(_) => self.last_answer_queued(),
        }
    }

    /// An answer that ends the connection is queued, whatever was being read.
    pub(super) fn last_answer(&mut self, reason: CloseReason) {
        self.will_close(reason);
        self.last_answer_queued();
    }

    /// The client's stream has ended. An unfinished request was refused before.
    pub(super) fn input_ended(&mut self) {
        debug_assert!(!matches!(self.reading, Reading::Head | Reading::Body));
        if self.reading == Reading::Idle {
            self.last_answer(CloseReason::ClientClosed);
        }
        self.reading = Reading::Ended;
        if self.writing == Writing::Lingering {
            self.writing = Writing::Closed;
        }
    }

    /// All output is sent.
    pub(super) fn all_sent(&mut self) {
        match self.writing {
            Writing::Open | Writing::Lingering | Writing::Closed => {}
            Writing::Closing => {
                self.writing = match self.reading {
                    Reading::Ended => Writing::Closed,
                    Reading::Idle
                    | Reading::Head
                    | Reading::Body
                    | Reading::Answering
                    | Reading::Discarding => Writing::Lingering,
                }
            }
        }
    }

    /// It has lingered enough: its reason to close was recorded with its last response.
    pub(super) fn lingered(&mut self) {
        debug_assert_eq!(self.writing, Writing::Lingering);
        self.writing = Writing::Closed;
    }

    /// The connection is of no more use: it failed or was too late.
    pub(super) fn closed(&mut self, reason: CloseReason) {
        self.will_close(reason);
        self.reading = match self.reading {
            Reading::Ended => Reading::Ended,
            Reading::Idle
            | Reading::Head
            | Reading::Body
            | Reading::Answering
            | Reading::Discarding => Reading::Discarding,
        };
        self.writing = Writing::Closed;
    }

    fn last_answer_queued(&mut self) {
        self.reading = match self.reading {
            Reading::Ended => Reading::Ended,
            Reading::Idle
            | Reading::Head
            | Reading::Body
            | Reading::Answering
            | Reading::Discarding => Reading::Discarding,
        };
        self.writing = match self.writing {
            Writing::Open | Writing::Closing => Writing::Closing,
            Writing::Lingering => Writing::Lingering,
            Writing::Closed => Writing::Closed,
        };
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_persistent_connection_returns_to_idle() {
        let mut state = State::new();
        state.head_began();
        state.body_began();
        state.request_done();
        state.answered();
        assert_eq!(state, State::new());
    }

    #[test]
    fn the_first_reason_to_close_stays() {
        let mut state = State::new();
        state.head_began();
        state.request_done();
        state.will_close(CloseReason::ClientAskedClose);
        state.will_close(CloseReason::Stopped);
        state.answered();
        assert_eq!(state.close_reason(), Some(CloseReason::ClientAskedClose));
        assert_eq!(state.reading(), Reading::Discarding);
        assert_eq!(state.writing(), Writing::Closing);
    }

    #[test]
    fn lingers_while_input_may_come_and_closes_at_its_end() {
        let mut state = State::new();
        state.last_answer(CloseReason::BadRequest);
        state.all_sent();
        assert_eq!(state.writing(), Writing::Lingering);
        state.input_ended();
        assert_eq!(state.writing(), Writing::Closed);
    }

    #[test]
    fn closes_at_once_when_nothing_can_come() {
        let mut state = State::new();
        state.input_ended();
        assert_eq!(state.writing(), Writing::Closing);
        state.all_sent();
        assert_eq!(state.writing(), Writing::Closed);
        assert_eq!(state.close_reason(), Some(CloseReason::ClientClosed));
    }

    #[test]
    fn what_went_wrong_is_the_reason_even_if_the_client_asked_to_close() {
        let mut state = State::new();
        state.head_began();
        state.request_done();
        state.will_close(CloseReason::ClientAskedClose);
        state.failed(CloseReason::HandlerFailed);
        state.all_sent();
        state.lingered();
        assert_eq!(state.close_reason(), Some(CloseReason::HandlerFailed));
        assert_eq!(state.writing(), Writing::Closed);
    }
}
