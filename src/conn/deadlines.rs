//! Timeouts: what happens when a client is too late or too slow (408, or a close), and which timer
//! runs in which state.
//!
//! `timers.rs` stores the timers.

use std::time::Duration;

use super::state::{Reading, Writing};
use super::timers::Timer;
use super::{CloseReason, Connection, Context, Refusal};
use crate::time::Instant;

impl Connection {
    /// Acts on expired deadlines. Call it at the time that [`poll_timeout`](Self::poll_timeout)
    /// returns; earlier calls do nothing.
    pub fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        while let Some(timer) = self.timers.take_expired(cx.now) {
            match timer {
                Timer::Head => self.refuse_unfinished(cx, Refusal::late_head()),
                Timer::Body | Timer::Handler | Timer::HalfClosed => match &self.streaming {
                    None => self.check_body_rate(cx),
                    Some(streaming) => (streaming.calls.timer_expired)(self, cx),
                },
                Timer::Write => self.check_write_rate(cx),
                Timer::Idle => self.state.closed(CloseReason::IdleTimeout),
                Timer::ProxyHeader => self.state.closed(CloseReason::ProxyHeaderTimeout),
                Timer::Linger => self.state.lingered(),
            }
            self.update_timers_and_budget(cx);
        }
    }

    /// The deadline of the output alone: for a connection whose input waits for the server.
    pub(crate) fn poll_write_timeout(&self) -> Option<Instant> {
        self.timers.write_timeout()
    }

    /// Acts on that deadline if it has expired.
    pub(crate) fn handle_write_timeout(&mut self, cx: &mut Context<'_>) {
        if self.timers.take_expired_write(cx.now) {
            self.check_write_rate(cx);
            self.update_timers_and_budget(cx);
        }
    }

    /// At the end of a rate window: refuses a body that arrived too slowly in it.
    fn check_body_rate(&mut self, cx: &mut Context<'_>) {
        let is_fast_enough = self.state.partial_request_mut().is_some_and(|request| {
            let received = std::mem::take(&mut request.in_window);
            is_fast_enough(received, request.held(), cx.limits.min_rate, cx)
        });
        if is_fast_enough {
            self.timers.start(Timer::Body, cx.now, cx.limits);
        } else {
            self.refuse_unfinished(cx, Refusal::slow_body());
        }
    }

    /// At the end of a rate window: closes the connection if the client took its responses too
    /// slowly in it. On an upgraded connection, each write that the client takes begins the window anew. So at its
    /// end, the client has taken nothing.
    fn check_write_rate(&mut self, cx: &mut Context<'_>) {
        let taken = self.written - self.written_before_window;
        self.written_before_window = self.written;
        self.output.recount();
        self.update_budget(cx);
        // Without an input timer, kept input and an unfinished body wait until the output is sent:
        // slow sending then keeps all of the connection's memory in use, not only the output.
        let held = match self.timers.input() {
            Some(_) => self.output.held(),
            None => self.account.held(),
        };
        if !self.state.is_upgraded() && is_fast_enough(taken, held, cx.limits.min_rate, cx) {
            self.timers.start(Timer::Write, cx.now, cx.limits);
        } else {
            self.state.closed(CloseReason::WriteTimeout);
        }
    }

    /// Starts and stops timers according to the state.
    pub(super) fn update_timers(&mut self, cx: &Context<'_>) {
        let has_output = self.output.pending() > 0;
        let calls = self.streaming.as_ref().map(|streaming| streaming.calls);
        if !calls.is_some_and(|calls| (calls.update_timers)(self, cx)) {
            self.update_input_timer(cx, has_output);
        }
        if has_output != self.timers.is_write_set() {
            if has_output {
                self.written_before_window = self.written;
                self.timers.start(Timer::Write, cx.now, cx.limits);
            } else {
                self.timers.stop_write();
            }
        }
    }

    fn update_input_timer(&mut self, cx: &Context<'_>, has_output: bool) {
        let (reading, writing) = (self.state.reading(), self.state.writing());
        let awaited = match reading {
            Reading::ProxyHeader if writing == Writing::Open => Some(Timer::ProxyHeader),
            Reading::Idle if !has_output && writing == Writing::Open => Some(Timer::Idle),
            Reading::Head if self.has_room_for_responses(cx) => Some(Timer::Head),
            Reading::Body(()) if self.has_room_for_responses(cx) => Some(Timer::Body),
            Reading::Discarding if writing == Writing::Lingering => Some(Timer::Linger),
            _ => None,
        };
        // A timer that already runs keeps its deadline.
        if awaited != self.timers.input() {
            match awaited {
                Some(timer) => {
                    self.timers.start(timer, cx.now, cx.limits);
                    self.limit_lingering(cx);
                }
                None => self.timers.stop_input(),
            }
        }
    }

    /// While the server is stopping, limits lingering to [`STOP_LINGER`].
    pub(super) fn limit_lingering(&mut self, cx: &Context<'_>) {
        if cx.shared.is_stopping && self.timers.input() == Some(Timer::Linger) {
            self.timers.cap_input_deadline(cx.now + STOP_LINGER);
        }
    }
}

/// The longest time a connection lingers while the server is stopping. Enough for a distant client
/// to receive its last response and close; short enough to wait for at each restart.
const STOP_LINGER: Duration = Duration::from_secs(1);

/// Whether a transfer of `bytes` in one rate window is fast enough for a body or for responses that
/// hold `held` bytes of memory.
///
/// Each must keep the minimum rate, `rate` in bytes per second. While memory is scarce, it must also
/// transfer 1/[`TURNOVER_WINDOWS`] of what it holds. Otherwise a few clients could fill the budget and
/// keep it for as long as the minimum rate allows.
pub(super) fn is_fast_enough(bytes: u64, held: usize, rate: u32, cx: &Context<'_>) -> bool {
    let limits = cx.limits;
    // Multiplied, not divided: a small rate over a short window must not round to 0.
    let due = u128::from(rate) * limits.rate_window.as_nanos();
    let is_scarce = rate > 0 && cx.shared.budget.is_scarce(limits);
    let turned_over = !is_scarce || bytes.saturating_mul(TURNOVER_WINDOWS) >= held as u64;
    turned_over && u128::from(bytes) * 1_000_000_000 >= due
}

/// While memory is scarce, a connection must transfer as much as it holds within this many rate
/// windows: two minutes with the default window of 10 s.
const TURNOVER_WINDOWS: u64 = 12;
