//! [`Poller`]: which sockets may be ready, on runtimes as they really are.
//!
//! # Theory of operation
//!
//! **Certain and doubtful.** wasmtime and wasmi report all subscriptions of a `poll_oneoff` when one is
//! ready. A read event with more than one byte, a hang-up or an error is *certain*; one byte may be a
//! byte, the end of the stream, or nothing at all: that is *doubtful*, as is every event of a listener
//! and every write event. A runtime that leaves some subscriptions out means what it reports, and then
//! every event is certain.
//!
//! **A poll that reports nothing is the truth.** A poll with a clock of no time that reports just the
//! clock says that none of its subscriptions is ready. So when a poll reports only what is doubtful,
//! the ready one is found by polling parts of the list ([`wait`]).
//!
//! **Busy and idle.** Which of the streams to poll is decided by [`poll_turns`]: each round polls the
//! busy ones and the listeners, and some idle ones in turn, on a budget. When nothing has happened for a
//! while, or only where it was idle, the wait is for all of them together.
//!
//! **Nearly all busy.** While nearly all of the busy ones have something in each round, as under a
//! full load, they are reported without a poll ([`speculate`]).
//!
//! # No connection starves
//!
//! With b busy connections, n idle ones, *p* the cost of a subscription and *a* the cost of a call
//! that returns `AGAIN` (both measured; on one machine with wasmtime 36, *p* is 0.4 µs among 1,000, 1 µs among
//! 5,000, whose sockets are in no cache, and *a* is 0.7 µs):
//!
//! | who | is reported within |
//! |---|---|
//! | a busy connection with two bytes or more, or an error | the next round |
//! | a busy connection whose event is doubtful (the end, one byte, room to write) | the first round after 16·a·b, at least 0.25 ms and at most 50 ms; the next round but one if nothing else is certain |
//! | a listener | the first round after 0.9 ms; the next round if nothing else is certain |
//! | an idle connection, while others are busy | one turn: 64·p·n at worst, 13·p·n when the caller works all the time, but not sooner than 10 ms with n above 256, nor than n / 512 rounds |
//! | an idle connection, when nothing is busy | at once |
//!
//! A round is one call of [`Poller::wait`] with what the caller does until the next. A host that
//! rounds times up to a tick (milliseconds, in some older ones) adds a tick to each poll that finds
//! nothing, and up to 8 for every factor of 8 among the doubtful ones.
//!
//! **A blind runtime** (wazero), whose poll doesn't look at sockets, is recognised at the start;
//! [`blind`] is about that. There closing does nothing at first either, and a few other calls may do
//! nothing anywhere; [`silent`] is about those.
//!
//! # Errors
//!
//! | the runtime answers | what happens |
//! |---|---|
//! | `BADF` to a whole poll | the guilty are found with `fd_fdstat_get` and evicted: only their owners get an event |
//! | `BADF` in an event | that registration is evicted |
//! | `IO` or another error in an event | that connection is reported readable, with the error |
//! | `NOTSUP`, `NOSYS`, `INTR`, `AGAIN` in an event | the direction is reported: it has to be tried |
//! | `INTR` to a poll | the wait ends without events |
//! | `INVAL` to a poll | shorter ones are tried, from then on: the host's poll(2) takes no more than `ulimit -n` |
//! | anything else to a poll (`NOMEM`, `IO`, …) | a short sleep, and everything is reported, to be tried; after 100 times in a row the wait fails |
//! | `AGAIN` after readiness | nothing: readiness is a hint |
//! | `INTR` to a read, write or accept | `AGAIN` |
//! | events, but never progress | after 8 waits of that kind in a row they begin to sleep, for at most 5 ms |

mod accepted;
mod blind;
mod poll;
mod silent;
mod slots;
mod speculate;
mod tries;
mod wait;

use std::io::IoSlice;
use std::time::Duration;

use crate::discover::NoListener;
use crate::errno::Errno;
use crate::wasi::{ClockId, Event, Fd, Shutdown, Subscription, Wasi};
use accepted::Accepted;
use blind::Sleep;
use poll::Poll;
use poll_turns::Planner;
pub use silent::{accept, shut_down, write_each};
pub use slots::{Interest, Registration};
use slots::{Kind, Slots};
use speculate::Speculation;
use tries::Tries;

/// The registered file descriptors of one event loop, and the wait for them.
///
/// It is level-triggered: what may be ready is reported by one [`wait`](Self::wait) after the
/// other until the interest goes or there is nothing left, though not by every one of them.
/// Accepting, reading, writing and closing go through the poller, so that it learns from the
/// answers.
///
/// A registered file descriptor belongs to its [`Registration`]: [`close`](Self::close) takes the
/// registration away before it closes the file descriptor, so none that is closed is ever polled.
#[derive(Debug)]
pub struct Poller<W> {
    wasi: W,
    slots: Slots,
    /// Which of the streams are busy, and what to poll.
    planner: Planner,
    tries: Tries,
    speculation: Speculation,
    runtime_kind: RuntimeKind,
    sleep: Sleep,
    accepted: Accepted,
    poll: Poll,
    /// Waits in a row that have reported something of which nothing came.
    without_progress: u32,
    /// Waits in a row that have failed.
    failures: u32,
    /// The last time that something doubtful was ready, only the listeners were reported.
    reported_only_listeners: bool,
    /// When it was last certain which of all were ready.
    resolved_at: u64,
}

/// Something that may be ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// What was given at registration.
    pub token: u64,
    /// It is a listener; [`readable`](Self::readable) means that there may be a connection.
    pub listener: bool,
    /// A read may give bytes, the end, or the error.
    pub readable: bool,
    /// A write may take bytes or give the error.
    pub writable: bool,
    /// The peer has hung up, or the connection has failed.
    pub read_closed: bool,
    /// What the runtime said has gone wrong.
    pub error: Option<Errno>,
}

/// Whether the runtime's `poll_oneoff` looks at sockets.
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
        }
    }

    /// The runtime.
    pub const fn wasi(&self) -> &W {
        &self.wasi
    }

    /// Nanoseconds of the monotonic clock.
    pub fn now(&self) -> u64 {
        self.wasi
            .clock_time_get(ClockId::Monotonic)
            .unwrap_or(self.planner.wait_ended())
    }

    /// Whether this runtime's `poll_oneoff` was found not to look at sockets, so that waiting is
    /// sleeping for short times.
    pub fn is_blind(&self) -> bool {
        self.runtime_kind == RuntimeKind::Blind
    }

    /// Registers a listener. It is made non-blocking, and tried.
    ///
    /// # Errors
    /// Accepting fails in a way that says that this is no listener, or that the runtime has no
    /// sockets.
    pub fn register_listener(&mut self, fd: Fd, token: u64) -> Result<Registration, NoListener> {
        let may_block = !self.make_nonblocking(fd);
        self.accepted.may_block |= may_block;
        let now = self.now();
        let registration = self
            .slots
            .insert(fd, token, Kind::Listener, Interest::READ, now);
        // Twice, because what `AGAIN` costs is measured, and the first call may be slow.
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
                // The first one in the queue has gone already.
                Err(_) => {}
            }
        }
        Ok(registration)
    }

    /// Registers a stream, which from now on belongs to the registration. It must be
    /// non-blocking.
    pub fn register(&mut self, fd: Fd, token: u64, interest: Interest) -> Registration {
        let now = self.planner.wait_ended();
        let registration = self.slots.insert(fd, token, Kind::Stream, interest, now);
        self.planner.insert(registration.index());
        registration
    }

    /// Changes what is waited for.
    pub fn set_interest(&mut self, registration: &Registration, interest: Interest) {
        self.slots.set_interest(registration, interest);
    }

    /// Accepts a connection; it is non-blocking.
    ///
    /// # Errors
    /// `AGAIN` when there is none; otherwise what `sock_accept` answered.
    pub fn accept(&mut self, listener: &Registration) -> Result<Fd, Errno> {
        let fd = self.slots.fd(listener)?;
        let result = self.next_connection(listener, fd);
        if result.is_ok() {
            self.reported_only_listeners = false;
        }
        self.record_result(listener, result)
    }

    /// Reads what there is; 0 is the end.
    ///
    /// # Errors
    /// `AGAIN` when there is nothing; otherwise what `fd_read` answered.
    pub fn read(&mut self, stream: &Registration, buf: &mut [u8]) -> Result<usize, Errno> {
        let result = self.wasi.fd_read(self.slots.fd(stream)?, buf);
        self.record_result(stream, result)
    }

    /// Writes from the slices in order.
    ///
    /// # Errors
    /// `AGAIN` when there is no room; otherwise what `fd_write` answered.
    pub fn write(&mut self, stream: &Registration, bufs: &[IoSlice<'_>]) -> Result<usize, Errno> {
        let fd = self.slots.fd(stream)?;
        let result = match self.is_blind() {
            true => write_each(&self.wasi, fd, bufs),
            false => self.wasi.fd_write(fd, bufs),
        };
        let result = match result {
            Ok(0) if bufs.iter().any(|buf| !buf.is_empty()) => Err(Errno::AGAIN),
            result => result,
        };
        self.record_result(stream, result)
    }

    /// Ends one or both directions.
    ///
    /// # Errors
    /// What `sock_shutdown` answered.
    pub fn shutdown(&mut self, stream: &Registration, how: Shutdown) -> Result<(), Errno> {
        let fd = self.slots.fd(stream)?;
        let result = match how {
            Shutdown::Both if self.closes_late() => shut_down(&self.wasi, fd),
            how => self.wasi.sock_shutdown(fd, how),
        };
        self.record_result(stream, result)
    }

    /// Ends the registration, then closes the file descriptor. The peer of a stream sees the end at
    /// once, even where the runtime closes only later.
    pub fn close(&mut self, registration: Registration) {
        let is_listener = self.slots.is_listener(&registration);
        match self.deregister(registration) {
            Some(fd) if is_listener => self.close_fd(fd),
            Some(fd) => self.close_stream(fd),
            None => {}
        }
    }

    /// Ends the registration and gives the file descriptor back, unless it was found to be open
    /// no more.
    pub fn deregister(&mut self, registration: Registration) -> Option<Fd> {
        self.planner.record_progress();
        while let Some(stream) = self.next_kept(&registration) {
            self.close_stream(stream);
        }
        self.planner.remove(registration.index());
        self.slots.remove(registration)
    }

    /// Waits until something may be ready or `timeout` has passed (`None`: for ever), and appends
    /// what may be ready to `ready`, one report for each registration. It may return early with
    /// nothing.
    ///
    /// # Errors
    /// Waiting has failed again and again in a way that is no connection's fault.
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

    /// Asks the runtime which directions of a stream are ready now. Where it can't say, none is.
    pub fn ready_now(&self, stream: &Registration) -> Interest {
        let (Ok(fd), false) = (self.slots.fd(stream), self.is_blind()) else {
            return Interest::NONE;
        };
        // Asked together, a runtime may report both when one is ready.
        Interest {
            read: self.is_ready(Subscription::read(1, fd)),
            write: self.is_ready(Subscription::write(1, fd)),
        }
    }

    fn is_ready(&self, direction: Subscription) -> bool {
        let asked = [direction, Subscription::clock(0, 0)];
        let mut events = [Event::default(); 2];
        let count = self.wasi.poll_oneoff(&asked, &mut events).unwrap_or(0);
        events.iter().take(count).any(|event| {
            let cannot_say = [Errno::NOTSUP, Errno::NOSYS, Errno::AGAIN].contains(&event.error);
            event.userdata == direction.userdata() && !cannot_say
        })
    }

    /// Tells the poller what a call on the file descriptor has answered that didn't go through it.
    pub fn note(&mut self, registration: &Registration, result: Result<(), Errno>) {
        if self.slots.fd(registration).is_ok() {
            // It is the caller's already.
            let _ = self.record_result(registration, result);
        }
    }

    /// Takes the connections that were accepted before anyone asked. For who ends a listener's
    /// registration, but goes on to accept: [`deregister`](Self::deregister) would close them.
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
            // An interrupted call is tried again after the next wait, which reports it again.
            Err(Errno::AGAIN | Errno::INTR) => {
                self.speculation.record_again();
                Err(Errno::AGAIN)
            }
            Ok(value) => {
                self.planner.record_progress_on(index);
                Ok(value)
            }
            // What fails is closed next, which is progress; a listener that can't accept for want of
            // memory or numbers is none.
            Err(errno) => {
                if errno == Errno::BADF {
                    self.slots.evict(index);
                }
                Err(errno)
            }
        }
    }
}

/// A guess at what it costs to poll one socket, in nanoseconds, until that is measured: by the first window of
/// idle ones. Half of an error is left after five windows.
const INITIAL_POLL_COST: u64 = 500;

/// Waits are cut to this, as some runtimes count milliseconds in an `i32`.
const MAX_WAIT: u64 = 3_600_000_000_000;

#[cfg(test)]
mod seeds;
#[cfg(test)]
mod tests;
