//! `--trace`: one line for each call, in the format of the trace that `wasip1-poll` writes inside a guest.

use std::fmt::{self, Write as _};
use std::time::Instant;

use wasmtime::Caller;

use crate::calls::{Call, Fault};
use crate::errno::Errno;
use crate::instance::{Instance, memory};
use crate::memory::{Memory, Outside};
use crate::poll::{CLOCK, Event, READ, Subscription, WRITE, What};

/// The target of the lines in the log.
pub const TARGET: &str = "wasi";

/// How many subscriptions, events or buffers one line shows.
const SHOWN: u32 = 32;

/// Counts a call, and returns the time if the call is to be traced.
pub(crate) fn start(caller: &Caller<'_, Instance>) -> Option<Instant> {
    let instance = caller.data();
    instance.counters.calls.add(1);
    instance.settings.trace.then(Instant::now)
}

/// Writes the line of a call that has returned. Readings of the clock are left out: they would be every second line.
#[cold]
pub(crate) fn line(
    caller: &mut Caller<'_, Instance>,
    name: &str,
    arguments: &[u64],
    result: &Call,
    start: Instant,
) {
    if name == "clock_time_get" {
        return;
    }
    let took = start.elapsed().as_nanos() as f64 / 1000.0;
    let number = caller.data().number;
    let mut line = format!("instance {number}: {name}");
    let guest = memory(caller);
    let shown = guest.map_err(|_| fmt::Error).and_then(|guest| {
        let call = Line {
            memory: Memory(guest.data_mut(caller)),
            name,
            arguments,
        };
        call.write(&mut line, result)
    });
    if shown.is_err() {
        // A pointer leads outside of the guest's memory, which has its own message.
        line.push_str(" = ?");
    }
    log::trace!(target: TARGET, "{line} <{took:.1}us>");
}

/// Counts the call that ends the guest, and writes its line. It doesn't return.
pub(crate) fn exit(caller: &Caller<'_, Instance>, code: i32) {
    if start(caller).is_some() {
        log::trace!(target: TARGET, "instance {}: proc_exit({code})", caller.data().number);
    }
}

struct Line<'a> {
    memory: Memory<'a>,
    name: &'a str,
    arguments: &'a [u64],
}

impl From<Outside> for fmt::Error {
    fn from(_: Outside) -> Self {
        Self
    }
}

impl Line<'_> {
    fn write(&self, f: &mut String, result: &Call) -> fmt::Result {
        self.write_arguments(f)?;
        match result {
            Ok(()) => self.write_outcome(f),
            Err(Fault::Errno(errno)) => match errno.name() {
                Some(name) => write!(f, " = {name}"),
                None => write!(f, " = error {}", errno.0),
            },
            Err(Fault::Trap(error)) => write!(f, " = trap: {error}"),
        }
    }

    fn at(&self, index: usize) -> u32 {
        self.arguments.get(index).map_or(0, |value| *value as u32)
    }

    fn write_arguments(&self, f: &mut String) -> fmt::Result {
        let fd = self.at(0);
        match self.name {
            "poll_oneoff" => {
                f.push('(');
                self.write_subscriptions(f)?;
                write!(f, ", {})", self.at(2))
            }
            "sock_accept" | "fd_fdstat_set_flags" => write!(f, "({fd}, {})", Flags(self.at(1))),
            "fd_read" | "fd_write" | "sock_recv" | "sock_send" => {
                write!(f, "({fd}, [")?;
                let count = self.at(2);
                for index in 0..count.min(SHOWN) {
                    let separator = if index > 0 { ", " } else { "" };
                    write!(f, "{separator}{}", self.memory.buffer(self.at(1), index)?.1)?;
                }
                write!(f, "{}])", if count > SHOWN { ", ..." } else { "" })
            }
            "sock_shutdown" => {
                let how = match self.at(1) {
                    1 => "RD",
                    2 => "WR",
                    3 => "RD|WR",
                    _ => "?",
                };
                write!(f, "({fd}, {how})")
            }
            _ => {
                let all: Vec<String> = self.arguments.iter().map(u64::to_string).collect();
                write!(f, "({})", all.join(", "))
            }
        }
    }

    /// What a successful call has written to the guest's memory.
    fn write_outcome(&self, f: &mut String) -> fmt::Result {
        match self.name {
            "poll_oneoff" => self.write_events(f),
            "sock_accept" => write!(f, " = {}", self.memory.u32(self.at(2))?),
            "fd_read" | "fd_write" => write!(f, " = {}", self.memory.u32(self.at(3))?),
            "sock_recv" | "sock_send" => write!(f, " = {}", self.memory.u32(self.at(4))?),
            "path_open" => write!(f, " = {}", self.memory.u32(self.at(8))?),
            "fd_fdstat_get" => {
                let [kind, _, flags, _] = self.memory.array(self.at(1))?;
                let kind = match kind {
                    2 => "CHARACTER_DEVICE",
                    3 => "DIRECTORY",
                    4 => "REGULAR_FILE",
                    6 => "SOCKET_STREAM",
                    _ => "UNKNOWN",
                };
                write!(f, " = {kind} {}", Flags(u32::from(flags)))
            }
            _ => write!(f, " = 0"),
        }
    }

    fn write_subscriptions(&self, f: &mut String) -> fmt::Result {
        let count = self.at(2);
        f.push('[');
        for index in 0..count.min(SHOWN) {
            if index > 0 {
                f.push_str(", ");
            }
            match Subscription::read(&self.memory, self.at(0), index)?.what {
                What::Clock(clock) => {
                    let until = if clock.absolute { "until " } else { "" };
                    let (seconds, nanos) =
                        (clock.timeout / 1_000_000_000, clock.timeout % 1_000_000_000);
                    write!(f, "clock {until}{seconds}.{nanos:09}s")?;
                }
                What::Read(fd) => write!(f, "{fd}:read")?,
                What::Write(fd) => write!(f, "{fd}:write")?,
                What::Unknown(kind) => write!(f, "type {kind}")?,
            }
        }
        f.push_str(if count > SHOWN { ", ...]" } else { "]" });
        Ok(())
    }

    fn write_events(&self, f: &mut String) -> fmt::Result {
        let count = self.memory.u32(self.at(3))?;
        write!(f, " = {count} [")?;
        for index in 0..count.min(SHOWN) {
            if index > 0 {
                f.push_str(", ");
            }
            self.write_event(f, Event::read(&self.memory, self.at(1), index)?)?;
        }
        f.push_str(if count > SHOWN { ", ...]" } else { "]" });
        Ok(())
    }

    fn write_event(&self, f: &mut String, event: Event) -> fmt::Result {
        match event.kind {
            CLOCK => f.push_str("clock"),
            // The event has the userdata only; it is in one of the subscriptions.
            _ => match self.fd_of(event)? {
                Some(fd) => write!(f, "{fd}:")?,
                None => f.push_str("?:"),
            },
        }
        match event.kind {
            READ => write!(f, "read")?,
            WRITE => write!(f, "write")?,
            _ => {}
        }
        if event.error != Errno::SUCCESS {
            return write!(f, " {}", event.error.name().unwrap_or("error"));
        }
        if event.kind == READ {
            write!(f, " nbytes={}", event.nbytes)?;
        }
        if event.hangup {
            f.push_str(" HANGUP");
        }
        Ok(())
    }

    fn fd_of(&self, event: Event) -> Result<Option<u32>, Outside> {
        for index in 0..self.at(2) {
            let subscription = Subscription::read(&self.memory, self.at(0), index)?;
            let fd = match (subscription.what, event.kind) {
                (What::Read(fd), READ) | (What::Write(fd), WRITE) => fd,
                _ => continue,
            };
            if subscription.userdata == event.userdata {
                return Ok(Some(fd));
            }
        }
        Ok(None)
    }
}

/// The flags of a file descriptor.
struct Flags(u32);

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("0"),
            4 => f.write_str("NONBLOCK"),
            other => write!(f, "{other:#x}"),
        }
    }
}
