//! Stopping: what a connection does when the server shuts down.

use super::state::Reading;
use super::{CloseReason, Connection, Context, Refusal};

impl Connection {
    /// If this connection lingers, limits that to one more second. Call it for every
    /// open connection after [`Shared::begin_to_stop`](super::Shared::begin_to_stop).
    pub fn shorten_linger(&mut self, cx: &mut Context<'_>) {
        self.limit_lingering(cx);
    }

    /// Stops waiting for input; call it when the socket has nothing to read. An unfinished request
    /// gets 503. A connection without a request is closed once its responses are sent.
    ///
    /// Returns `false`, and changes nothing, while kept input can be used, while backpressure holds
    /// input back, while a request is with the handler, or if the connection is closing already.
    /// Call it again later then.
    pub fn stop(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.has_room_for_responses(cx) || self.has_usable_input(cx) {
            return false;
        }
        match self.state.reading() {
            Reading::ProxyHeader => self.state.closed(CloseReason::Stopped),
            Reading::Idle if self.output.pending() == 0 => {
                self.state.closed(CloseReason::Stopped);
            }
            // Closing now could reset the connection and lose the pending responses.
            Reading::Idle => self.state.last_response_queued(CloseReason::Stopped),
            Reading::Streaming if self.state.is_in_progress() => return false,
            Reading::Streaming => {
                // The rest of a body whose response is queued.
                if let Some(streaming) = &self.streaming {
                    (streaming.calls.stop_draining)(self, cx);
                }
            }
            Reading::Head | Reading::Body(()) => {
                self.refuse_unfinished(cx, Refusal::stopped());
            }
            Reading::Responding | Reading::Upgraded | Reading::Discarding | Reading::Ended => {
                return false;
            }
        }
        self.update_timers_and_budget(cx);
        true
    }

    /// Responds with 503, without waiting for a request, to a connection that was accepted after
    /// the server was stopped. The response has no body, because the request may be HEAD.
    pub fn turn_away(&mut self, cx: &mut Context<'_>) {
        self.refuse_any_method(cx, Refusal::stopped());
        self.update_timers_and_budget(cx);
    }
}
