//! The [`Reactor`]: what the event loop needs of an operating system or a WASI runtime.
//!
//! # The contract
//!
//! **Readiness is a hint.** An event says that a direction *may* be ready. Every `accept`, `read`
//! and `write` may still answer [`WouldBlock`](std::io::ErrorKind::WouldBlock), and the loop then
//! just waits for the next event. Events may be spurious.
//!
//! **An event may be told once.** A reactor may be edge-triggered: after it has reported a
//! direction it may stay silent about it until that direction answered `WouldBlock`, or, where
//! [`SHORT_IS_LAST`](Reactor::SHORT_IS_LAST) says so, a `read` filled less than its buffer (then
//! the socket is drained) or a `write` took less than it was given. So the loop remembers what was reported. A reactor may also be level-triggered and
//! report again at every [`wait`](Reactor::wait); [`set_interest`](Reactor::set_interest) tells it
//! which directions the loop would act upon now.
//!
//! **A peer's end of stream is never lost behind a short read.** If the peer has shut down its
//! side before the last bytes were read, the event carries [`read_closed`](Readiness::read_closed)
//! (the loop then reads on to the end), or another event follows.
//!
//! **Events are never stale.** Once a stream was given to [`close`](Reactor::close), no event with
//! its [`Key`] reaches the loop in a later `wait`, even when its file descriptor's number is used
//! again. Within one batch the loop's own generation check drops what an earlier event of the
//! batch has closed.
//!
//! **A fault of one connection is that connection's event.** A reset, a bad file descriptor, an
//! I/O error: each is reported as readiness of that stream, whose next `read` or `write` returns
//! the error. `wait` fails only for what the whole server can't survive. An interrupted wait
//! (`EINTR`) is no failure; it returns with no events.
//!
//! **Closing is by value.** A stream's registration ends before its file descriptor does, in the
//! one call that takes both away.
//!
//! **A closed stream may linger.** Where the system can't drop it at once, it counts in
//! [`lingering`](Reactor::lingering) until it can. When that number falls, `wait` returns, if need be
//! with no events. No more streams linger without end than the loop has had open at once.
//!
//! **Every pause of a listener ends by an event or a deadline.** The loop pauses its listeners
//! ([`set_accepting`](Reactor::set_accepting)) while accepting rests after a failure, which has a
//! deadline; while all slots are taken, and each open connection has a deadline; while too many
//! streams linger, and `wait` returns when fewer do; and at the end, when it stops. So while it
//! doesn't stop, it never waits without a timeout for a paused listener unless some streams linger.

#[cfg(any(not(target_os = "wasi"), target_env = "p2"))]
mod keep_alive;
#[cfg(not(target_os = "wasi"))]
pub(crate) mod mio;
#[cfg(any(
    all(target_os = "wasi", target_env = "p1"),
    all(test, not(target_os = "wasi"))
))]
pub(crate) mod wasip1;
#[cfg(all(target_os = "wasi", target_env = "p2"))]
pub(crate) mod wasip2;

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use poll_turns::Key;

use crate::time::Instant;

/// The listeners and streams of one event loop. The module's documentation is the contract.
pub trait Reactor {
    /// An accepted connection, with its registration.
    type Stream;

    /// Whether a short `read` or `write` is as good as `WouldBlock`: the reactor will report the
    /// direction when it is ready again. If not, only `WouldBlock` makes it do so.
    const SHORT_IS_LAST: bool;

    /// How many listeners there are; they are named by the numbers from 0 to this.
    fn listeners(&self) -> usize;

    /// Waits until there is an event or `timeout` has passed (`None`: for ever), and appends the
    /// events to `events`.
    ///
    /// # Errors
    /// Only for what the server can't survive.
    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()>;

    /// Says whether the loop would accept from `listener` now. On at the start.
    fn set_accepting(&mut self, listener: usize, accepting: bool);

    /// Closes a listener, of which no event comes from then on and nothing is accepted. It is closed and
    /// never shut down: the socket may be another process's, too, whose connections it has to take.
    ///
    /// # Errors
    /// The runtime can't close it: it stays as it was.
    fn close_listener(&mut self, listener: usize) -> io::Result<()>;

    /// Accepts one connection, whose events will carry `key`; non-blocking.
    ///
    /// A new stream is registered with [`Interest::READ`].
    ///
    /// # Errors
    /// `WouldBlock` when there is none; otherwise what `accept(2)` or `sock_accept` answered.
    fn accept(&mut self, listener: usize, key: Key) -> io::Result<Accepted<Self::Stream>>;

    /// Whether an error of [`accept`](Self::accept) says that the host wants the server to stop.
    fn asks_to_stop(&self, error: &io::Error) -> bool {
        let _ = error;
        false
    }

    /// Reads what there is into `buf`; 0 is the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing; anything else ends the connection.
    fn read(&mut self, stream: &mut Self::Stream, buf: &mut [u8]) -> io::Result<usize>;

    /// Writes from the slices in order and tells how many bytes were taken.
    ///
    /// # Errors
    /// `WouldBlock` when there is no room; anything else ends the connection.
    fn write(&mut self, stream: &mut Self::Stream, bufs: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Says which directions of `stream` the loop would act upon now.
    fn set_interest(&mut self, stream: &mut Self::Stream, interest: Interest);

    /// Ends the writing side (`shutdown(SHUT_WR)`); reading goes on.
    ///
    /// # Errors
    /// What the call answered; the connection is then closed at once.
    fn shutdown_write(&mut self, stream: &mut Self::Stream) -> io::Result<()>;

    /// Ends the registration, then closes the stream.
    fn close(&mut self, stream: Self::Stream);

    /// Ends the registration, then resets the connection, so that the peer can't take its end for that of a
    /// response. Where that can't be done, it is closed.
    fn reset(&mut self, stream: Self::Stream) {
        self.close(stream);
    }

    /// Turns on keep-alive probes, where the system has them: first after 30 seconds without a packet, then
    /// up to three that are 10 seconds apart. If none is acknowledged, the stream fails.
    fn probe(&mut self, stream: &mut Self::Stream) {
        let _ = stream;
    }

    /// Streams that were closed and still take resources, because they can't be dropped at once.
    /// `wait` returns when there are fewer.
    fn lingering(&self) -> usize {
        0
    }

    /// Whether closing a stream makes room for a connection that could not be accepted. Not where
    /// descriptors come back later, and enough of them are on their way.
    fn gains_by_closing(&self) -> bool {
        true
    }

    /// The monotonic clock.
    fn now(&self) -> Instant;

    /// The wall clock, for the `Date` field.
    fn wall_clock(&self) -> SystemTime {
        SystemTime::now()
    }

    /// Something that ends a `wait` from another thread, where there are threads.
    fn waker(&self) -> Option<Arc<dyn Fn() + Send + Sync>> {
        None
    }
}

/// What [`Reactor::accept`] gives.
#[derive(Debug)]
pub struct Accepted<S> {
    /// The connection, registered.
    pub stream: S,
    /// The peer's address, where the system tells it.
    pub peer: Option<SocketAddr>,
    /// What the logs call the connection's file descriptor, where it has a number.
    pub fd: Option<u32>,
}

/// What may be ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The listener of this number may have a connection to accept.
    Listener(usize),
    /// The stream of this key may be ready.
    Stream(Key, Readiness),
}

/// The directions of a stream that may be ready. Both come in one event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// A `read` may give bytes, the end, or the stream's error.
    pub readable: bool,
    /// A `write` may take bytes or give the stream's error.
    pub writable: bool,
    /// The peer has shut down its side, or the stream has failed: read on to the end.
    pub read_closed: bool,
}

/// The directions of a stream that the loop would act upon now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// It would read.
    pub read: bool,
    /// It has something to write.
    pub write: bool,
}

impl Interest {
    /// Only reading: what a new stream starts with.
    pub const READ: Self = Self {
        read: true,
        write: false,
    };
}
