//! Timers for streamed bodies. Each runs only while the server waits for the party whose time it measures.
//!
//! | timer | runs | on expiry |
//! |---|---|---|
//! | `Body` | while the handler waits for the body, or its rest is drained after the response | 408 if it is too slow |
//! | `Handler` | from the head of the request to that of the response, but not while the body is waited for | 503 |
//! | `HalfClosed` | from the client's end of stream, or a later write, to the end of the response | a close |

use std::time::Duration;

use crate::conn::deadlines::is_fast_enough;
use crate::conn::state::{Reading, ResponseState};
use crate::conn::timers::{Timer, TimerTable};
use crate::conn::{CloseReason, Connection, Context, Refusal};
use crate::time::Instant;

use super::body::Sink;

/// The timers of one request.
#[derive(Debug, Default)]
pub(super) struct Timers {
    /// The end of a rate window of the body.
    body: Countdown,
    handler: Countdown,
    half_closed: Option<Instant>,
}

impl Timers {
    /// The rest of the body is drained from now on, with rate windows of its own.
    pub(super) fn begin_to_drain(&mut self) {
        self.body = Countdown::default();
    }

    /// The client has taken output: it is not gone.
    pub(super) fn output_taken(&mut self) {
        self.half_closed = None;
    }
}

/// A timer that can be paused.
#[derive(Debug, Default)]
struct Countdown {
    /// The time that was left when it was paused; `None` before it first runs.
    left: Option<Duration>,
    /// When it expires, while it runs.
    deadline: Option<Instant>,
}

impl Countdown {
    /// Lets it run or pauses it. The first time it runs for `duration`.
    fn run(&mut self, runs: bool, duration: Duration, now: Instant) {
        match (runs, self.deadline) {
            (true, None) => self.deadline = Some(now + self.left.unwrap_or(duration)),
            (false, Some(deadline)) => {
                self.left = Some(deadline.saturating_since(now));
                self.deadline = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    fn is_expired(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }
}

impl Connection {
    /// Sets the input timer while a request is with the handler, or the rest of its body is drained.
    /// Returns whether that is so.
    pub(in crate::conn) fn update_stream_timers(&mut self, cx: &Context<'_>) -> bool {
        let (is_body, response) = (
            self.state.reading() == Reading::Streaming,
            self.state.response(),
        );
        if self.state.is_upgraded() {
            self.update_upgraded_timers(cx);
            return true;
        }
        let in_progress = self.state.is_in_progress();
        let Some(streaming) = &mut self.streaming else {
            return false;
        };
        if !in_progress && !is_body {
            return false;
        }
        let (request, timers, limits) = (&streaming.request, &mut streaming.timers, cx.limits);
        let waits_for_body = is_body && request.waits_for_client();
        let must_drain = is_body && matches!(request.sink, Sink::Drain { .. }) && !in_progress;
        let has_rate = request.rate(limits) > 0;
        timers.body.run(
            waits_for_body && has_rate || must_drain,
            limits.rate_window,
            cx.now,
        );
        let handler_timeout = limits.handler_timeout.unwrap_or_default();
        let is_awaited = response == ResponseState::Awaited && limits.handler_timeout.is_some();
        timers
            .handler
            .run(is_awaited && !waits_for_body, handler_timeout, cx.now);
        if streaming.input_has_ended && in_progress {
            let deadline = TimerTable::after(cx.now, limits.half_closed_timeout);
            timers.half_closed.get_or_insert(deadline);
        } else {
            timers.half_closed = None;
        }

        let deadlines = [
            timers.half_closed,
            timers.handler.deadline,
            timers.body.deadline,
        ];
        // A half-closed connection may be closed for a new one, whichever timer is the next.
        let names = [Timer::HalfClosed, Timer::Handler, Timer::Body];
        let name = deadlines.iter().zip(names).find(|(set, _)| set.is_some());
        match (name, deadlines.into_iter().flatten().min()) {
            (Some((_, timer)), Some(deadline)) => self.timers.set_input(timer, deadline),
            (_, _) => self.timers.stop_input(),
        }
        true
    }

    /// Acts on the timer of a stream that has expired.
    #[cold]
    pub(in crate::conn) fn stream_timer_expired(&mut self, cx: &mut Context<'_>) {
        let Some(streaming) = &mut self.streaming else {
            return;
        };
        let (timers, now) = (&streaming.timers, cx.now);
        if timers.handler.is_expired(now) {
            self.respond_to_refusal(cx, Refusal::late_handler());
        } else if timers.half_closed.is_some_and(|deadline| deadline <= now) {
            self.state.closed(CloseReason::HalfClosedTimeout);
        } else if timers.body.is_expired(now) && self.state.reading() == Reading::Streaming {
            self.check_stream_rate(cx);
        }
        self.end_input_if_due(cx);
    }

    /// At the end of a rate window: the body fails if it arrived too slowly in it.
    fn check_stream_rate(&mut self, cx: &mut Context<'_>) {
        let Some(streaming) = &mut self.streaming else {
            return;
        };
        streaming.timers.body = Countdown::default();
        let received = std::mem::take(&mut streaming.request.in_window);
        let rate = streaming.request.rate(cx.limits);
        let held = streaming.request.held() + self.kept.capacity();
        if !is_fast_enough(received, held, rate, cx) {
            self.fault_found(cx, Refusal::slow_body());
        }
    }
}
