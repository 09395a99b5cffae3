//! When the client is too late or too slow: 408, or a close.
//!
//! `timers.rs` has the table of timers.

use std::time::Duration;

use super::state::{Reading, Writing};
use super::timers::Timer;
use super::{CloseReason, Connection, Context, Refusal};

impl Connection {
    /// Does what is due for each timer that has expired.
    pub(super) fn run_expired_timers(&mut self, cx: &mut Context<'_>) {
        while let Some(timer) = self.timers.take_expired(cx.now) {
            match timer {
                Timer::Head => self.refuse_unfinished(cx, Refusal::late_head()),
                Timer::Body => self.check_body_rate(cx),
                Timer::Write => self.check_write_rate(cx),
                Timer::Idle => self.state.closed(CloseReason::IdleTimeout),
                Timer::Linger => self.state.lingered(),
            }
            self.update_timers_and_budget(cx);
        }
    }

    /// Refuses a body that has come too slowly in the window that ends.
    fn check_body_rate(&mut self, cx: &mut Context<'_>) {
        let is_fast_enough = self.incoming.as_mut().is_some_and(|incoming| {
            let came = std::mem::take(&mut incoming.in_window);
            is_fast_enough(came, incoming.held(), cx)
        });
        if is_fast_enough {
            self.timers.start(Timer::Body, cx.now, cx.limits);
        } else {
            self.refuse_unfinished(cx, Refusal::slow_body());
        }
    }

    /// Closes the connection if the client has taken its responses too slowly in the window that ends.
    fn check_write_rate(&mut self, cx: &mut Context<'_>) {
        let taken = std::mem::take(&mut self.written_in_window);
        self.output.recount();
        self.update_budget(cx);
        // What waits until responses are taken is held for as long as they are.
        let held = match self.timers.input() {
            Some(_) => self.output.held(),
            None => self.account.held(),
        };
        if is_fast_enough(taken, held, cx) {
            self.timers.start(Timer::Write, cx.now, cx.limits);
        } else {
            self.state.closed(CloseReason::WriteTimeout);
        }
    }

    /// Starts and stops timers as the state asks for.
    pub(super) fn update_timers(&mut self, cx: &Context<'_>) {
        let (reading, writing) = (self.state.reading(), self.state.writing());
        let has_output = self.output.pending() > 0;
        let awaited = match reading {
            Reading::Idle if !has_output && writing == Writing::Open => Some(Timer::Idle),
            Reading::Head if self.has_room_for_responses(cx) => Some(Timer::Head),
            Reading::Body if self.has_room_for_responses(cx) => Some(Timer::Body),
            Reading::Discarding if writing == Writing::Lingering => Some(Timer::Linger),
            Reading::Idle
            | Reading::Head
            | Reading::Body
            | Reading::Responding
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
                self.on_output_sent(cx);
            } else if !self.timers.resume_write(cx.now) {
                self.written_in_window = 0;
                self.timers.start(Timer::Write, cx.now, cx.limits);
            }
        }
    }

    /// The client has taken all output. A server that stops measures the rate over all responses of a
    /// pipeline: else a client could hold it up for a window with each small response.
    fn on_output_sent(&mut self, cx: &Context<'_>) {
        if cx.shared.is_stopping && self.has_kept() {
            self.timers.pause_write(cx.now);
        } else {
            self.timers.stop_write();
        }
    }

    /// A server that stops waits only for a while for clients that don't close.
    pub(super) fn shorten_lingering(&mut self, cx: &Context<'_>) {
        if cx.shared.is_stopping && self.timers.input() == Some(Timer::Linger) {
            self.timers.cap_input_deadline(cx.now + STOP_LINGER);
        }
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
fn is_fast_enough(bytes: u64, held: usize, cx: &Context<'_>) -> bool {
    let limits = cx.limits;
    // Without a division, which would make a small rate over a short window one of 0.
    let due = u128::from(limits.min_rate) * limits.rate_window.as_nanos();
    let is_scarce = limits.min_rate > 0 && cx.shared.budget.is_scarce(limits);
    let turned_over = !is_scarce || bytes.saturating_mul(TURNOVER_WINDOWS) >= held as u64;
    turned_over && u128::from(bytes) * 1_000_000_000 >= due
}

/// In so many windows memory is turned over while it is scarce.
const TURNOVER_WINDOWS: u64 = 12;
