//! What a connection does when the server stops.

use super::state::Reading;
use super::{CloseReason, Connection, Context, Refusal};

impl Connection {
    /// Lets a connection that lingers already do so only for as long as is right when the server stops;
    /// see [`Shared::begin_to_stop`](super::Shared::begin_to_stop).
    pub fn shorten_linger(&mut self, cx: &mut Context<'_>) {
        self.shorten_lingering(cx);
    }

    /// Ends the wait for input, because the server stops and nothing waits to be read. An unfinished
    /// request gets 503; a connection without a request is closed when its responses are sent. While
    /// input is kept that can be used, or none is wanted because responses wait, nothing changes: call
    /// again later. Returns whether anything has changed.
    pub fn stop(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.has_room_for_responses(cx) || self.can_go_on(cx) {
            return false;
        }
        match self.state.reading() {
            Reading::Idle if self.output.pending() == 0 => {
                self.state.closed(CloseReason::Stopped);
            }
            // What was answered must not be lost by a reset.
            Reading::Idle => self.state.last_response_queued(CloseReason::Stopped),
            Reading::Head | Reading::Body => {
                self.refuse_unfinished(cx, Refusal::stopped());
            }
            Reading::Responding | Reading::Discarding | Reading::Ended => return false,
        }
        self.update_timers_and_budget(cx);
        true
    }

    /// Refuses a connection that came after the server was stopped: it gets 503 without a request.
    pub fn turn_away(&mut self, cx: &mut Context<'_>) {
        self.refuse(cx, Refusal::stopped());
        self.update_timers_and_budget(cx);
    }
}
