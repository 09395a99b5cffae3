//! The last step of each call that changes a connection: it sets the timers and the memory budget according to the new
//! state.

use super::state::Writing;
use super::{Connection, Context};

impl Connection {
    /// Sets the timers and the memory budget according to the state. Every call that changes the state ends with this.
    pub(super) fn update_timers_and_budget(&mut self, cx: &mut Context<'_>) {
        if self.state.writing() == Writing::Closed {
            self.release_all(cx);
        }
        self.update_timers(cx);
        self.update_budget(cx);
    }

    /// Frees the memory of a closed connection.
    #[cold]
    fn release_all(&mut self, cx: &mut Context<'_>) {
        self.drop_kept(cx);
        if let Some(streaming) = &mut self.streaming {
            (streaming.calls.clear)(streaming);
        }
        self.output.clear(&mut cx.shared.buffers);
    }

    /// Reports to the budget how much memory is held.
    pub(super) fn update_budget(&mut self, cx: &mut Context<'_>) {
        let request = self.state.partial_request().map_or(0, |it| it.held());
        let streaming = self.streaming.as_ref().map_or(0, |it| (it.calls.held)(it));
        let held = self.kept.capacity() + request + streaming + self.output.held();
        self.account.set(&mut cx.shared.budget, held);
    }
}
