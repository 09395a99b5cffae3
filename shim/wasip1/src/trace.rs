//! [`Traced`]: logs each call as one line, like strace.
//!
//! The lines go to the log at level `trace` with the target `wasi`:
//!
//! ```text
//! sock_accept(3, NONBLOCK) = 5 <8.1us>
//! fd_read(5, [65536]) = 82 <12.3us>
//! fd_read(5, [65536]) = AGAIN <6.1us>
//! poll_oneoff([clock 1.500000000s, 3:read, 5:read], 3) = 1 [5:read nbytes=82] <112.0us>
//! ```
//!
//! The number of a file descriptor may be used again. It belongs to the connection that was last accepted
//! with it.
//!
//! When that level is off, a call costs one relaxed atomic load more, and the clock is not read.

use std::cell::RefCell;
use std::fmt::{self, Display};
use std::io::IoSlice;
use std::time::Duration;

pub use poll_turns::trace::TARGET;
use poll_turns::trace::{self, Shown, list};

use crate::errno::Errno;
use crate::wasi::{
    ClockId, Event, EventKind, Fd, FdFlags, Fdstat, SendFlags, Shutdown, Subscription, Wasi,
};

/// A [`Wasi`] that logs each call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traced<W>(pub W);

impl<W> Traced<W> {
    /// The `Wasi` whose calls are logged.
    pub const fn inner(&self) -> &W {
        &self.0
    }
}

impl<W: Wasi> Wasi for Traced<W> {
    fn poll_oneoff(
        &self,
        subscriptions: &[Subscription],
        events: &mut [Event],
    ) -> Result<usize, Errno> {
        let count = subscriptions.len();
        let events = RefCell::new(events);
        trace::call(
            || self.now(),
            || self.0.poll_oneoff(subscriptions, &mut events.borrow_mut()),
            |f| write!(f, "poll_oneoff({}, {count})", Subscriptions(subscriptions)),
            |result, f| match result {
                Ok(n) => write!(f, "{n} {}", Events(&events.borrow()[..*n], subscriptions)),
                Err(errno) => f.write_str(errno.name()),
            },
        )
    }

    fn sock_accept(&self, fd: Fd, flags: FdFlags) -> Result<Fd, Errno> {
        self.call(
            || self.0.sock_accept(fd, flags),
            |f| write!(f, "sock_accept({fd}, {})", Flags(flags)),
            |fd, f| write!(f, "{fd}"),
        )
    }

    fn fd_read(&self, fd: Fd, buf: &mut [u8]) -> Result<usize, Errno> {
        let room = buf.len();
        self.call(
            || self.0.fd_read(fd, buf),
            |f| write!(f, "fd_read({fd}, [{room}])"),
            |n, f| write!(f, "{n}"),
        )
    }

    fn fd_write(&self, fd: Fd, bufs: &[IoSlice<'_>]) -> Result<usize, Errno> {
        self.call(
            || self.0.fd_write(fd, bufs),
            |f| {
                write!(f, "fd_write({fd}, ")?;
                list(f, bufs.iter().map(|buf| buf.len()), bufs.len())?;
                write!(f, ")")
            },
            |n, f| write!(f, "{n}"),
        )
    }

    fn sock_send(&self, fd: Fd, bufs: &[IoSlice<'_>], flags: SendFlags) -> Result<usize, Errno> {
        self.call(
            || self.0.sock_send(fd, bufs, flags),
            |f| {
                write!(f, "sock_send({fd}, ")?;
                list(f, bufs.iter().map(|buf| buf.len()), bufs.len())?;
                match flags {
                    SendFlags::MORE => write!(f, ", MORE)"),
                    SendFlags(other) => write!(f, ", {other:#x})"),
                }
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
            || self.0.sock_shutdown(fd, how),
            |f| write!(f, "sock_shutdown({fd}, {name})"),
            |(), f| write!(f, "0"),
        )
    }

    fn fd_close(&self, fd: Fd) -> Result<(), Errno> {
        self.call(
            || self.0.fd_close(fd),
            |f| write!(f, "fd_close({fd})"),
            |(), f| write!(f, "0"),
        )
    }

    fn fd_fdstat_get(&self, fd: Fd) -> Result<Fdstat, Errno> {
        self.call(
            || self.0.fd_fdstat_get(fd),
            |f| write!(f, "fd_fdstat_get({fd})"),
            |stat, f| write!(f, "{} {}", stat.file_type.name(), Flags(stat.flags)),
        )
    }

    fn fd_fdstat_set_flags(&self, fd: Fd, flags: FdFlags) -> Result<(), Errno> {
        self.call(
            || self.0.fd_fdstat_set_flags(fd, flags),
            |f| write!(f, "fd_fdstat_set_flags({fd}, {})", Flags(flags)),
            |(), f| write!(f, "0"),
        )
    }

    fn fd_prestat_get(&self, fd: Fd) -> Result<usize, Errno> {
        self.call(
            || self.0.fd_prestat_get(fd),
            |f| write!(f, "fd_prestat_get({fd})"),
            |n, f| write!(f, "DIR name_len={n}"),
        )
    }

    fn fd_prestat_dir_name(&self, fd: Fd, name: &mut [u8]) -> Result<(), Errno> {
        let room = name.len();
        self.call(
            || self.0.fd_prestat_dir_name(fd, name),
            |f| write!(f, "fd_prestat_dir_name({fd}, [{room}])"),
            |(), f| write!(f, "0"),
        )
    }

    /// Not logged: it would be every second line, and it is used to time the other calls.
    fn clock_time_get(&self, clock: ClockId) -> Result<u64, Errno> {
        self.0.clock_time_get(clock)
    }
}

impl<W: Wasi> Traced<W> {
    fn call<T>(
        &self,
        run: impl FnOnce() -> Result<T, Errno>,
        name: impl Fn(&mut fmt::Formatter<'_>) -> fmt::Result,
        value: impl Fn(&T, &mut fmt::Formatter<'_>) -> fmt::Result,
    ) -> Result<T, Errno> {
        trace::call(
            || self.now(),
            run,
            name,
            |result, f| match result {
                Ok(ok) => value(ok, f),
                Err(errno) => f.write_str(errno.name()),
            },
        )
    }

    fn now(&self) -> u64 {
        self.0.clock_time_get(ClockId::Monotonic).unwrap_or(0)
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

/// Displays subscriptions. Two directions of one fd that follow each other are shown as one item.
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
                write!(f, "{fd}:")?;
                for (at, subscription) in group.iter().enumerate() {
                    let separator = if at == 0 { "" } else { "|" };
                    write!(f, "{separator}{}", direction(subscription.kind()))?;
                }
                Ok(())
            })
        });
        list(f, items, self.0.chunk_by(same).count())
    }
}

/// Displays events, each with the fd of its subscription.
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
                    Some(fd) => write!(f, "{fd}:{}", direction(event.kind()))?,
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
        list(f, items, self.0.len())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_is_shown_like_in_strace() {
        let subscriptions = [
            Subscription::clock(0, 1_500_000_000),
            Subscription::read(1, 3),
            Subscription::read(2, 5),
            Subscription::write(2, 5),
        ];
        assert_eq!(
            Subscriptions(&subscriptions).to_string(),
            "[clock 1.500000000s, 3:read, 5:read|write]"
        );
        let events = [
            Event::new(2, EventKind::Read).with_nbytes(82),
            Event::new(2, EventKind::Write),
            Event::new(1, EventKind::Read).with_error(Errno::IO),
            Event::new(1, EventKind::Read).with_nbytes(1).with_hangup(),
            Event::new(0, EventKind::Clock),
        ];
        assert_eq!(
            Events(&events, &subscriptions).to_string(),
            "[5:read nbytes=82, 5:write, 3:read IO, 3:read nbytes=1 HANGUP, clock]"
        );
    }
}
