//! What operators see: [`Server::on_response`](crate::Server::on_response), the [`AccessLog`], and the counters of
//! responses.
//!
//! | what | where |
//! |---|---|
//! | what is known of a request and its response | [`ResponseEvent`], `event` |
//! | the requests whose responses aren't sent yet | `records` |
//! | makes events of what connections and the loop report | `observer` |
//! | receivers of events | [`Sink`] |
//! | lines for each response | [`AccessLog`], `access_log/` |
//!
//! A program that uses none of this doesn't contain its code: the server calls it only through trait objects, which
//! only functions such as `Server::on_response` create.

mod access_log;
mod event;
mod observer;
mod records;
mod server;

use std::sync::Arc;
use std::time::Duration;

pub use self::access_log::{AccessLog, LogFormat};
pub use self::event::ResponseEvent;
use self::observer::Observer;
use crate::conn::Watch;
use crate::handle::Handle;
use crate::time::Instant;

/// A receiver of events. It may belong to several loops on several threads.
pub(crate) trait Sink: Send + Sync {
    /// Called for each response that was sent or given up. It may panic.
    fn handle_event(&self, event: &ResponseEvent<'_>);

    /// The next receiver of events.
    fn rest(&self) -> Option<&dyn Sink>;

    /// Whether it looks at fields of requests.
    fn uses_fields(&self) -> bool;

    /// Called before each wait of the loop. Returns when it is to be called again at the latest.
    fn before_wait(&self, now: Instant) -> Option<Instant>;

    /// Called when a loop has ended.
    fn flush(&self);

    /// Makes the watch of a loop.
    fn watch(self: Arc<Self>, handle: &Handle, catch_panics: bool) -> Box<dyn Watch>;
}

/// The sinks of a server, one after the other.
pub(crate) struct Chain<S> {
    pub(crate) sink: S,
    pub(crate) rest: Option<Arc<dyn Sink>>,
}

impl<S: One + 'static> Sink for Chain<S> {
    fn handle_event(&self, event: &ResponseEvent<'_>) {
        self.sink.handle_event(event);
    }

    fn rest(&self) -> Option<&dyn Sink> {
        self.rest.as_deref()
    }

    fn uses_fields(&self) -> bool {
        self.sink.uses_fields() || self.rest.as_ref().is_some_and(|rest| rest.uses_fields())
    }

    fn before_wait(&self, now: Instant) -> Option<Instant> {
        let rest = self.rest.as_ref().and_then(|rest| rest.before_wait(now));
        [self.sink.before_wait(now), rest]
            .into_iter()
            .flatten()
            .min()
    }

    fn flush(&self) {
        self.sink.flush();
        if let Some(rest) = &self.rest {
            rest.flush();
        }
    }

    fn watch(self: Arc<Self>, handle: &Handle, catch_panics: bool) -> Box<dyn Watch> {
        Box::new(Observer::new(self, handle.clone(), catch_panics))
    }
}

/// One sink of a [`Chain`].
pub(crate) trait One: Send + Sync {
    fn handle_event(&self, event: &ResponseEvent<'_>);

    fn uses_fields(&self) -> bool {
        true
    }

    fn before_wait(&self, now: Instant) -> Option<Instant> {
        let _ = now;
        None
    }

    fn flush(&self) {}
}

/// A function of the user.
pub(crate) struct Callback<F>(pub(crate) F);

impl<F: Fn(&ResponseEvent<'_>) + Send + Sync> One for Callback<F> {
    fn handle_event(&self, event: &ResponseEvent<'_>) {
        (self.0)(event);
    }
}

/// A sink that does nothing: every observer keeps the counters of responses.
pub(crate) struct CountOnly;

impl One for CountOnly {
    fn handle_event(&self, _event: &ResponseEvent<'_>) {}

    fn uses_fields(&self) -> bool {
        false
    }
}

/// How long lines of an access log wait until they are written.
const LOG_DELAY: Duration = Duration::from_millis(100);
