//! [`Lab`]: the listener, the program at the other end of the connections, and what the experiments share.

use std::fmt::Write;

use wasip1_poll::{
    ClockId, Errno, Event, EventKind, Fd, FdFlags, Hints, Preview1, Subscription, Wasi, discover,
};

use crate::peer::{Peer, sleep};
use crate::table::Table;

pub(crate) type Outcome<T = ()> = Result<T, String>;

pub(crate) struct Lab {
    pub(crate) listener: Fd,
    pub(crate) directories: Vec<wasip1_poll::preopens::Directory>,
    /// Whether `poll_oneoff` reports what can't be ready.
    pub(crate) is_blind: bool,
    peer: Peer,
}

/// A connection: this end, and its number at the other.
#[derive(Clone, Copy)]
pub(crate) struct Connection {
    pub(crate) fd: Fd,
    number: u64,
}

/// What to wait for.
#[derive(Clone, Copy)]
pub(crate) enum For {
    Read(Fd),
    Write(Fd),
    /// Nanoseconds from now.
    Clock(u64),
    /// The time of the monotonic clock.
    ClockAt(u64),
}

/// What a poll has reported.
pub(crate) struct Reported {
    pub(crate) result: Result<Vec<Event>, Errno>,
    pub(crate) nanos: u64,
    labels: Vec<&'static str>,
}

impl Lab {
    /// Finds the listener, and has the other end connect for the commands.
    pub(crate) fn open(table: &mut Table) -> Outcome<Self> {
        table.section("File descriptors");
        let found = discover(&Preview1, None, &Hints::from_env()).map_err(|e| e.to_string())?;
        let listener = found.listeners[0].fd;
        let before = flags(listener);
        let set = Preview1.fd_fdstat_set_flags(listener, FdFlags::NONBLOCK);
        let shown = format!("{before}; set: {}; then {}", errno(set), flags(listener));
        table.row(
            "flags of the listener, and `fd_fdstat_set_flags` to `NONBLOCK`",
            "flags can be set",
            shown,
            "sets it, and warns if that fails",
        );
        let mut lab = Self {
            listener,
            directories: found.directories,
            is_blind: false,
            peer: Peer::meet(listener)?,
        };
        let reported = lab.poll(&[("listener", For::Read(listener)), ("clock", For::Clock(0))]);
        lab.is_blind = reported.has("listener");
        Ok(lab)
    }

    /// Tells the other end that the experiments have ended.
    pub(crate) fn close(mut self) -> Outcome {
        self.peer.ask("done").map(drop)
    }

    /// Has the other end connect, and accepts it with these flags.
    pub(crate) fn connect_with(&mut self, flags: FdFlags) -> Outcome<Connection> {
        let number = self.peer.ask("connect")?;
        let fd = self.accept(flags)?;
        Ok(Connection { fd, number })
    }

    pub(crate) fn connect(&mut self) -> Outcome<Connection> {
        self.connect_with(FdFlags::NONBLOCK)
    }

    /// Has the other end connect, without accepting it.
    pub(crate) fn connect_unaccepted(&mut self) -> Outcome<u64> {
        self.peer.ask("connect")
    }

    /// Accepts the connection with this number, which the other end has made.
    pub(crate) fn accept_waiting(&mut self, number: u64) -> Outcome<Connection> {
        let fd = self.accept(FdFlags::NONBLOCK)?;
        Ok(Connection { fd, number })
    }

    fn accept(&mut self, flags: FdFlags) -> Outcome<Fd> {
        for _ in 0..1_000 {
            match Preview1.sock_accept(self.listener, flags) {
                Err(Errno::AGAIN) => sleep(1_000_000),
                Ok(fd) => return Ok(fd),
                Err(errno) => return Err(format!("sock_accept: {errno}")),
            }
        }
        Err("a connection didn't come".into())
    }

    /// Has the other end do something to a connection: `send 100`, `reset`.
    pub(crate) fn ask(&mut self, connection: Connection, command: &str) -> Outcome<u64> {
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        self.peer
            .ask(&format!("{verb} {} {rest}", connection.number))
    }

    /// Polls, and takes the time.
    pub(crate) fn poll(&self, list: &[(&'static str, For)]) -> Reported {
        let subscriptions: Vec<_> = (BASE..)
            .zip(list)
            .map(|(userdata, (_, what))| match *what {
                For::Read(fd) => Subscription::read(userdata, fd),
                For::Write(fd) => Subscription::write(userdata, fd),
                For::Clock(nanos) => Subscription::clock(userdata, nanos),
                For::ClockAt(time) => Subscription::clock_at(userdata, time),
            })
            .collect();
        // With what was there before, to see whether all of it is written.
        let mut events = vec![Event::new(0, EventKind::Unknown).with_nbytes(LEFT_OVER); list.len()];
        let before = now();
        let result = Preview1.poll_oneoff(&subscriptions, &mut events);
        let nanos = now() - before;
        let result = result.map(|count| {
            events.truncate(count);
            events
        });
        let labels = list.iter().map(|(label, _)| *label).collect();
        Reported {
            result,
            nanos,
            labels,
        }
    }
}

/// The first subscription's number.
const BASE: u64 = 1_000;
/// The number of bytes in the events' memory before a poll.
pub(crate) const LEFT_OVER: u64 = 777_777;

impl Reported {
    /// Whether there is an event without error of this subscription.
    pub(crate) fn has(&self, label: &str) -> bool {
        let of = |event: &&Event| self.label(event) == label && event.error == Errno::SUCCESS;
        self.result
            .as_ref()
            .is_ok_and(|events| events.iter().find(of).is_some())
    }

    /// The events, as short as can be, and how long it took.
    pub(crate) fn show(&self) -> String {
        let mut out = String::new();
        match &self.result {
            Err(errno) => return format!("the call returns `{}`", errno.name()),
            Ok(events) if events.is_empty() => out.push_str("no event"),
            Ok(events) => {
                let shown: Vec<_> = events.iter().map(|event| self.show_event(event)).collect();
                out.push_str(&shown.join(", "));
            }
        }
        match self.nanos / 1_000_000 {
            0..3 => out.push_str("; at once"),
            millis => {
                let _ = write!(out, "; after {millis} ms");
            }
        }
        out
    }

    fn show_event(&self, event: &Event) -> String {
        let mut out = self.label(event).to_owned();
        if event.error != Errno::SUCCESS {
            let _ = write!(out, " `{}`", event.error.name());
        } else if event.kind() == EventKind::Read {
            match event.nbytes {
                LEFT_OVER => out.push_str(" nbytes not written"),
                nbytes => {
                    let _ = write!(out, " nbytes {nbytes}");
                }
            }
        }
        if event.hangup() {
            out.push_str(" `HANGUP`");
        }
        out
    }

    fn label(&self, event: &Event) -> &'static str {
        let at = event
            .userdata
            .checked_sub(BASE)
            .and_then(|at| usize::try_from(at).ok());
        at.and_then(|at| self.labels.get(at))
            .copied()
            .unwrap_or("(unknown userdata)")
    }
}

/// Nanoseconds of the monotonic clock.
pub(crate) fn now() -> u64 {
    Preview1.clock_time_get(ClockId::Monotonic).unwrap_or(0)
}

/// A number or an error's name.
pub(crate) fn count(result: Result<usize, Errno>) -> String {
    match result {
        Ok(count) => count.to_string(),
        Err(errno) => format!("`{}`", errno.name()),
    }
}

/// `ok` or an error's name.
pub(crate) fn errno<T>(result: Result<T, Errno>) -> String {
    match result {
        Ok(_) => "ok".into(),
        Err(errno) => format!("`{}`", errno.name()),
    }
}

/// What kind of thing it is.
pub(crate) fn kind(fd: Fd) -> String {
    match Preview1.fd_fdstat_get(fd) {
        Ok(stat) => format!("`{}`", stat.file_type.name()),
        Err(errno) => format!("`{}`", errno.name()),
    }
}

/// Which flags it has.
pub(crate) fn flags(fd: Fd) -> String {
    match Preview1.fd_fdstat_get(fd) {
        Ok(stat) if stat.flags == FdFlags::EMPTY => "no flags".into(),
        Ok(stat) if stat.flags == FdFlags::NONBLOCK => "`NONBLOCK`".into(),
        Ok(stat) => format!("flags {:#x}", stat.flags.0),
        Err(errno) => format!("`{}`", errno.name()),
    }
}

/// A number that no file descriptor has.
pub(crate) const NOT_OPEN: Fd = 999;

pub(crate) fn close(connection: Connection) -> Outcome {
    Preview1
        .fd_close(connection.fd)
        .map_err(|errno| format!("fd_close: {errno}"))
}
