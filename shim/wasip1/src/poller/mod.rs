//! [`Poller`]: waits until one of many sockets may be ready, on runtimes whose `poll_oneoff` is not reliable.
//!
//! # How it works
//!
//! **Certain and uncertain events.** wasmtime and wasmi report all subscriptions of a `poll_oneoff` when one is
//! ready. An event is *certain* if it is a read event with more than one byte, or has a hang-up or an error. A
//! read event with one byte is *uncertain*: it may mean a byte, the end of the stream, or nothing at all. So are
//! all events of listeners, and all write events. If a runtime leaves out some subscriptions, it reports only those
//! that are ready; then every event is certain.
//!
//! **A poll that reports nothing can be trusted.** If a poll with a clock of zero duration reports only the
//! clock, none of its other subscriptions is ready. So when all events are uncertain, the poller finds the ready
//! sockets by polling parts of the list ([`wait`]).
//!
//! **Busy and idle connections.** [`poll_turns`] decides which streams to poll. Each iteration polls the busy ones
//! and the listeners, and some of the idle ones in turn, within a budget of time. When nothing has happened for a
//! while, or only on idle connections, one poll waits for all of them.
//!
//! **Speculation.** While nearly every busy connection has input in each iteration, as under full load, they
//! are reported without a poll ([`speculate`]).
//!
//! **Blind runtimes.** A runtime whose poll doesn't check sockets (wazero) is detected at the start; see
//! [`blind`]. In such a runtime, closing a socket has no effect at first. Other calls, too, may return success and
//! do nothing; see [`silent`].
//!
//! # No connection starves
//!
//! An iteration is one call of [`Poller::wait`], with what the caller does until the next one. There are b busy
//! connections and n idle ones. *p* is the cost of a subscription and *a* the cost of a call that returns
//! `AGAIN`. Both are measured: on one machine with wasmtime 36, *a* is 0.7 µs, and *p* is 0.4 µs with 1,000
//! connections and 1 µs with 5,000, whose sockets don't fit into the processor's caches.
//!
//! After this time at most, an event is reported:
//!
//! - **a busy connection with two bytes or more, or an error**: the next iteration
//! - **a busy connection whose event is uncertain (the end, one byte, room to write)**: the first iteration after
//!   16·a·b, at least 0.25 ms and at most 50 ms; the next iteration but one if no event is certain
//! - **a listener**: the first iteration after 0.9 ms; the next iteration if no event is certain
//! - **an idle connection, while others are busy**: one cycle: 64·p·n at worst, 13·p·n if the caller works all the
//!   time; but at least 10 ms with n above 256, and at least n / 512 iterations
//! - **an idle connection, when nothing is busy**: at once
//!
//! If a host rounds durations up to a tick (some older ones to milliseconds), each poll that finds
//! nothing takes a tick longer. Finding what is ready among uncertain events then takes up to 8 ticks for every
//! factor of 8 in their number.
//!
//! # Errors
//!
//! What the runtime returns, and what the poller does then:
//!
//! - **`BADF` for a whole poll**: finds the bad file descriptors with `fd_fdstat_get` and evicts their registrations,
//!   so that only their owners get an event
//! - **`BADF` in an event**: evicts that registration
//! - **`IO` or another error in an event**: reports that connection as readable, with the error
//! - **`NOTSUP`, `NOSYS`, `INTR`, `AGAIN` in an event**: reports the direction, so that the owner tries it
//! - **`INTR` for a poll**: ends the wait without events
//! - **an error for the clock after a poll**: ends the wait, because the time that is left isn't known
//! - **`INVAL` for a poll**: polls in shorter parts from then on: the host's poll(2) takes no more than `ulimit -n`
//!   entries
//! - **another error for a poll (`NOMEM`, `IO`, …)**: sleeps briefly and reports everything, so that the owners try it;
//!   after 100 such errors in a row the wait fails
//! - **`AGAIN` after it reported the direction**: nothing, because readiness is a hint
//! - **`INTR` for a read, write or accept**: returns `AGAIN`
//! - **events, but never progress**: after 8 such waits in a row it sleeps before each wait, for at most 5 ms

mod accepted;
mod blind;
mod failed;
mod poll;
mod silent;
mod slots;
mod speculate;
mod tries;
mod wait;

use std::cell::Cell;
use std::io::IoSlice;
use std::time::Duration;

use crate::discover::NoListener;
use crate::errno::Errno;
use crate::wasi::{ClockId, Event, Fd, SendFlags, Shutdown, Subscription, Wasi};
use accepted::Accepted;
use blind::Sleep;
use poll::Poll;
pub use poll_turns::Interest;
use poll_turns::Planner;
pub use silent::{accept, shut_down, write_each};
pub use slots::Registration;
use slots::{Kind, Slots};
use speculate::Speculation;
use tries::Tries;

/// The registered file descriptors of one event loop. Waits until some of them may be ready.
///
/// It is level-triggered: as long as a direction is ready and of interest, [`wait`](Self::wait) reports it
/// repeatedly, though not every time. Accepting, reading, writing and closing go through the poller, because it
/// needs the results of these calls.
///
/// A registered file descriptor belongs to its [`Registration`]. [`close`](Self::close) removes the
/// registration before it closes the file descriptor, so a closed one is never polled.
#[derive(Debug)]
pub struct Poller<W> {
    wasi: W,
    slots: Slots,
    /// Decides which streams to poll. Knows them by slot.
    planner: Planner,
    tries: Tries,
    speculation: Speculation,
    runtime_kind: RuntimeKind,
    sleep: Sleep,
    accepted: Accepted,
    poll: Poll,
    /// How many waits in a row have reported events without any progress afterwards.
    without_progress: u32,
    /// How many polls in a row have failed.
    failures: u32,
    /// The last time that all events were uncertain, only those of the listeners were reported.
    reported_only_listeners: bool,
    /// When it was last known for certain which of all connections were ready.
    resolved_at: u64,
    /// The runtime has refused a flag of `sock_send`.
    refuses_more: bool,
    /// The last time that was read. It is used when the clock fails.
    read_time: Cell<u64>,
}

/// Something that may be ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The token that was passed at registration.
    pub token: u64,
    /// It is a listener; [`readable`](Self::readable) means that there may be a connection.
    pub listener: bool,
    /// A read may return bytes, the end of the stream, or its error.
    pub readable: bool,
    /// A write may take bytes, or return the stream's error.
    pub writable: bool,
    /// The peer has hung up, or the connection has failed.
    pub read_closed: bool,
    /// The error that the runtime reported.
    pub error: Option<Errno>,
}

/// Whether the runtime's `poll_oneoff` checks sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RuntimeKind {
    Unknown,
    ChecksSockets,
    Blind,
}

impl<W: Wasi> Poller<W> {
    /// A poller without registrations.
    pub fn new(wasi: W) -> Self {
        Self {
            wasi,
            slots: Slots::default(),
            planner: Planner::new(INITIAL_POLL_COST),
            tries: Tries::default(),
            speculation: Speculation::default(),
            runtime_kind: RuntimeKind::Unknown,
            sleep: Sleep::default(),
            accepted: Accepted::default(),
            poll: Poll::default(),
            without_progress: 0,
            failures: 0,
            reported_only_listeners: false,
            resolved_at: 0,
            refuses_more: false,
            read_time: Cell::new(0),
        }
    }

    /// The runtime.
    pub const fn wasi(&self) -> &W {
        &self.wasi
    }

    /// Nanoseconds of the monotonic clock. If it fails, the last time that was read.
    pub fn now(&self) -> u64 {
        self.read_clock().unwrap_or(self.read_time.get())
    }

    fn read_clock(&self) -> Result<u64, Errno> {
        let now = self.wasi.clock_time_get(ClockId::Monotonic)?;
        self.read_time.set(now);
        Ok(now)
    }

    /// Whether this runtime's `poll_oneoff` doesn't check sockets, as far as is known. Then a wait is a series of
    /// short sleeps and tries.
    pub fn is_blind(&self) -> bool {
        self.runtime_kind == RuntimeKind::Blind
    }

    /// Registers a listener. Makes it non-blocking, and tries to accept from it.
    ///
    /// # Errors
    /// Accepting fails with an error that means that this isn't a listener, or that the runtime has no
    /// sockets.
    pub fn register_listener(&mut self, fd: Fd, token: u64) -> Result<Registration, NoListener> {
        let may_block = !self.make_nonblocking(fd);
        self.accepted.may_block |= may_block;
        let now = self.now();
        let registration = self
            .slots
            .insert(fd, token, Kind::Listener, Interest::READ, now);
        // Twice, because the cost of `AGAIN` is measured here, and the first call may be slow.
        for _ in 0..2 {
            if may_block {
                break;
            }
            let before = self.now();
            match self.accept_from(fd) {
                Ok(stream) => self.accepted.keep(registration.index(), stream),
                Err(
                    errno @ (Errno::NOTSOCK
                    | Errno::NOSYS
                    | Errno::NOTSUP
                    | Errno::INVAL
                    | Errno::BADF
                    | Errno::NOTCAPABLE),
                ) => {
                    self.slots.remove(registration);
                    return Err(NoListener::cannot_accept(fd, errno));
                }
                Err(Errno::AGAIN) => self.tries.measured(self.now().saturating_sub(before)),
                // The first connection in the queue has gone already.
                Err(_) => {}
            }
        }
        Ok(registration)
    }

    /// Registers a stream. It must be non-blocking, and belongs to the registration from now on.
    pub fn register(&mut self, fd: Fd, token: u64, interest: Interest) -> Registration {
        let now = self.planner.wait_ended();
        let registration = self.slots.insert(fd, token, Kind::Stream, interest, now);
        self.planner.insert(registration.index());
        registration
    }

    /// Sets the directions to wait for.
    pub fn set_interest(&mut self, registration: &Registration, interest: Interest) {
        self.slots.set_interest(registration, interest);
    }

    /// Accepts a connection, which is non-blocking.
    ///
    /// # Errors
    /// `AGAIN` if there is none; otherwise the error of `sock_accept`.
    pub fn accept(&mut self, listener: &Registration) -> Result<Fd, Errno> {
        let fd = self.slots.fd(listener)?;
        let result = self.next_connection(listener, fd);
        if result.is_ok() {
            self.reported_only_listeners = false;
        }
        self.record_result(listener, result)
    }

    /// Reads available bytes. Returns 0 at the end of the stream.
    ///
    /// # Errors
    /// `AGAIN` if there are none; otherwise the error of `fd_read`.
    pub fn read(&mut self, stream: &Registration, buf: &mut [u8]) -> Result<usize, Errno> {
        let result = self.wasi.fd_read(self.slots.fd(stream)?, buf);
        self.record_result(stream, result)
    }

    /// Writes from the slices in order.
    ///
    /// # Errors
    /// `AGAIN` if there is no room; otherwise the error of `fd_write`.
    pub fn write(&mut self, stream: &Registration, bufs: &[IoSlice<'_>]) -> Result<usize, Errno> {
        let fd = self.slots.fd(stream)?;
        let result = match self.is_blind() {
            true => write_each(&self.wasi, fd, bufs),
            false => self.wasi.fd_write(fd, bufs),
        };
        self.record_write(stream, bufs, result)
    }

    /// Like [`write`](Self::write). [`shutdown`](Self::shutdown) or [`close`](Self::close) follows at once when
    /// everything was taken, so a runtime that can send the end of the stream in the same packet may do so.
    ///
    /// # Errors
    /// Those of [`write`](Self::write).
    pub fn write_last(
        &mut self,
        stream: &Registration,
        bufs: &[IoSlice<'_>],
    ) -> Result<usize, Errno> {
        if self.is_blind() || self.refuses_more {
            return self.write(stream, bufs);
        }
        let fd = self.slots.fd(stream)?;
        match self.wasi.sock_send(fd, bufs, SendFlags::MORE) {
            Err(Errno::NOTSUP | Errno::NOSYS | Errno::INVAL | Errno::NOTCAPABLE) => {
                self.refuses_more = true;
                self.write(stream, bufs)
            }
            result => self.record_write(stream, bufs, result),
        }
    }

    fn record_write(
        &mut self,
        stream: &Registration,
        bufs: &[IoSlice<'_>],
        result: Result<usize, Errno>,
    ) -> Result<usize, Errno> {
        let result = match result {
            Ok(0) if bufs.iter().any(|buf| !buf.is_empty()) => Err(Errno::AGAIN),
            result => result,
        };
        self.record_result(stream, result)
    }

    /// Shuts down one or both directions.
    ///
    /// # Errors
    /// The error of `sock_shutdown`.
    pub fn shutdown(&mut self, stream: &Registration, how: Shutdown) -> Result<(), Errno> {
        let fd = self.slots.fd(stream)?;
        let result = match how {
            Shutdown::Both if self.closes_late() => shut_down(&self.wasi, fd),
            how => self.wasi.sock_shutdown(fd, how),
        };
        self.record_result(stream, result)
    }

    /// Ends the registration, then closes the file descriptor. The peer of a stream sees the end of the stream at
    /// once, even if the runtime closes the socket later.
    pub fn close(&mut self, registration: Registration) {
        let is_listener = self.slots.is_listener(&registration);
        match self.deregister(registration) {
            Some(fd) if is_listener => self.close_fd(fd),
            Some(fd) => self.close_stream(fd),
            None => {}
        }
    }

    /// Ends the registration. Returns the file descriptor, unless it is known not to be open any more.
    pub fn deregister(&mut self, registration: Registration) -> Option<Fd> {
        self.planner.record_progress();
        while let Some(stream) = self.next_kept(&registration) {
            self.close_stream(stream);
        }
        self.planner.remove(registration.index());
        self.slots.remove(registration)
    }

    /// Whether the file descriptor of a registration is known not to be open any more. Its number may belong to another
    /// one by now.
    pub fn is_evicted(&self, registration: &Registration) -> bool {
        self.slots.fd(registration).is_err()
    }

    /// Waits until something may be ready or `timeout` has passed (`None`: no timeout), and appends
    /// what may be ready to `ready`, at most one entry for each registration. It may return early, without any.
    ///
    /// # Errors
    /// Polling has failed many times in a row, with an error that isn't the fault of a connection.
    pub fn wait(&mut self, ready: &mut Vec<Ready>, timeout: Option<Duration>) -> Result<(), Errno> {
        let timeout = timeout.map_or(MAX_WAIT, |timeout| {
            u64::try_from(timeout.as_nanos())
                .unwrap_or(MAX_WAIT)
                .min(MAX_WAIT)
        });
        let before = ready.len();
        let result = self.wait_for(ready, timeout);
        self.planner.end_wait(self.now());
        self.without_progress = match ready.len() > before {
            true => self.without_progress.saturating_add(1),
            false => 0,
        };
        result
    }

    /// Polls which directions of a stream are ready now. If the runtime can't report that, none is.
    pub fn ready_now(&self, stream: &Registration) -> Interest {
        let (Ok(fd), false) = (self.slots.fd(stream), self.is_blind()) else {
            return Interest::NONE;
        };
        // Two polls: in one, a runtime may report both directions when one is ready.
        Interest {
            read: self.is_ready(Subscription::read(1, fd)),
            write: self.is_ready(Subscription::write(1, fd)),
        }
    }

    fn is_ready(&self, direction: Subscription) -> bool {
        let subscriptions = [direction, Subscription::clock(0, 0)];
        let mut events = [Event::default(); 2];
        let count = self
            .wasi
            .poll_oneoff(&subscriptions, &mut events)
            .unwrap_or(0);
        events.iter().take(count).any(|event| {
            let cannot_say = [Errno::NOTSUP, Errno::NOSYS, Errno::AGAIN].contains(&event.error);
            event.userdata == direction.userdata() && !cannot_say
        })
    }

    /// Records the result of a call on the file descriptor that didn't go through the poller.
    pub fn note(&mut self, registration: &Registration, result: Result<(), Errno>) {
        if self.slots.fd(registration).is_ok() {
            // The caller has the result already.
            let _ = self.record_result(registration, result);
        }
    }

    /// Takes the connections that the poller has accepted before the caller did. Call it before
    /// [`deregister`](Self::deregister), which would close them, if the listener is to stay in use.
    pub fn take_accepted(&mut self, listener: &Registration) -> Vec<Fd> {
        std::iter::from_fn(|| self.next_kept(listener)).collect()
    }

    fn record_result<T>(
        &mut self,
        registration: &Registration,
        result: Result<T, Errno>,
    ) -> Result<T, Errno> {
        let index = registration.index();
        self.slots.record_try(index, self.planner.wait_ended());
        match result {
            // After `INTR`, the next wait reports the direction again, and the caller tries again.
            Err(Errno::AGAIN | Errno::INTR) => {
                self.speculation.record_again();
                Err(Errno::AGAIN)
            }
            Ok(value) => {
                self.planner.record_progress_on(index);
                Ok(value)
            }
            // Not progress. A stream that fails is closed next, which is; a listener that can't accept for lack of
            // memory or file descriptors makes none.
            Err(errno) => {
                if errno == Errno::BADF {
                    self.slots.evict(index);
                }
                Err(errno)
            }
        }
    }
}

/// What it costs to poll one socket, in nanoseconds: a guess until the first window of idle connections
/// is polled and measured. After five windows, half of its error is left.
const INITIAL_POLL_COST: u64 = 500;

/// The longest wait, in nanoseconds (an hour). Some runtimes count milliseconds in an `i32`.
const MAX_WAIT: u64 = 3_600_000_000_000;

#[cfg(test)]
mod seeds;
#[cfg(test)]
mod tests;
