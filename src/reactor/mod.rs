//! The [`Reactor`]: what the event loop needs from an operating system or a WASI runtime.
//!
//! A reactor owns the listeners, accepts connections, reports which sockets may be ready, and makes the calls on
//! them. There is one for each platform.
//!
//! # The contract
//!
//! **Readiness is a hint.** An event says that a direction *may* be ready. Any `accept`, `read`
//! or `write` may still fail with [`WouldBlock`](std::io::ErrorKind::WouldBlock); the loop then
//! waits for the next event. Events may be spurious.
//!
//! **An event may come only once.** A reactor may be edge-triggered: after it has reported a
//! direction, it may not report it again until a call in that direction has failed with `WouldBlock`. Where
//! [`SHORT_IS_LAST`](Reactor::SHORT_IS_LAST) is true, a `read` that fills less than its buffer (the socket is
//! drained) and a `write` that takes fewer bytes than it was passed have the same effect. So the loop remembers
//! what was reported. A reactor may also be level-triggered, and report a direction at every
//! [`wait`](Reactor::wait). [`set_interest`](Reactor::set_interest) says which directions the loop would act on
//! now.
//!
//! **A short read doesn't hide the end of a stream.** If the peer shuts down its side before the last bytes were
//! read, the event has [`read_closed`](Readiness::read_closed) set, and the loop reads on to the end; or another
//! event follows.
//!
//! **No stale events.** After [`close`](Reactor::close), no later `wait` reports an event with the stream's
//! [`Key`], even if the number of its file descriptor is used again. Events of the same `wait` may still have it;
//! the loop drops them, because the key's generation is no longer that of its slot.
//!
//! **A fault of one connection is an event of that connection.** A reset, a bad file descriptor and an
//! I/O error are each reported as readiness of the stream, and its next `read` or `write` returns
//! the error. `wait` fails only for errors that the whole server can't survive. An interrupted wait
//! (`EINTR`) isn't a failure; it returns without events.
//!
//! **A stream is closed by value.** `close` takes the stream, and ends its registration before it closes the file
//! descriptor. Some systems end the registration by the close itself.
//!
//! **A closed stream may linger.** If the system can't drop it at once, it counts in
//! [`lingering`](Reactor::lingering) until it is dropped. When that number falls, `wait` returns, even without
//! events. The number of streams that linger without end is never more than the loop has had open at once.
//!
//! **Every pause of a listener ends with an event or a deadline.** The loop pauses its listeners
//! ([`set_accepting`](Reactor::set_accepting)) in four cases:
//!
//! | while | what ends the pause |
//! |---|---|
//! | it doesn't accept because accepting has failed, or other workers use all of `max_connections` | a deadline |
//! | all slots are taken | the deadlines of the connections, or what their requests wait for |
//! | too many streams linger | `wait`, which returns when there are fewer |
//! | it stops | nothing: it accepts no more |
//!
//! So it waits without a timeout while a listener is paused only if it stops, if some streams linger, or if
//! requests whose handlers may take any time have taken all slots.

#[cfg(any(test, target_os = "wasi"))]
mod checks;
#[cfg(any(not(target_os = "wasi"), target_env = "p2"))]
mod keep_alive;
#[cfg(not(target_os = "wasi"))]
pub(crate) mod mio;
#[cfg(all(feature = "systemd", unix))]
pub(crate) mod service;
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

pub use poll_turns::Interest;
use poll_turns::Key;

use crate::time::Instant;

/// The listeners and streams of one event loop. The module's documentation has the contract.
pub trait Reactor {
    /// An accepted connection, with its registration.
    type Stream;

    /// Whether a short `read` or `write` has the same effect as `WouldBlock`: the reactor reports the
    /// direction when it is ready again. If false, only `WouldBlock` has it.
    const SHORT_IS_LAST: bool;

    /// Whether a new stream is read before it is [watched](Self::watch): often the first request has come with the
    /// connection, and then no event has to report it. False where a read that finds nothing is expensive.
    const READS_NEW: bool = false;

    /// The number of listeners. They are numbered from 0.
    fn listeners(&self) -> usize;

    /// Waits until there is an event or `timeout` has passed (`None`: no timeout), and appends the
    /// events to `events`.
    ///
    /// # Errors
    /// Only errors that the server can't survive.
    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()>;

    /// The loop begins to stop.
    fn stopping(&mut self) {}

    /// Sets whether the loop would accept from `listener` now. Initially it would.
    fn set_accepting(&mut self, listener: usize, accepting: bool);

    /// Closes a listener: it is reported no more, and nothing is accepted from it. The socket is not shut down,
    /// because another process may share it and go on accepting.
    ///
    /// # Errors
    /// The runtime can't close it. Then nothing has changed.
    fn close_listener(&mut self, listener: usize) -> io::Result<()>;

    /// Accepts one connection, without blocking. Its events will have the key `key`.
    ///
    /// # Errors
    /// `WouldBlock` if there is none; otherwise the error of `accept(2)` or `sock_accept`.
    fn accept(&mut self, listener: usize, key: Key) -> io::Result<Accepted<Self::Stream>>;

    /// Registers a new stream, with [`Interest::READ`] or what was [set](Self::set_interest) since it was accepted,
    /// unless `accept` has done that. The loop calls it once for each stream that is still open after its first turn.
    /// What is ready by then is reported.
    ///
    /// # Errors
    /// The system has no resources left. The connection is then closed.
    fn watch(&mut self, stream: &mut Self::Stream) -> io::Result<()> {
        let _ = stream;
        Ok(())
    }

    /// Whether an error of [`accept`](Self::accept) means that the host wants the server to stop.
    fn asks_to_stop(&self, error: &io::Error) -> bool {
        let _ = error;
        false
    }

    /// Reads available bytes into `buf`. Returns 0 at the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock` if there are none. Any other error ends the connection.
    fn read(&mut self, stream: &mut Self::Stream, buf: &mut [u8]) -> io::Result<usize>;

    /// Writes from the slices in order. Returns how many bytes were taken.
    ///
    /// # Errors
    /// `WouldBlock` if there is no room. Any other error ends the connection.
    fn write(&mut self, stream: &mut Self::Stream, bufs: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Like [`write`](Self::write), for the last output before [`shutdown_write`](Self::shutdown_write) or
    /// [`close`](Self::close), which follows at once when all of it was taken. So the system may send the end of the
    /// stream together with it.
    ///
    /// # Errors
    /// Those of [`write`](Self::write).
    fn write_last(&mut self, stream: &mut Self::Stream, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write(stream, bufs)
    }

    /// Sets which directions of `stream` the loop would act on now.
    fn set_interest(&mut self, stream: &mut Self::Stream, interest: Interest);

    /// Shuts down writing (`shutdown(SHUT_WR)`); reading goes on.
    ///
    /// # Errors
    /// The error of the call. The connection is then closed at once.
    fn shutdown_write(&mut self, stream: &mut Self::Stream) -> io::Result<()>;

    /// Closes the stream and ends its registration.
    fn close(&mut self, stream: Self::Stream);

    /// Ends the registration, then resets the connection, so that the peer can't take its end for that of a
    /// response. Where that can't be done, it is closed.
    fn reset(&mut self, stream: Self::Stream) {
        self.close(stream);
    }

    /// Turns on keep-alive probes, where the system has them: first after 30 seconds without a packet, then
    /// up to three that are 10 seconds apart. If none is acknowledged, the stream fails. From then on, the reactor
    /// also finds streams that have failed while the loop has no interest in them, as far as the system can.
    fn probe(&mut self, stream: &mut Self::Stream) {
        let _ = stream;
    }

    /// How many closed streams can't be dropped yet, and still take resources.
    /// `wait` returns when there are fewer.
    fn lingering(&self) -> usize {
        0
    }

    /// Whether closing a stream makes room for a connection that could not be accepted. False if the runtime
    /// frees file descriptors late, and will free enough of them without that.
    fn gains_by_closing(&self) -> bool {
        true
    }

    /// The monotonic clock.
    fn now(&self) -> Instant;

    /// The wall clock, for the `Date` field.
    fn wall_clock(&self) -> SystemTime {
        SystemTime::now()
    }

    /// A function that ends a `wait` from another thread. `None` if there are no threads.
    fn waker(&self) -> Option<Arc<dyn Fn() + Send + Sync>> {
        None
    }
}

/// What [`Reactor::accept`] returns.
#[derive(Debug)]
pub struct Accepted<S> {
    /// The connection. If `accept` hasn't registered it, `watch` does.
    pub stream: S,
    /// The peer.
    pub peer: Peer,
    /// The local address, if there is one, and a call that returns it.
    pub local: Option<SocketAddr>,
    /// The file descriptor or handle, for the log. `None` if it isn't a number.
    pub fd: Option<u32>,
}

/// The peer of an accepted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// It has this address.
    Address(SocketAddr),
    /// It is connected by a Unix domain socket, and has no address.
    Unix,
    /// There is no call for its address.
    Unknown,
}

impl Peer {
    /// Its address, if it has one.
    #[must_use]
    pub fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Address(address) => Some(address),
            Self::Unix | Self::Unknown => None,
        }
    }
}

/// What may be ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The listener of this number may have a connection to accept.
    Listener(usize),
    /// The stream of this key may be ready.
    Stream(Key, Readiness),
}

/// The directions of a stream that may be ready. One event reports both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// A `read` may return bytes, the end of the stream, or its error.
    pub readable: bool,
    /// A `write` may take bytes, or return the stream's error.
    pub writable: bool,
    /// The peer has shut down its side, or the stream has failed: read on to the end.
    pub read_closed: bool,
    /// The stream has failed. A reactor may report this also while the loop has no interest in the stream; if it
    /// doesn't, the next read or write returns the error.
    pub failed: bool,
}
