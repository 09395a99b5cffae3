//! The handle of a server: stops it, and reads its counters, while it runs.

use std::fmt;
#[cfg(not(target_os = "wasi"))]
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::conn::CloseReason;
use crate::counters::{Counters, Measured};
use crate::error::{Error, ErrorKind, Result};
use crate::executor::lock;
use crate::observe::ResponseEvent;
use crate::stopping::{StopSignal, Stopping};

/// Stops a running server, and reads its counters.
///
/// It is `Clone`, `Send` and `Sync`. Get it from [`Server::handle`](crate::Server::handle) before
/// [`start`](crate::Server::start). On WASI, which has no threads, use it in the handler.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    /// How long [`stop`](Self::stop) lets requests go on. At half, more downloads would be cut off; at
    /// twice, programs that restart servers would have killed the process (Kubernetes waits for 30 s).
    const STOP_WITHIN: Duration = Duration::from_secs(30);

    /// Stops the server gracefully; [`start`](crate::Server::start) returns `Ok` when all connections
    /// are closed. Returns at once.
    ///
    /// Connections in the backlog are accepted, then the listening sockets are closed. Every request
    /// that has fully arrived is served; the last response on each connection has `Connection: close`.
    /// Connections without a request stay open for half a second, during which a request is still
    /// served. After that, an unfinished request gets 503. With [`serve_async`](crate::Server::serve_async), and where
    /// bodies of responses are in pieces, that is so only for a head: a body may go on arriving until the end.
    ///
    /// Five seconds later, pipelines are cut: on each connection one more request is served, and the response
    /// says that it is the last one.
    ///
    /// A client that takes its response slowly delays the end for as long as the limits allow
    /// ([`min_rate`](crate::Limits::min_rate)); one that doesn't close its end of the connection, by a
    /// second.
    ///
    /// A stopped server can't be started again. If the server isn't running yet, it stops as soon as it
    /// has started and served what is in the backlog.
    ///
    /// The same as [`stop_within`](Self::stop_within) with 30 seconds.
    pub fn stop(&self) {
        self.stop_within(Self::STOP_WITHIN);
    }

    /// Like [`stop`](Self::stop), but what hasn't ended when `timeout` has passed is dropped:
    /// requests, streams and tasks. Their connections are closed with
    /// [`CloseReason::Stopped`](crate::CloseReason::Stopped). The time is measured from the moment at
    /// which the server sees the call: at once, unless a handler blocks it or it isn't running yet.
    ///
    /// It can be called again. The earliest end counts, so that a second call can make it earlier and
    /// never later.
    ///
    /// It never panics and works on any thread. To let streams and tasks end by themselves, have them
    /// wait for [`stopping`](Self::stopping), too.
    pub fn stop_within(&self, timeout: Duration) {
        self.shared.stop.set(timeout);
        self.wake();
        let workers = self.workers().iter();
        workers.for_each(|worker| worker.stop_within(timeout));
    }

    /// A future that is ready as soon as [`stop`](Self::stop) or [`stop_within`](Self::stop_within) was
    /// called: before the server has stopped, so that streams and tasks can end by themselves.
    ///
    /// Any number of them can be awaited at once, on any thread and by any executor.
    ///
    /// ```
    /// use std::future::Future;
    /// use std::pin::pin;
    /// use std::task::{Context, Poll, Waker};
    ///
    /// # fn main() -> mini_http::Result<()> {
    /// let handle = mini_http::Server::new("127.0.0.1:0")?.handle();
    /// let mut stopping = pin!(handle.stopping());
    /// let mut cx = Context::from_waker(Waker::noop());
    /// assert_eq!(stopping.as_mut().poll(&mut cx), Poll::Pending);
    /// handle.stop();
    /// assert_eq!(stopping.as_mut().poll(&mut cx), Poll::Ready(()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn stopping(&self) -> Stopping {
        Stopping::new(self.clone())
    }

    /// The current values of the counters: with several workers, their sums.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let mut counters = self.own_counters();
        for worker in self.workers() {
            counters.add(&worker.own_counters());
        }
        counters
    }

    /// The counters of this handle's loop.
    fn own_counters(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let shared = &*self.shared;
        Counters {
            accepted: read(&shared.accepted),
            active: read(&shared.active),
            lingering: read(&shared.lingering),
            requests: read(&shared.requests),
            refused: read(&shared.refused),
            held: read(&shared.held),
            held_peak: read(&shared.held_peak),
            closed: std::array::from_fn(|reason| read(&shared.closed[reason])),
            measured: shared.measured.read(),
        }
    }

    pub(crate) fn new() -> Self {
        Self {
            shared: Arc::default(),
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.shared.stop.is_set()
    }

    /// The shortest time that was given to [`stop_within`](Self::stop_within). When it changes, the
    /// deadline becomes the earlier of two: the one that was set before, and this time from now on.
    pub(crate) fn stop_timeout(&self) -> Option<Duration> {
        self.shared.stop.within()
    }

    pub(crate) fn stop_signal(&self) -> &StopSignal {
        &self.shared.stop
    }

    /// Marks the server as running.
    ///
    /// # Errors
    /// [`ErrorKind::Setting`] if it is running, or was stopped.
    pub(crate) fn start(&self) -> Result<()> {
        let why = match self.shared.life.compare_exchange(
            Life::FRESH,
            Life::RUNNING,
            Ordering::AcqRel,
            Ordering::Acquire,
        ) {
            Ok(_) => return Ok(()),
            Err(Life::RUNNING) => {
                "the server is running already: a server serves in one thread at a time"
            }
            Err(_) => {
                "the server was stopped and has closed its listening sockets: make a new one, with \
                 Server::new or another constructor"
            }
        };
        Err(Error::new(ErrorKind::Setting, why))
    }

    /// Sets the handles of the workers, if there are several: each of their loops has a handle of its own.
    #[cfg(not(target_os = "wasi"))]
    pub(crate) fn set_workers(&self, workers: Box<[Self]>) {
        let workers = self.shared.workers.get_or_init(|| workers);
        if let Some(timeout) = self.stop_timeout() {
            workers.iter().for_each(|it| it.stop_within(timeout));
        }
    }

    /// Ends the waits of all workers.
    #[cfg(not(target_os = "wasi"))]
    pub(crate) fn wake_workers(&self) {
        self.workers().iter().for_each(Self::wake);
    }

    fn wake(&self) {
        if let Some(wake) = lock(&self.shared.waker).as_deref() {
            wake();
        }
    }

    fn workers(&self) -> &[Self] {
        #[cfg(not(target_os = "wasi"))]
        if let Some(workers) = self.shared.workers.get() {
            return workers;
        }
        &[]
    }

    /// Sets the function that wakes the running server from its wait, if the platform has one.
    pub(crate) fn set_waker(&self, waker: Option<Waker>) {
        *lock(&self.shared.waker) = waker;
    }

    /// Marks the server as stopped.
    pub(crate) fn stopped(&self) {
        self.set_waker(None);
        self.shared.life.store(Life::OVER, Ordering::Release);
    }

    /// A handle that doesn't keep the server in use.
    #[cfg(all(feature = "signals", unix))]
    pub(crate) fn downgrade(&self) -> WeakHandle {
        WeakHandle {
            shared: Arc::downgrade(&self.shared),
        }
    }

    pub(crate) fn count_accepted(&self) {
        add(&self.shared.accepted);
        add(&self.shared.active);
    }

    pub(crate) fn count_request(&self) {
        add(&self.shared.requests);
    }

    pub(crate) fn count_closed(&self, reason: CloseReason) {
        let active = self.shared.active.load(Ordering::Relaxed);
        self.shared
            .active
            .store(active.saturating_sub(1), Ordering::Relaxed);
        add(&self.shared.closed[reason.index()]);
        if reason.is_refusal() {
            add(&self.shared.refused);
        }
    }

    pub(crate) fn count_response(&self, event: &ResponseEvent<'_>) {
        self.shared.measured.count(event);
    }

    pub(crate) fn set_lingering(&self, lingering: usize) {
        let shared = &self.shared;
        shared.lingering.store(lingering as u64, Ordering::Relaxed);
    }

    pub(crate) fn set_held(&self, held: usize, peak: usize) {
        self.shared.held.store(held as u64, Ordering::Relaxed);
        self.shared.held_peak.store(peak as u64, Ordering::Relaxed);
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}

/// The handle of a server that may have been dropped.
#[cfg(all(feature = "signals", unix))]
#[derive(Debug)]
pub(crate) struct WeakHandle {
    shared: std::sync::Weak<Shared>,
}

#[cfg(all(feature = "signals", unix))]
impl WeakHandle {
    /// The handle, unless the server was dropped or has stopped.
    pub(crate) fn upgrade(&self) -> Option<Handle> {
        let shared = self.shared.upgrade()?;
        let is_over = shared.life.load(Ordering::Acquire) == Life::OVER;
        (!is_over).then_some(Handle { shared })
    }
}

/// Wakes the event loop from its wait; may be called on any thread.
pub(crate) type Waker = Arc<dyn Fn() + Send + Sync>;

/// The values of [`Shared::life`]. They only increase: a server runs once.
struct Life;

impl Life {
    const FRESH: u8 = 0;
    const RUNNING: u8 = 1;
    const OVER: u8 = 2;
}

/// What all clones of a handle share.
///
/// It begins at a multiple of 128 bytes, so that no two workers write to the same cache line, nor to one of a pair
/// that processors fetch together.
#[derive(Default)]
#[cfg_attr(not(target_os = "wasi"), repr(align(128)))]
struct Shared {
    life: AtomicU8,
    stop: StopSignal,
    waker: Mutex<Option<Waker>>,
    /// The handles of the workers, if there are several.
    #[cfg(not(target_os = "wasi"))]
    workers: OnceLock<Box<[Handle]>>,
    accepted: AtomicU64,
    active: AtomicU64,
    lingering: AtomicU64,
    requests: AtomicU64,
    refused: AtomicU64,
    held: AtomicU64,
    held_peak: AtomicU64,
    closed: [AtomicU64; CloseReason::ALL.len()],
    measured: Measured,
}

/// Adds 1. Only the event loop's thread writes, so a load and a store suffice; they are cheaper than
/// an atomic addition.
fn add(counter: &AtomicU64) {
    add_many(counter, 1);
}

/// Adds a number, in the same way.
pub(crate) fn add_many(counter: &AtomicU64, number: u64) {
    counter.store(
        counter.load(Ordering::Relaxed).wrapping_add(number),
        Ordering::Relaxed,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_closed_connections_by_reason() {
        let handle = Handle::new();
        handle.count_accepted();
        handle.count_accepted();
        handle.count_closed(CloseReason::BadRequest);
        let counters = handle.clone().counters();
        assert_eq!(
            (counters.accepted, counters.active, counters.refused),
            (2, 1, 1)
        );
        assert_eq!(counters.closed(CloseReason::BadRequest), 1);
        assert_eq!(counters.closed_in_all(), 1);
    }

    #[test]
    fn a_handle_can_be_sent_to_a_thread() {
        fn is_send_and_sync<T: Send + Sync + Clone + 'static>() {}
        is_send_and_sync::<Handle>();
    }
}
