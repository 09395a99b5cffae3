//! The connection's end: refusals and failures, deadlines, and the budget.

use std::time::Duration;

use http::StatusCode;
use log::debug;

use super::state::{Reading, Writing};
use super::timers::Timer;
use super::{CloseReason, Connection, Context, Refusal, Shared};
use super::{encode, head};

impl Connection {
    /// Queues the response to a request that is refused; it is the last one.
    #[cold]
    pub(super) fn refuse(&mut self, cx: &mut Context<'_>, refusal: Refusal) {
        debug!(target: "mini_http::conn", "conn {}: {refusal}", self.id);
        self.queue_refusal(cx, refusal.status(), refusal.text());
        self.state.last_answer(refusal.reason());
        self.incoming = None;
        self.drop_stash(cx);
    }

    /// Refuses a request whose end has not come.
    #[cold]
    pub(super) fn refuse_unfinished(&mut self, cx: &mut Context<'_>, refusal: Refusal) {
        match self.state.reading() {
            Reading::Idle | Reading::Head => {
                let head = &self.stash[self.stash_used..];
                self.exchange.is_head = head::is_head_request(head);
                // What is kept behind the bytes that were looked at may have bodies in it.
                let seen = &head[..head.len().min(self.scanner.seen())];
                if !seen.is_empty() {
                    self.log_refused_head(seen);
                }
            }
            Reading::Body | Reading::Answering | Reading::Discarding | Reading::Ended => {}
        }
        self.refuse(cx, refusal);
    }

    /// Responds with 500 to the request that is with the handler.
    pub(super) fn respond_error(&mut self, cx: &mut Context<'_>, text: &'static str) {
        self.queue_refusal(cx, StatusCode::INTERNAL_SERVER_ERROR, text);
        self.state.failed(CloseReason::HandlerFailed);
        self.settle(cx);
    }

    /// Refuses the request that is with the handler: there is no room for its response.
    #[cold]
    pub(super) fn respond_refusal(&mut self, cx: &mut Context<'_>, refusal: Refusal) {
        debug!(target: "mini_http::conn", "conn {}: {refusal}", self.id);
        self.queue_refusal(cx, refusal.status(), refusal.text());
        self.state.failed(refusal.reason());
        self.settle(cx);
    }

    pub(super) fn queue_refusal(&mut self, cx: &mut Context<'_>, status: StatusCode, text: &str) {
        let Shared { buffers, date, .. } = &mut *cx.shared;
        let is_head = self.exchange.is_head;
        self.output.append(buffers, |out| {
            encode::refusal(out, status, text, is_head, date);
        });
    }

    /// Brings deadlines and budget in line with the state, at the end of every call.
    pub(super) fn settle(&mut self, cx: &mut Context<'_>) {
        let (reading, writing) = (self.state.reading(), self.state.writing());
        if writing == Writing::Closed {
            self.drop_all(cx);
        }
        let has_output = self.output.pending() > 0;
        let awaited = match reading {
            Reading::Idle if !has_output && writing == Writing::Open => Some(Timer::Idle),
            Reading::Head if self.has_room_for_answers(cx) => Some(Timer::Head),
            Reading::Body if self.has_room_for_answers(cx) => Some(Timer::Body),
            Reading::Discarding if writing == Writing::Lingering => Some(Timer::Linger),
            Reading::Idle
            | Reading::Head
            | Reading::Body
            | Reading::Answering
            | Reading::Discarding
            | Reading::Ended => None,
        };
        // A timer that runs and should is left alone.
        if awaited != self.timers.input() {
            match awaited {
                Some(timer) => {
                    self.timers.start(timer, cx.now, cx.limits);
                    self.shorten_lingering(cx);
                }
                None => self.timers.stop_input(),
            }
        }
        if has_output != self.timers.is_write_set() {
            if !has_output {
                self.all_is_taken(cx);
            } else if !self.timers.resume_write(cx.now) {
                self.written_in_window = 0;
                self.timers.start(Timer::Write, cx.now, cx.limits);
            }
        }
        self.count_memory(cx);
    }

    /// The client has taken all output. A server that stops measures the rate over all responses of a
    /// pipeline: else a client could hold it up for a window with each small response.
    fn all_is_taken(&mut self, cx: &Context<'_>) {
        if cx.shared.is_stopping && self.has_kept() {
            self.timers.pause_write(cx.now);
        } else {
            self.timers.stop_write();
        }
    }

    /// A server that stops waits only for a while for clients that don't close.
    pub(super) fn shorten_lingering(&mut self, cx: &Context<'_>) {
        if cx.shared.is_stopping && self.timers.input() == Some(Timer::Linger) {
            self.timers.end_input_by(cx.now + STOP_LINGER);
        }
    }

    /// Drops what a closed connection still has.
    #[cold]
    fn drop_all(&mut self, cx: &mut Context<'_>) {
        self.drop_stash(cx);
        self.incoming = None;
        self.output.clear(&mut cx.shared.buffers);
    }

    /// Tells the budget what is held.
    pub(super) fn count_memory(&mut self, cx: &mut Context<'_>) {
        let incoming = self.incoming.as_ref().map_or(0, |incoming| incoming.held());
        let held = self.stash.capacity() + incoming + self.output.held();
        self.account.set(&mut cx.shared.budget, held);
    }

    /// Whether the connection was given up while its request was with the handler.
    pub(super) fn is_given_up(&self) -> bool {
        self.state.writing() == Writing::Closed
    }

    pub(super) fn assert_answering(&self) {
        assert_eq!(
            self.state.reading(),
            Reading::Answering,
            "no request waits for its answer"
        );
    }
}

/// How long a connection lingers at most while the server stops: enough for a client across the world
/// to get its last response and to close, and short enough to wait for at each restart.
const STOP_LINGER: Duration = Duration::from_secs(1);

/// Whether so many bytes in one window are enough for a body or for answers that hold so much memory.
///
/// Each must keep the least rate. While memory is scarce, one that holds much of it must also turn it
/// over: else a few clients could fill the budget at once, and keep it at the least rate for as long as
/// that takes them.
pub(super) fn is_fast_enough(bytes: u64, held: usize, cx: &Context<'_>) -> bool {
    let limits = cx.limits;
    // Without a division, which would make a small rate over a short window one of 0.
    let due = u128::from(limits.min_rate) * limits.rate_window.as_nanos();
    let is_scarce = limits.min_rate > 0 && cx.shared.budget.is_scarce(limits);
    let turned_over = !is_scarce || bytes.saturating_mul(TURNOVER) >= held as u64;
    turned_over && u128::from(bytes) * 1_000_000_000 >= due
}

/// In so many windows memory is turned over while it is scarce.
const TURNOVER: u64 = 12;
