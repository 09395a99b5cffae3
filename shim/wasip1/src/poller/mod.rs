//! [`Poller`]: which sockets may be ready, on runtimes as they really are.

mod blind;
mod slots;

use std::io::IoSlice;
use std::time::Duration;

use crate::discover::NoListener;
use crate::errno::Errno;
use crate::wasi::{ClockId, Event, EventKind, Fd, FdFlags, FileType, Shutdown, Subscription, Wasi};
use blind::Sleep;
pub use slots::{Interest, Registration};
use slots::{Kind, Slots};

/// The registered file descriptors of one event loop, and the wait for them.
///
/// It is level-triggered: what may be ready is reported by every [`wait`](Self::wait) until the
/// call answers [`Errno::AGAIN`] or the interest goes. Accepting, reading, writing and closing go
/// through the poller, so that it learns from the answers.
///
/// A registered file descriptor belongs to its [`Registration`]: [`close`](Self::close) takes the
/// registration away before it closes the file descriptor, so none that is closed is ever polled.
#[derive(Debug)]
pub struct Poller<W> {
    wasi: W,
    slots: Slots,
    sight: Sight,
    sleep: Sleep,
    /// Connections that were accepted before anyone asked, with their listener's slot.
    accepted: Vec<(u32, Fd)>,
    /// Waits that failed one after the other.
    failures: u32,
    subscriptions: Vec<Subscription>,
    answers: Vec<Event>,
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

/// Waits are cut to this, as some runtimes count milliseconds in an `i32`.
const LONGEST_WAIT: u64 = 3_600_000_000_000;

/// After so many waits that failed one after the other, the failure is the caller's.
const GIVE_UP_AFTER: u32 = 100;

/// How long a failed wait sleeps, lest failing becomes a busy loop.
const PAUSE: u64 = 1_000_000;

impl<W: Wasi> Poller<W> {
    /// A poller without registrations.
    pub fn new(wasi: W) -> Self {
        Self {
            wasi,
            slots: Slots::default(),
            sight: Sight::Undecided,
            sleep: Sleep::default(),
            accepted: Vec::new(),
            failures: 0,
            subscriptions: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// The runtime.
    pub const fn wasi(&self) -> &W {
        &self.wasi
    }

    /// Nanoseconds of the monotonic clock.
    pub fn now(&self) -> u64 {
        self.wasi.clock_time_get(ClockId::Monotonic).unwrap_or(0)
    }

    /// Whether this runtime's `poll_oneoff` was found not to look at sockets, so that waiting is
    /// sleeping for short times.
    pub fn is_blind(&self) -> bool {
        self.sight == Sight::Blind
    }

    /// Registers a listener. It is made non-blocking, and tried once.
    ///
    /// # Errors
    /// Accepting fails in a way that says that this is no listener, or that the runtime has no
    /// sockets.
    pub fn register_listener(&mut self, fd: Fd, token: u64) -> Result<Registration, NoListener> {
        let may_block = !self.make_nonblocking(fd);
        let registration = self.slots.insert(fd, token, Kind::Listener, Interest::READ);
        if !may_block {
            match self.wasi.sock_accept(fd, FdFlags::NONBLOCK) {
                Ok(stream) => self.accepted.push((registration.index(), stream)),
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
                // Nobody is there, or the first one has gone already.
                Err(_) => {}
            }
        }
        Ok(registration)
    }

    /// Registers a stream, which from now on belongs to the registration. It must be
    /// non-blocking.
    pub fn register(&mut self, fd: Fd, token: u64, interest: Interest) -> Registration {
        self.slots.insert(fd, token, Kind::Stream, interest)
    }

    /// Changes what is waited for.
    pub fn set_interest(&mut self, registration: &Registration, interest: Interest) {
        if let Some(slot) = self.slots.get_mut(registration) {
            slot.interest = interest;
        }
    }

    /// Accepts a connection; it is non-blocking.
    ///
    /// # Errors
    /// `AGAIN` when there is none; otherwise what `sock_accept` answered.
    pub fn accept(&mut self, listener: &Registration) -> Result<Fd, Errno> {
        let fd = self.slots.fd(listener)?;
        if let Some(at) = self
            .accepted
            .iter()
            .position(|(of, _)| *of == listener.index())
        {
            self.sleep.progress();
            return Ok(self.accepted.remove(at).1);
        }
        let result = self.wasi.sock_accept(fd, FdFlags::NONBLOCK);
        self.learn(result)
    }

    /// Reads what there is; 0 is the end.
    ///
    /// # Errors
    /// `AGAIN` when there is nothing; otherwise what `fd_read` answered.
    pub fn read(&mut self, stream: &Registration, buf: &mut [u8]) -> Result<usize, Errno> {
        let result = self.wasi.fd_read(self.slots.fd(stream)?, buf);
        self.learn(result)
    }

    /// Writes from the slices in order.
    ///
    /// # Errors
    /// `AGAIN` when there is no room; otherwise what `fd_write` answered.
    pub fn write(&mut self, stream: &Registration, bufs: &[IoSlice<'_>]) -> Result<usize, Errno> {
        let result = self.wasi.fd_write(self.slots.fd(stream)?, bufs);
        self.learn(result)
    }

    /// Ends one or both directions.
    ///
    /// # Errors
    /// What `sock_shutdown` answered.
    pub fn shutdown(&mut self, stream: &Registration, how: Shutdown) -> Result<(), Errno> {
        let result = self.wasi.sock_shutdown(self.slots.fd(stream)?, how);
        self.learn(result)
    }

    /// Ends the registration, then closes the file descriptor.
    pub fn close(&mut self, registration: Registration) {
        if let Some(fd) = self.deregister(registration)
            && let Err(errno) = self.wasi.fd_close(fd)
        {
            log::debug!("fd_close({fd}): {errno}");
        }
    }

    /// Ends the registration and gives the file descriptor back, unless it was found to be open
    /// no more.
    pub fn deregister(&mut self, registration: Registration) -> Option<Fd> {
        self.accepted.retain(|(of, fd)| {
            let keep = *of != registration.index();
            if !keep {
                let _ = self.wasi.fd_close(*fd);
            }
            keep
        });
        self.slots.remove(registration)
    }

    /// Waits until something may be ready or `timeout` has passed (`None`: for ever), and appends
    /// what may be ready to `ready`. It may return early with nothing.
    ///
    /// # Errors
    /// Waiting has failed again and again in a way that is no connection's fault.
    pub fn wait(&mut self, ready: &mut Vec<Ready>, timeout: Option<Duration>) -> Result<(), Errno> {
        if self.sight == Sight::Undecided {
            self.sight = self.decide_sight();
        }
        let timeout = timeout.map_or(LONGEST_WAIT, |timeout| {
            u64::try_from(timeout.as_nanos())
                .unwrap_or(LONGEST_WAIT)
                .min(LONGEST_WAIT)
        });
        if !self.accepted.is_empty() {
            self.report_everything(ready);
            return Ok(());
        }
        if self.sight == Sight::Blind {
            return self.wait_blindly(ready, timeout);
        }
        self.subscribe(timeout);
        match self.poll() {
            Ok(count) => {
                self.failures = 0;
                self.report(count, ready);
                Ok(())
            }
            Err(Errno::INTR) => Ok(()),
            Err(Errno::BADF) => self.evict_the_guilty(ready),
            Err(errno) => self.fall_back(errno, ready),
        }
    }

    fn learn<T>(&mut self, result: Result<T, Errno>) -> Result<T, Errno> {
        match result {
            Err(Errno::AGAIN) => Err(Errno::AGAIN),
            // To be tried again after the next wait, which will report it again.
            Err(Errno::INTR) => Err(Errno::AGAIN),
            other => {
                self.sleep.progress();
                other
            }
        }
    }

    /// Makes a listener non-blocking. Whether that is sure is the answer: true as well for what is
    /// no socket, and so can't block either.
    fn make_nonblocking(&self, fd: Fd) -> bool {
        let stat = self.wasi.fd_fdstat_get(fd);
        let flags = stat.map_or(FdFlags::EMPTY, |stat| stat.flags);
        if flags.is_nonblock() {
            return true;
        }
        match self
            .wasi
            .fd_fdstat_set_flags(fd, FdFlags(flags.0 | FdFlags::NONBLOCK.0))
        {
            Ok(()) => true,
            Err(_) if stat.is_ok_and(|stat| stat.file_type != FileType::SOCKET_STREAM) => true,
            Err(errno) => {
                log::warn!("the listener at fd {fd} can't be made non-blocking: {errno}");
                false
            }
        }
    }

    /// The list for `poll_oneoff`: the clock, and each direction of interest.
    fn subscribe(&mut self, timeout: u64) {
        self.subscriptions.clear();
        self.subscriptions.push(Subscription::clock(0, timeout));
        for (userdata, slot) in self.slots.polled() {
            if slot.interest.read {
                self.subscriptions
                    .push(Subscription::read(userdata, slot.fd));
            }
            if slot.interest.write {
                self.subscriptions
                    .push(Subscription::write(userdata, slot.fd));
            }
        }
    }

    fn poll(&mut self) -> Result<usize, Errno> {
        let room = self.subscriptions.len();
        if self.answers.len() < room {
            self.answers.resize(room, Event::default());
        }
        let count = self
            .wasi
            .poll_oneoff(&self.subscriptions, &mut self.answers[..room])?;
        Ok(count.min(room))
    }

    /// Turns the first `count` answers into reports, one for each registration.
    fn report(&mut self, count: usize, ready: &mut Vec<Ready>) {
        let first = ready.len();
        for answer in &self.answers[..count] {
            if answer.kind() == EventKind::Clock {
                continue;
            }
            let Some(slot) = self.slots.by_userdata(answer.userdata) else {
                continue;
            };
            let at = match slot.reported {
                Some(at) => at.get() as usize - 1 + first,
                None => {
                    ready.push(slot.nothing_ready());
                    slot.set_reported(ready.len() - 1 - first);
                    ready.len() - 1
                }
            };
            let report = &mut ready[at];
            match answer.error {
                Errno::SUCCESS => {
                    report.readable |= answer.kind() == EventKind::Read;
                    report.writable |= answer.kind() == EventKind::Write;
                    report.read_closed |= answer.hangup();
                }
                // The runtime can't tell; so it must be tried.
                Errno::NOTSUP | Errno::NOSYS | Errno::INTR | Errno::AGAIN => {
                    report.readable |= answer.kind() == EventKind::Read;
                    report.writable |= answer.kind() == EventKind::Write;
                }
                errno => {
                    report.readable = true;
                    report.writable = slot.interest.write;
                    report.read_closed = true;
                    report.error = Some(errno);
                    slot.evicted |= errno == Errno::BADF;
                }
            }
        }
        for answer in &self.answers[..count] {
            if let Some(slot) = self.slots.by_userdata(answer.userdata) {
                slot.reported = None;
            }
        }
    }

    /// Reports every direction of interest, because there is no way to know better.
    fn report_everything(&mut self, ready: &mut Vec<Ready>) {
        ready.extend(self.slots.polled().map(|(_, slot)| {
            let Interest { read, write } = slot.interest;
            Ready {
                readable: read,
                writable: write,
                ..slot.nothing_ready()
            }
        }));
    }

    /// The runtime has refused the whole list for a file descriptor that isn't open, without
    /// saying which.
    fn evict_the_guilty(&mut self, ready: &mut Vec<Ready>) -> Result<(), Errno> {
        let before = ready.len();
        for slot in self.slots.polled_mut() {
            if self.wasi.fd_fdstat_get(slot.fd) != Err(Errno::BADF) {
                continue;
            }
            slot.evicted = true;
            ready.push(Ready {
                readable: true,
                read_closed: true,
                error: Some(Errno::BADF),
                ..slot.nothing_ready()
            });
        }
        if ready.len() > before {
            Ok(())
        } else {
            self.fall_back(Errno::BADF, ready)
        }
    }

    /// A wait has failed and no one is guilty: sleep a little, then have everything tried.
    fn fall_back(&mut self, errno: Errno, ready: &mut Vec<Ready>) -> Result<(), Errno> {
        self.failures += 1;
        if self.failures >= GIVE_UP_AFTER {
            return Err(errno);
        }
        log::debug!("poll_oneoff: {errno}; trying everything instead");
        self.sleep_for(PAUSE);
        self.report_everything(ready);
        Ok(())
    }

    fn sleep_for(&mut self, nanos: u64) {
        let mut answer = [Event::default()];
        // Whatever it answers, time has passed or hasn't; the caller goes on.
        let _ = self
            .wasi
            .poll_oneoff(&[Subscription::clock(0, nanos)], &mut answer);
    }
}

#[cfg(test)]
mod tests;
