//! [`Traced`]: every call as one line, like strace.
//!
//! The lines go to the log at level `trace` with the target `wasi`:
//!
//! ```text
//! sock_accept(3, NONBLOCK) = 5 <8.1us>
//! conn 7: fd_read(5, [65536]) = 82 <12.3us>
//! conn 7: fd_read(5, [65536]) = AGAIN <6.1us>
//! poll_oneoff([clock 1.500000000s, 3:read, 5(conn 7):read], 3) = 1 [5(conn 7):read nbytes=82] <112.0us>
//! ```
//!
//! The numbers of file descriptors are used again, so a server tells by [`name`] which connection one
//! belongs to; then all lines of a connection, and the waits that it was part of, can be picked out:
//! `grep -w 'conn 7'`.
//!
//! When that level is off a call costs one relaxed atomic load more, and no clock is read.

use std::cell::RefCell;
use std::fmt::{self, Display};
use std::io::IoSlice;
use std::time::Duration;

use crate::errno::Errno;
use crate::wasi::{ClockId, Event, EventKind, Fd, FdFlags, Fdstat, Shutdown, Subscription, Wasi};

/// A [`Wasi`] that logs each call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traced<W>(pub W);

impl<W> Traced<W> {
    /// What is traced.
    pub const fn inner(&self) -> &W {
        &self.0
    }
}

/// The log target of the lines.
pub const TARGET: &str = "wasi";

/// Tells which connection a file descriptor belongs to, from now until it is closed.
///
/// It does nothing while nothing is traced.
pub fn name(fd: Fd, connection: u64) {
    if is_on() {
        NAMES.with_borrow_mut(|names| names.set(fd, Some(connection)));
    }
}

thread_local! {
    /// File descriptors are the whole process', and so are their names.
    static NAMES: RefCell<Names> = const { RefCell::new(Names(Vec::new())) };
}

/// Connections by file descriptor, in its order. (A map of std's is 5 kB more of a module.)
struct Names(Vec<(Fd, u64)>);

impl Names {
    fn get(&self, fd: Fd) -> Option<u64> {
        self.place(fd).ok().map(|place| self.0[place].1)
    }

    fn set(&mut self, fd: Fd, connection: Option<u64>) {
        match (self.place(fd), connection) {
            (Ok(place), Some(connection)) => self.0[place].1 = connection,
            (Err(place), Some(connection)) => self.0.insert(place, (fd, connection)),
            (Ok(place), None) => drop(self.0.remove(place)),
            (Err(_), None) => {}
        }
    }

    fn place(&self, fd: Fd) -> Result<usize, usize> {
        self.0.binary_search_by_key(&fd, |(fd, _)| *fd)
    }
}

/// How many subscriptions and events one line shows.
const SHOWN: usize = 32;

impl<W: Wasi> Wasi for Traced<W> {
    fn poll_oneoff(
        &self,
        subscriptions: &[Subscription],
        events: &mut [Event],
    ) -> Result<usize, Errno> {
        if !is_on() {
            return self.0.poll_oneoff(subscriptions, events);
        }
        let start = self.start();
        let result = self.0.poll_oneoff(subscriptions, events);
        let took = self.since(start);
        let asked = Subscriptions(subscriptions);
        let count = subscriptions.len();
        match result {
            Ok(n) => {
                let told = Events(&events[..n], subscriptions);
                log::trace!(target: TARGET, "poll_oneoff({asked}, {count}) = {n} {told} <{took}>");
            }
            Err(errno) => {
                let name = errno.name();
                log::trace!(target: TARGET, "poll_oneoff({asked}, {count}) = {name} <{took}>");
            }
        }
        result
    }

    fn sock_accept(&self, fd: Fd, flags: FdFlags) -> Result<Fd, Errno> {
        self.call(
            fd,
            || self.0.sock_accept(fd, flags),
            |f| write!(f, "sock_accept({fd}, {})", Flags(flags)),
            |fd, f| write!(f, "{fd}"),
        )
    }

    fn fd_read(&self, fd: Fd, buf: &mut [u8]) -> Result<usize, Errno> {
        let room = buf.len();
        self.call(
            fd,
            || self.0.fd_read(fd, buf),
            |f| write!(f, "fd_read({fd}, [{room}])"),
            |n, f| write!(f, "{n}"),
        )
    }

    fn fd_write(&self, fd: Fd, bufs: &[IoSlice<'_>]) -> Result<usize, Errno> {
        self.call(
            fd,
            || self.0.fd_write(fd, bufs),
            |f| {
                write!(f, "fd_write({fd}, [")?;
                list(f, bufs.iter().map(|buf| buf.len()), bufs.len())?;
                write!(f, "])")
            },
            |n, f| write!(f, "{n}"),
        )
    }

    fn sock_shutdown(&self, fd: Fd, how: Shutdown) -> Result<(), Errno> {
        let name = match how {
            Shutdown::Read => "RD",
            Shutdown::Write => "WR",
            Shutdown::Both => "RD|WR",
        };
        self.call(
            fd,
            || self.0.sock_shutdown(fd, how),
            |f| write!(f, "sock_shutdown({fd}, {name})"),
            |(), f| write!(f, "0"),
        )
    }

    fn fd_close(&self, fd: Fd) -> Result<(), Errno> {
        let result = self.call(
            fd,
            || self.0.fd_close(fd),
            |f| write!(f, "fd_close({fd})"),
            |(), f| write!(f, "0"),
        );
        if is_on() {
            NAMES.with_borrow_mut(|names| names.set(fd, None));
        }
        result
    }

    fn fd_fdstat_get(&self, fd: Fd) -> Result<Fdstat, Errno> {
        self.call(
            fd,
            || self.0.fd_fdstat_get(fd),
            |f| write!(f, "fd_fdstat_get({fd})"),
            |stat, f| write!(f, "{} {}", stat.file_type.name(), Flags(stat.flags)),
        )
    }

    fn fd_fdstat_set_flags(&self, fd: Fd, flags: FdFlags) -> Result<(), Errno> {
        self.call(
            fd,
            || self.0.fd_fdstat_set_flags(fd, flags),
            |f| write!(f, "fd_fdstat_set_flags({fd}, {})", Flags(flags)),
            |(), f| write!(f, "0"),
        )
    }

    fn fd_prestat_get(&self, fd: Fd) -> Result<usize, Errno> {
        self.call(
            fd,
            || self.0.fd_prestat_get(fd),
            |f| write!(f, "fd_prestat_get({fd})"),
            |n, f| write!(f, "DIR name_len={n}"),
        )
    }

    fn fd_prestat_dir_name(&self, fd: Fd, name: &mut [u8]) -> Result<(), Errno> {
        let room = name.len();
        self.call(
            fd,
            || self.0.fd_prestat_dir_name(fd, name),
            |f| write!(f, "fd_prestat_dir_name({fd}, [{room}])"),
            |(), f| write!(f, "0"),
        )
    }

    /// Not logged: it would be every second line, and is how the others are timed.
    fn clock_time_get(&self, clock: ClockId) -> Result<u64, Errno> {
        self.0.clock_time_get(clock)
    }
}

impl<W: Wasi> Traced<W> {
    fn call<T>(
        &self,
        fd: Fd,
        run: impl FnOnce() -> Result<T, Errno>,
        name: impl Fn(&mut fmt::Formatter<'_>) -> fmt::Result,
        value: impl Fn(&T, &mut fmt::Formatter<'_>) -> fmt::Result,
    ) -> Result<T, Errno> {
        if !is_on() {
            return run();
        }
        let start = self.start();
        let result = run();
        let took = self.since(start);
        let value = Shown(|f: &mut fmt::Formatter<'_>| match &result {
            Ok(ok) => value(ok, f),
            Err(errno) => f.write_str(errno.name()),
        });
        log_call(fd, &Shown(name), &value, &took);
        result
    }

    fn start(&self) -> u64 {
        self.0.clock_time_get(ClockId::Monotonic).unwrap_or(0)
    }

    fn since(&self, start: u64) -> Took {
        Took(self.start().saturating_sub(start))
    }
}

/// Not generic, so that a module has it once and not for each call.
#[cold]
fn log_call(fd: Fd, name: &dyn Display, value: &dyn Display, took: &Took) {
    let of = Of(fd);
    log::trace!(target: TARGET, "{of}{name} = {value} <{took}>");
}

/// One relaxed load unless some target is at `trace`; only then is the logger asked.
fn is_on() -> bool {
    log::log_enabled!(target: TARGET, log::Level::Trace)
}

/// Nanoseconds.
struct Took(u64);

impl Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In whole numbers: the code that formats the others takes 10 kB of a module.
        let tenths = self.0.saturating_add(50) / 100;
        write!(f, "{}.{}us", tenths / 10, tenths % 10)
    }
}

struct Shown<F>(F);

impl<F: Fn(&mut fmt::Formatter<'_>) -> fmt::Result> Display for Shown<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.0)(f)
    }
}

struct Flags(FdFlags);

impl Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            FdFlags::EMPTY => write!(f, "0"),
            FdFlags::NONBLOCK => write!(f, "NONBLOCK"),
            FdFlags(other) => write!(f, "{other:#x}"),
        }
    }
}

/// What a line about one file descriptor begins with: its connection, if that is known.
struct Of(Fd);

impl Display for Of {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.with_borrow(|names| names.get(self.0)) {
            Some(connection) => write!(f, "conn {connection}: "),
            None => Ok(()),
        }
    }
}

/// A file descriptor among others, with its connection if that is known.
struct Named(Fd);

impl Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.with_borrow(|names| names.get(self.0)) {
            Some(connection) => write!(f, "{}(conn {connection})", self.0),
            None => write!(f, "{}", self.0),
        }
    }
}

/// Subscriptions; two directions of one fd that stand side by side are shown as one.
struct Subscriptions<'a>(&'a [Subscription]);

impl Display for Subscriptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let same = |a: &Subscription, b: &Subscription| a.fd().is_some() && a.fd() == b.fd();
        let items = self.0.chunk_by(same).map(|group| {
            Shown(move |f: &mut fmt::Formatter<'_>| {
                let Some(fd) = group[0].fd() else {
                    let timeout = Duration::from_nanos(group[0].timeout());
                    let (seconds, nanos) = (timeout.as_secs(), timeout.subsec_nanos());
                    return write!(f, "clock {seconds}.{nanos:09}s");
                };
                write!(f, "{}:", Named(fd))?;
                for (at, subscription) in group.iter().enumerate() {
                    let separator = if at == 0 { "" } else { "|" };
                    write!(f, "{separator}{}", direction(subscription.kind()))?;
                }
                Ok(())
            })
        });
        write!(f, "[")?;
        list(f, items, self.0.chunk_by(same).count())?;
        write!(f, "]")
    }
}

/// Events, with the fd of the subscription each belongs to.
struct Events<'a>(&'a [Event], &'a [Subscription]);

impl Display for Events<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fd_of = |event: &Event| {
            let matches =
                |s: &&Subscription| s.userdata() == event.userdata && s.kind() == event.kind();
            self.1.iter().find(matches).and_then(Subscription::fd)
        };
        let items = self.0.iter().map(|event| {
            Shown(move |f: &mut fmt::Formatter<'_>| {
                match fd_of(event) {
                    Some(fd) => write!(f, "{}:{}", Named(fd), direction(event.kind()))?,
                    None => write!(f, "{}", direction(event.kind()))?,
                }
                if event.error != Errno::SUCCESS {
                    return write!(f, " {}", event.error.name());
                }
                if event.kind() == EventKind::Read {
                    write!(f, " nbytes={}", event.nbytes)?;
                }
                if event.hangup() {
                    write!(f, " HANGUP")
                } else {
                    Ok(())
                }
            })
        });
        write!(f, "[")?;
        list(f, items, self.0.len())?;
        write!(f, "]")
    }
}

fn direction(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Clock => "clock",
        EventKind::Read => "read",
        EventKind::Write => "write",
        EventKind::Unknown => "(unknown)",
    }
}

fn list<T: Display>(
    f: &mut fmt::Formatter<'_>,
    items: impl Iterator<Item = T>,
    count: usize,
) -> fmt::Result {
    for (at, item) in items.take(SHOWN).enumerate() {
        let separator = if at == 0 { "" } else { ", " };
        write!(f, "{separator}{item}")?;
    }
    if count > SHOWN {
        write!(f, ", {} more", count - SHOWN)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_reads_like_strace() {
        let asked = [
            Subscription::clock(0, 1_500_000_000),
            Subscription::read(1, 3),
            Subscription::read(2, 5),
            Subscription::write(2, 5),
        ];
        assert_eq!(
            Subscriptions(&asked).to_string(),
            "[clock 1.500000000s, 3:read, 5:read|write]"
        );
        let told = [
            Event::new(2, EventKind::Read).with_nbytes(82),
            Event::new(2, EventKind::Write),
            Event::new(1, EventKind::Read).with_error(Errno::IO),
            Event::new(1, EventKind::Read).with_nbytes(1).with_hangup(),
            Event::new(0, EventKind::Clock),
        ];
        assert_eq!(
            Events(&told, &asked).to_string(),
            "[5:read nbytes=82, 5:write, 3:read IO, 3:read nbytes=1 HANGUP, clock]"
        );
    }

    #[test]
    fn a_time_has_one_decimal() {
        let shown = |nanos| Took(nanos).to_string();
        assert_eq!(shown(0), "0.0us");
        assert_eq!(shown(949), "0.9us");
        assert_eq!(shown(950), "1.0us");
        assert_eq!(shown(1_952_815_449), "1952815.4us");
    }

    #[test]
    fn a_name_is_that_of_the_last_connection() {
        let mut names = Names(Vec::new());
        for (fd, connection) in [(5, 1), (4, 2), (9, 3), (5, 4)] {
            names.set(fd, Some(connection));
        }
        names.set(9, None);
        names.set(8, None);
        assert_eq!(
            [4, 5, 8, 9].map(|fd| names.get(fd)),
            [Some(2), Some(4), None, None]
        );
    }

    #[test]
    fn a_connection_can_be_picked_out() {
        NAMES.with_borrow_mut(|names| names.set(5, Some(7)));
        let asked = [Subscription::read(1, 3), Subscription::read(2, 5)];
        assert_eq!(
            Subscriptions(&asked).to_string(),
            "[3:read, 5(conn 7):read]"
        );
        let told = [Event::new(2, EventKind::Read).with_nbytes(82)];
        assert_eq!(
            Events(&told, &asked).to_string(),
            "[5(conn 7):read nbytes=82]"
        );
        assert_eq!(
            (Of(5).to_string(), Of(3).to_string()),
            ("conn 7: ".into(), String::new())
        );
    }

    #[test]
    fn long_lists_are_cut() {
        let asked: Vec<_> = (0..40).map(|fd| Subscription::read(0, fd)).collect();
        assert!(
            Subscriptions(&asked)
                .to_string()
                .ends_with("31:read, 8 more]")
        );
    }
}
