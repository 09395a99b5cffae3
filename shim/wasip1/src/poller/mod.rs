//! [`Poller`]: which sockets may be ready, on runtimes as they really are.
//!
//! # Theory of operation
//!
//! **Sure and maybe.** wasmtime and wasmi answer a `poll_oneoff` in which one subscription is ready
//! by reporting all of them. A read event with more than one byte, a hang-up or an error is *sure*;
//! one byte may be a byte, the end of the stream, or nothing at all: a *maybe*, as is every event
//! of a listener and every write event. A runtime that leaves some subscriptions out of its answer
//! means what it says, and then every event is sure.
//!
//! **A poll that reports nothing is the truth.** A poll with a clock of no time that answers with
//! just the clock says that none of its subscriptions is ready. So when a poll reports only maybes,
//! the ready one is found by polling parts of the list ([`wait`]).
//!
//! **Busy and idle.** A connection where something happened within [`budget::BUSY_FOR`] is busy,
//! the others are idle ([`slots`]). Each round polls the busy ones and the listeners. The idle ones
//! are looked at in turn, a window at a time, on a budget ([`budget`]). When nothing has happened
//! for as long, or only where it was idle, the wait is for all of them together.
//!
//! **Nearly all busy.** While nearly all of the busy ones have something in each round, as under a
//! full load, they are reported without a poll ([`speculate`]).
//!
//! # Nobody starves
//!
//! With b busy connections, n idle ones, *p* the cost of a subscription and *a* the cost of a call
//! that answers `AGAIN` (both measured; on one machine with wasmtime 36, *p* is 0.4 µs among 1,000, 1 µs among
//! 5,000, whose sockets are in no cache, and *a* is 0.7 µs):
//!
//! | who | is reported within |
//! |---|---|
//! | a busy connection with two bytes or more, or an error | the next round |
//! | a busy connection with a maybe (the end, one byte, room to write) | the first round after 16·a·b, at least 0.25 ms and at most 50 ms; the next round but one if nothing else is sure |
//! | a listener | the first round after 1 ms; the next round if nothing else is sure |
//! | an idle connection, while others are busy | one turn: 64·p·n at worst, 13·p·n when the caller works all the time, but not sooner than 10 ms with n above 256, nor than n / 512 rounds |
//! | an idle connection, when nothing is busy | at once |
//!
//! A round is one call of [`Poller::wait`] with what the caller does until the next. A host that
//! rounds times up to a tick (milliseconds, in some older ones) adds a tick to each poll that finds
//! nothing, and up to 8 for every factor of 8 among the maybes.
//!
//! **A blind runtime** (wazero), whose poll doesn't look at sockets, is recognised at the start;
//! [`blind`] is about that. There closing does nothing at first either, and a few other calls may do
//! nothing anywhere; [`silent`] is about those.
//!
//! # Errors
//!
//! | the runtime answers | what happens |
//! |---|---|
//! | `BADF` to a whole poll | the guilty are found with `fd_fdstat_get` and evicted: only their owners are told |
//! | `BADF` in an event | that registration is evicted |
//! | `IO` or another error in an event | that connection is reported readable, with the error |
//! | `NOTSUP`, `NOSYS`, `INTR`, `AGAIN` in an event | the direction is reported: it has to be tried |
//! | `INTR` to a poll | the wait ends without events |
//! | `INVAL` to a poll | shorter ones are tried, from then on: the host's poll(2) takes no more than `ulimit -n` |
//! | anything else to a poll (`NOMEM`, `IO`, …) | a short sleep, and everything is reported, to be tried; after 100 times in a row the wait fails |
//! | `AGAIN` after readiness | nothing: readiness is a hint |
//! | `INTR` to a read, write or accept | `AGAIN` |
//! | events, but never progress | after 8 waits of that kind in a row they begin to sleep, for at most 5 ms |

mod blind;
mod budget;
mod look;
mod silent;
mod slots;
mod speculate;
mod wait;

use std::io::IoSlice;
use std::time::Duration;

use crate::discover::NoListener;
use crate::errno::Errno;
use crate::wasi::{ClockId, Event, Fd, Shutdown, Subscription, Wasi};
use blind::Sleep;
use budget::Budget;
use look::Seen;
pub use silent::{accept, shut_down, write_each};
pub use slots::{Interest, Registration};
use slots::{Kind, Slots};
use speculate::Speculation;

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
    sight: Sight,
    sleep: Sleep,
    budget: Budget,
    speculation: Speculation,
    /// The time when the last wait returned.
    clock: u64,
    /// Something has happened since then.
    progress: bool,
    /// The last wait has reported something.
    reported: bool,
    /// Waits in a row that reported something, but nothing came of it.
    vain: u32,
    /// A listener can't be made non-blocking.
    may_block: bool,
    /// Whether connections are blocking when they are accepted, once that is known.
    accepts_blocking: Option<bool>,
    /// An idle connection was reported in this round.
    found_idle: bool,
    /// The last wait for everything has found idle connections, and no busy ones.
    only_idle: bool,
    /// Only the listeners were reported when something unknown was ready.
    blamed_listeners: bool,
    /// When it was last found out which of the maybes of a wait for everything are ready.
    resolved: u64,
    /// Connections that were accepted before anyone asked, with their listener's slot.
    accepted: Vec<(u32, Fd)>,
    /// Waits that failed one after the other.
    failures: u32,
    /// The most subscriptions that are polled at once.
    most: usize,
    /// The slots of the present poll.
    list: Vec<u32>,
    subscriptions: Vec<Subscription>,
    answers: Vec<Event>,
    seen: Vec<Seen>,
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
enum Sight {
    Undecided,
    Sighted,
    Blind,
}

impl<W: Wasi> Poller<W> {
    /// A poller without registrations.
    pub fn new(wasi: W) -> Self {
        Self {
            wasi,
            slots: Slots::default(),
            sight: Sight::Undecided,
            sleep: Sleep::default(),
            budget: Budget::default(),
            speculation: Speculation::default(),
            clock: 0,
            progress: false,
            reported: false,
            vain: 0,
            may_block: false,
            accepts_blocking: None,
            found_idle: false,
            only_idle: false,
            blamed_listeners: false,
            resolved: 0,
            accepted: Vec::new(),
            failures: 0,
            most: usize::MAX,
            list: Vec::new(),
            subscriptions: Vec::new(),
            answers: Vec::new(),
            seen: Vec::new(),
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
            .unwrap_or(self.clock)
    }

    /// Whether this runtime's `poll_oneoff` was found not to look at sockets, so that waiting is
    /// sleeping for short times.
    pub fn is_blind(&self) -> bool {
        self.sight == Sight::Blind
    }

    /// Registers a listener. It is made non-blocking, and tried.
    ///
    /// # Errors
    /// Accepting fails in a way that says that this is no listener, or that the runtime has no
    /// sockets.
    pub fn register_listener(&mut self, fd: Fd, token: u64) -> Result<Registration, NoListener> {
        let may_block = !self.make_nonblocking(fd);
        self.may_block |= may_block;
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
                Ok(stream) => self.keep_accepted(registration.index(), stream),
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
                Err(Errno::AGAIN) => self.budget.again_took(self.now().saturating_sub(before)),
                // The first one in the queue has gone already.
                Err(_) => {}
            }
        }
        Ok(registration)
    }

    /// Registers a stream, which from now on belongs to the registration. It must be
    /// non-blocking.
    pub fn register(&mut self, fd: Fd, token: u64, interest: Interest) -> Registration {
        self.slots
            .insert(fd, token, Kind::Stream, interest, self.clock)
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
        let result = match self.next_accepted(listener) {
            Some(stream) => Ok(stream),
            None => self.accept_from(fd),
        };
        if let Ok(stream) = result {
            self.forget_accepted(stream);
        }
        if result.is_ok() {
            self.blamed_listeners = false;
        }
        self.learn(listener, result)
    }

    /// Reads what there is; 0 is the end.
    ///
    /// # Errors
    /// `AGAIN` when there is nothing; otherwise what `fd_read` answered.
    pub fn read(&mut self, stream: &Registration, buf: &mut [u8]) -> Result<usize, Errno> {
        let result = self.wasi.fd_read(self.slots.fd(stream)?, buf);
        self.learn(stream, result)
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
        self.learn(stream, result)
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
        self.learn(stream, result)
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
        self.progress = true;
        while let Some(stream) = self.next_accepted(&registration) {
            self.close_stream(stream);
        }
        self.slots.remove(registration)
    }

    /// Waits until something may be ready or `timeout` has passed (`None`: for ever), and appends
    /// what may be ready to `ready`, one report for each registration. It may return early with
    /// nothing.
    ///
    /// # Errors
    /// Waiting has failed again and again in a way that is no connection's fault.
    pub fn wait(&mut self, ready: &mut Vec<Ready>, timeout: Option<Duration>) -> Result<(), Errno> {
        let timeout = timeout.map_or(LONGEST_WAIT, |timeout| {
            u64::try_from(timeout.as_nanos())
                .unwrap_or(LONGEST_WAIT)
                .min(LONGEST_WAIT)
        });
        let before = ready.len();
        let result = self.wait_for(ready, timeout);
        self.clock = self.now();
        self.reported = ready.len() > before;
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
            let _ = self.learn(registration, result);
        }
    }

    /// Takes the connections that were accepted before anyone asked. For who ends a listener's
    /// registration, but goes on to accept: [`deregister`](Self::deregister) would close them.
    pub fn take_accepted(&mut self, listener: &Registration) -> Vec<Fd> {
        std::iter::from_fn(|| self.next_accepted(listener)).collect()
    }

    /// Keeps a connection that was accepted before anyone has asked for it.
    fn keep_accepted(&mut self, listener: u32, stream: Fd) {
        self.forget_accepted(stream);
        self.accepted.push((listener, stream));
    }

    /// The first one that was kept for the listener.
    fn next_accepted(&mut self, listener: &Registration) -> Option<Fd> {
        loop {
            let mut kept = self.accepted.iter();
            let at = kept.position(|(of, _)| *of == listener.index())?;
            let (_, stream) = self.accepted.remove(at);
            if self.is_open(stream) {
                return Some(stream);
            }
        }
    }

    /// A file descriptor has this number now: what was kept with it was closed behind our back.
    fn forget_accepted(&mut self, stream: Fd) {
        self.accepted.retain(|(_, fd)| *fd != stream);
    }

    /// Whether nobody has closed a file descriptor that wasn't polled yet: then its number may be
    /// another's soon.
    fn is_open(&self, fd: Fd) -> bool {
        self.wasi.fd_fdstat_get(fd) != Err(Errno::BADF)
    }

    fn learn<T>(
        &mut self,
        registration: &Registration,
        result: Result<T, Errno>,
    ) -> Result<T, Errno> {
        match result {
            // An interrupted call is tried again after the next wait, which reports it again.
            Err(Errno::AGAIN | Errno::INTR) => {
                self.speculation.refused();
                self.slots.tried(registration.index(), self.clock);
                Err(Errno::AGAIN)
            }
            Ok(value) => {
                self.progress = true;
                self.slots.touch(registration.index(), self.clock);
                Ok(value)
            }
            Err(errno) => {
                // What fails is closed next, which is progress; a listener that can't accept for
                // want of memory or numbers is none.
                self.slots.tried(registration.index(), self.clock);
                if errno == Errno::BADF {
                    self.slots.evict(registration.index());
                }
                Err(errno)
            }
        }
    }
}

/// Waits are cut to this, as some runtimes count milliseconds in an `i32`.
const LONGEST_WAIT: u64 = 3_600_000_000_000;

#[cfg(test)]
mod seeds;
#[cfg(test)]
mod tests;
