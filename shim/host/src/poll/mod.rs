//! `poll_oneoff`.
//!
//! The guest passes its whole list each time. For each subscription the host reads 48 bytes and one entry of the
//! table. It makes one system call to wait, and one for each connection that is ready.

mod subscription;

use std::time::Duration;

use mio::Interest;
use wasmtime::Caller;

pub(crate) use subscription::{CLOCK, Event, READ, Subscription, WRITE, What};
use subscription::{ClockSubscription, EVENT, EventList, SUBSCRIPTION};

use crate::calls::{Call, Fault, LISTENER_ENDED, MONOTONIC, REALTIME, realtime};
use crate::errno::Errno;
use crate::instance::{Instance, Stopped, split};
use crate::memory::{Memory, Outside};
use crate::phase::Phase;
use crate::socket::{END, Input, Kind, Socket, Subscribed, is_readable};
use crate::table::{Entry, Fd};

/// A clock in the guest's list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// When it expires, by the guest's monotonic clock.
    deadline: u64,
    /// Its index in the list.
    index: u32,
}

pub(crate) fn poll_oneoff(
    caller: &mut Caller<'_, Instance>,
    subscriptions: u32,
    events: u32,
    count: u32,
    out: u32,
) -> Call {
    if count == 0 {
        return Err(Errno::INVAL.into());
    }
    let (mut memory, instance) = split(caller)?;
    // Both complete lists are checked here, so that their addresses can't overflow below.
    memory.bytes(
        subscriptions,
        count.checked_mul(SUBSCRIPTION).ok_or(Outside)?,
    )?;
    memory.bytes(events, count.checked_mul(EVENT).ok_or(Outside)?)?;
    instance.counters.polls.add(1);
    instance.counters.subscriptions.add(u64::from(count));
    let mut poll = Poll {
        list: subscriptions,
        count,
        events: EventList {
            at: events,
            count: 0,
        },
        watches: false,
        has_twins: false,
        stdin: Vec::new(),
        waits_for_end: false,
    };
    poll.run(&mut memory, instance)?;
    let reported = poll.events.count;
    instance.counters.events.add(u64::from(reported));
    Ok(memory.put(out, reported.to_le_bytes())?)
}

/// A poll in progress.
struct Poll {
    /// The guest's list, and its length.
    list: u32,
    count: u32,
    events: EventList,
    /// Whether it waits for anything but clocks.
    watches: bool,
    /// Whether two subscriptions differ only in their userdata.
    has_twins: bool,
    /// The indices of the subscriptions to the standard input.
    stdin: Vec<u32>,
    /// Whether it waits for a listener that is closed, and the guest has seen that.
    waits_for_end: bool,
}

/// The state of a subscription: ready, not ready yet, or failed.
type Outcome = Result<Option<Input>, Errno>;

/// Ready, where the number of bytes doesn't matter.
const READY: Outcome = Ok(Some(Input {
    nbytes: 1,
    hangup: false,
}));

impl Poll {
    fn run(&mut self, memory: &mut Memory<'_>, instance: &mut Instance) -> Call {
        let mut seen = None;
        loop {
            let phase = instance.phase();
            if phase == Phase::Stopping {
                return Err(Fault::Trap(Stopped.into()));
            }
            if seen != Some(phase) {
                // When the host drains, listeners and idle connections have something to report.
                self.read_list(memory, instance, seen.is_none())?;
                seen = Some(phase);
            }
            let left = self.time_left(instance);
            if left != Some(Duration::ZERO) && self.waits_for_end && instance.streams == 0 {
                // No connection will come any more.
                return Err(Fault::Trap(Stopped.into()));
            }
            wait(instance, left, self.watches)?;
            self.report_ready(memory, instance)?;
            self.report_stdin(memory)?;
            self.report_clocks(memory, instance)?;
            if self.events.count > 0 {
                return Ok(());
            }
        }
    }

    /// Reads the whole list. Reports what is known to be ready, and registers the rest with the kernel.
    fn read_list(
        &mut self,
        memory: &mut Memory<'_>,
        instance: &mut Instance,
        is_first: bool,
    ) -> Call {
        instance.polls += 1;
        self.stdin.clear();
        if is_first {
            instance.clocks.clear();
        }
        for index in 0..self.count {
            let subscription = Subscription::read(memory, self.list, index)?;
            let (kind, outcome) = match subscription.what {
                What::Clock(clock) => {
                    let outcome = match is_first {
                        true => start(instance, clock, index),
                        false => check(clock),
                    };
                    (CLOCK, outcome.map(|()| None))
                }
                What::Read(fd) => (READ, self.read_state(instance, fd, index)),
                What::Write(fd) => (WRITE, self.write_state(instance, fd, index)),
                What::Unknown(kind) => (kind, Err(Errno::INVAL)),
            };
            self.report(memory, subscription.userdata, kind, outcome)?;
        }
        Ok(())
    }

    fn read_state(&mut self, instance: &mut Instance, fd: Fd, index: u32) -> Outcome {
        self.watches = true;
        match instance.table.get(fd) {
            Entry::Free | Entry::Stdio(1..) => return Err(Errno::BADF),
            Entry::Inner(_) => return READY,
            Entry::Stdio(0) => {
                instance.watch_stdin();
                self.stdin.push(index);
                return Ok(None);
            }
            Entry::Socket(_) => {}
        }
        instance.watch(fd, Interest::READABLE)?;
        let drains = instance.phase() >= Phase::Draining;
        if drains {
            instance.end_listener_when_empty(fd);
        }
        let (poll, edge) = (instance.polls, instance.settings.edge);
        let socket = instance.table.socket(fd).ok_or(Errno::BADF)?;
        self.has_twins |= socket.read_subscribed.poll == poll;
        socket.read_subscribed = Subscribed { poll, index };
        let outcome = match &socket.kind {
            Kind::Listener(listener) if listener.socket.is_none() => {
                self.waits_for_end |= listener.end_seen;
                match listener.end_seen {
                    true => Ok(None),
                    false => failed(LISTENER_ENDED, edge),
                }
            }
            Kind::Stream(_) if drains && socket.idle => match input(socket, edge, false)? {
                None => Ok(Some(END)),
                input => Ok(input),
            },
            _ => input(socket, edge, false),
        };
        if !matches!(outcome, Ok(None)) {
            socket.read_subscribed = Subscribed::default();
        }
        outcome
    }

    fn write_state(&mut self, instance: &mut Instance, fd: Fd, index: u32) -> Outcome {
        self.watches = true;
        match instance.table.get(fd) {
            Entry::Free | Entry::Stdio(0) => return Err(Errno::BADF),
            Entry::Inner(_) | Entry::Stdio(_) => return READY,
            Entry::Socket(_) => {}
        }
        instance.watch(fd, Interest::WRITABLE)?;
        let (poll, edge) = (instance.polls, instance.settings.edge);
        let socket = instance.table.socket(fd).ok_or(Errno::BADF)?;
        self.has_twins |= socket.write_subscribed.poll == poll;
        socket.write_subscribed = Subscribed { poll, index };
        let outcome = output(socket, edge);
        if !matches!(outcome, Ok(None)) {
            socket.write_subscribed = Subscribed::default();
        }
        outcome
    }

    /// Reports the sockets that the kernel has reported, and that are in the list.
    fn report_ready(&mut self, memory: &mut Memory<'_>, instance: &mut Instance) -> Call {
        if self.has_twins {
            // An index is kept for only one of them. This is rare, so the list is just read again.
            return match self.events.count == 0 && !instance.ready.is_empty() {
                true => self.read_list(memory, instance, false),
                false => Ok(()),
            };
        }
        if self.events.count > 0 && !instance.settings.edge && has_failed(instance) {
            // A socket that was reported as ready before the wait may have failed since. In edge mode (`--edge`) it is
            // reported as ready in any case, and a second pass would miss the events that are reported only once.
            self.events.count = 0;
            self.read_list(memory, instance, false)?;
        }
        let (poll, edge) = (instance.polls, instance.settings.edge);
        for at in 0..instance.ready.len() {
            let Some(socket) = instance.table.socket(instance.ready[at]) else {
                continue;
            };
            if socket.read_subscribed.poll == poll {
                let outcome = input(socket, edge, true);
                let index = socket.read_subscribed.index;
                self.report_at(memory, index, READ, outcome)?;
            }
            if socket.write_subscribed.poll == poll {
                let outcome = output(socket, edge);
                let index = socket.write_subscribed.index;
                self.report_at(memory, index, WRITE, outcome)?;
            }
        }
        Ok(())
    }

    /// Whether the standard input is in the list, and has input or is at its end.
    fn has_stdin(&self) -> bool {
        !self.stdin.is_empty() && is_readable(&rustix::stdio::stdin())
    }

    fn report_stdin(&mut self, memory: &mut Memory<'_>) -> Call {
        if !self.has_stdin() {
            return Ok(());
        }
        let nbytes = rustix::io::ioctl_fionread(rustix::stdio::stdin()).unwrap_or(1);
        let hangup = nbytes == 0;
        for at in 0..self.stdin.len() {
            let index = self.stdin[at];
            self.report_at(memory, index, READ, Ok(Some(Input { nbytes, hangup })))?;
        }
        Ok(())
    }

    /// Reports every clock that has expired.
    fn report_clocks(&mut self, memory: &mut Memory<'_>, instance: &Instance) -> Call {
        if instance.clocks.is_empty() {
            return Ok(());
        }
        let now = instance.monotonic();
        for clock in &instance.clocks {
            if clock.deadline <= now {
                let userdata = Subscription::read(memory, self.list, clock.index)?.userdata;
                let none = Input {
                    nbytes: 0,
                    hangup: false,
                };
                self.report(memory, userdata, CLOCK, Ok(Some(none)))?;
            }
        }
        Ok(())
    }

    /// How long to wait. `None` is without end.
    fn time_left(&self, instance: &Instance) -> Option<Duration> {
        // The kernel reports new input of the standard input once, and nothing of a file.
        if self.events.count > 0 || self.has_stdin() {
            return Some(Duration::ZERO);
        }
        let first = instance.clocks.iter().map(|clock| clock.deadline).min()?;
        // A clock that expires at once, as in a poll that doesn't wait, needs no reading of the time.
        let left = if first == 0 {
            0
        } else {
            first.saturating_sub(instance.monotonic())
        };
        Some(Duration::from_nanos(left))
    }

    fn report_at(
        &mut self,
        memory: &mut Memory<'_>,
        index: u32,
        kind: u8,
        outcome: Outcome,
    ) -> Call {
        let userdata = Subscription::read(memory, self.list, index)?.userdata;
        self.report(memory, userdata, kind, outcome)
    }

    fn report(
        &mut self,
        memory: &mut Memory<'_>,
        userdata: [u8; 8],
        kind: u8,
        outcome: Outcome,
    ) -> Call {
        let (error, input) = match outcome {
            Ok(None) => return Ok(()),
            Ok(Some(input)) => (Errno::SUCCESS, input),
            Err(errno) => (
                errno,
                Input {
                    nbytes: 0,
                    hangup: false,
                },
            ),
        };
        let event = Event {
            userdata,
            error,
            kind,
            nbytes: input.nbytes,
            hangup: input.hangup,
        };
        Ok(self.events.put(memory, event)?)
    }
}

/// Whether one of the sockets that the kernel has reported has failed.
fn has_failed(instance: &mut Instance) -> bool {
    let Instance { ready, table, .. } = instance;
    let failed = |fd: &Fd| table.socket(*fd).is_some_and(|it| it.error.is_some());
    ready.iter().any(failed)
}

/// Whether a socket has input.
fn input(socket: &mut Socket, edge: bool, just_reported: bool) -> Outcome {
    let found = socket.input(just_reported);
    found.or_else(|error| failed(error, edge))
}

/// The outcome for a socket that has failed: the error. But the mio of crates.io treats the error of one event as an
/// error of the whole poll, and tokio then panics. So in edge mode the socket is reported as ready, and the next call
/// on it returns the error.
fn failed(error: Errno, edge: bool) -> Outcome {
    match edge {
        true => Ok(Some(END)),
        false => Err(error),
    }
}

/// Whether a socket has room for output. In edge mode this is reported once.
fn output(socket: &mut Socket, edge: bool) -> Outcome {
    if let Some(error) = socket.error {
        return failed(error, edge);
    }
    if edge && socket.writable_reported || !socket.has_room() {
        return Ok(None);
    }
    socket.writable_reported = true;
    READY
}

/// Checks that a poll can wait for a clock.
fn check(clock: ClockSubscription) -> Result<(), Errno> {
    match clock.id {
        REALTIME | MONOTONIC => Ok(()),
        // The clocks of processor time.
        2 | 3 => Err(Errno::NOTSUP),
        _ => Err(Errno::INVAL),
    }
}

/// Records a clock of the list, with its deadline by the monotonic clock.
fn start(instance: &mut Instance, clock: ClockSubscription, index: u32) -> Result<(), Errno> {
    check(clock)?;
    let now = match (clock.timeout, clock.absolute) {
        (0, _) => 0,
        _ => instance.monotonic(),
    };
    let left = match (clock.absolute, clock.id) {
        (false, _) => clock.timeout,
        (true, REALTIME) => clock.timeout.saturating_sub(realtime()),
        (true, _) => clock.timeout.saturating_sub(now),
    };
    let deadline = now.saturating_add(left);
    instance.clocks.push(Clock { deadline, index });
    Ok(())
}

/// Waits for the kernel to report something.
///
/// The kernel's wait is in whole milliseconds, rounded up. A poll of clocks alone waits for the whole milliseconds
/// first, and sleeps for the rest.
fn wait(instance: &mut Instance, left: Option<Duration>, watches: bool) -> Result<(), Errno> {
    let Some(left) = left.filter(|_| !watches) else {
        return instance.wait(left);
    };
    match left.as_millis() {
        0 => {
            instance.ready.clear();
            std::thread::sleep(left);
            Ok(())
        }
        millis => instance.wait(Some(Duration::from_millis(millis as u64))),
    }
}
