//! The [`Reactor`] of WASI 0.2, over `wasi:sockets/tcp`, `wasi:io/streams` and `wasi:io/poll`.
//!
//! A poll is level-triggered and exact. But four mistakes have severe consequences:
//!
//! | mistake | consequence | avoided in |
//! |---|---|---|
//! | to write more than `check-write` has permitted, or to poll an empty list | the program ends | `write`, [`wait`] |
//! | to drop a stream before its pollables, or a socket before its streams | the program ends | [`sources`] |
//! | never to wait | nothing is reported ready any more | [`coop_budget`] |
//! | to drop an output stream whose socket is full | the program blocks until the client reads | [`Source::close`] |
//!
//! Pollables live as long as their streams: making and dropping them for each wait would be half of
//! all calls.

pub(crate) mod addr;
mod alarm;
pub(crate) mod calls;
mod coop_budget;
mod sources;
mod wait;

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::time::Duration;

use poll_turns::{Key, Planner, Table};
use wasip2::io::poll::Pollable;
use wasip2::sockets::tcp::TcpSocket;

use self::alarm::Alarm;
use self::coop_budget::CoopBudget;
use self::sources::{Source, gather};
use self::wait::Owner;
use super::checks::Checks;
use super::keep_alive::{PROBE_AFTER, PROBE_INTERVAL, PROBES};
use super::{Accepted, Event, Interest, Peer, Reactor, Readiness};
use crate::time::Instant;

/// The listeners and streams of one event loop, on WASI 0.2.
#[derive(Debug)]
pub(crate) struct Wasip2Reactor {
    /// The event loop's number of a listener is its index here. `None`: it was closed.
    listeners: Vec<Option<Listener>>,
    /// The connections, including those that the loop has closed and that linger.
    sources: Table<Source>,
    /// How many sources the loop hasn't closed.
    open: usize,
    /// Decides which sources to poll. Knows them by slot.
    planner: Planner,
    alarm: Alarm,
    coop_budget: CoopBudget,
    /// The send buffer for streams that are accepted while others linger; see [`Source::fix_send_buffer`].
    fixed_send_buffer: Option<u64>,
    /// Checks streams that are not polled. Set by the first [`probe`](Reactor::probe): the code of the checks is only
    /// in programs that call it.
    check: Option<Check>,
    checks: Checks,
    /// The slots that the current poll is about. A field, so that its memory is used again.
    list: Vec<u32>,
    /// For each pollable of the current poll, what it belongs to.
    owners: Vec<Owner>,
    /// The slots of sources that the current poll has reported.
    ready: Vec<u32>,
    /// The slots of sources that the next poll leaves out; see [`FULL_REPORT`](Self::FULL_REPORT).
    skipped: Vec<u32>,
    /// Where output of several slices is gathered.
    scratch: Vec<u8>,
}

/// Makes a check before a wait. Gets and returns the wait's timeout.
type Check = fn(&mut Wasip2Reactor, &mut Vec<Event>, Option<Duration>) -> Option<Duration>;

/// A connection: the key of its [`Source`].
#[derive(Debug)]
pub(crate) struct Wasip2Stream(Key);

impl Wasip2Stream {
    /// Its slot in the table, and in the planner.
    const fn slot(&self) -> u32 {
        self.0.index() as u32
    }
}

#[derive(Debug)]
struct Listener {
    // Dropped before the socket.
    acceptable: Pollable,
    socket: TcpSocket,
    is_accepting: bool,
    /// The local address of all its connections. `None` if it listens on all addresses of the machine: then each has to
    /// be asked for its own.
    address: Option<SocketAddr>,
}

impl Wasip2Reactor {
    /// A read first asks for this many bytes, and for the rest of the buffer if it got them: the host clears
    /// as much memory as it is asked for. Most requests fit. At half, a browser's request with cookies doesn't.
    const FIRST_READ: usize = 4 << 10;
    /// What one pollable costs in a poll, in nanoseconds: a guess until the first window of idle connections
    /// is polled and measured. After five windows, half of its error is left.
    const INITIAL_POLL_COST: u64 = 200;
    /// The most calls of `write` for one connection in a turn. Each takes up to 64 KiB, so together 1 MiB, which
    /// is also the most that the loop writes in one turn.
    const MAX_WRITES: usize = 16;

    /// A reactor with these listening sockets.
    pub(crate) fn new(listeners: impl IntoIterator<Item = TcpSocket>) -> Self {
        let listeners = listeners.into_iter().map(|socket| {
            Some(Listener {
                acceptable: socket.subscribe(),
                is_accepting: true,
                address: specific_address(&socket),
                socket,
            })
        });
        let mut planner = Planner::new(Self::INITIAL_POLL_COST);
        planner.end_wait(calls::now());
        Self {
            listeners: listeners.collect(),
            sources: Table::default(),
            open: 0,
            planner,
            alarm: Alarm::default(),
            coop_budget: CoopBudget::default(),
            fixed_send_buffer: None,
            check: None,
            checks: Checks::default(),
            list: Vec::new(),
            owners: Vec::new(),
            ready: Vec::new(),
            skipped: Vec::new(),
            scratch: Vec::new(),
        }
    }

    fn insert(&mut self, source: Source) -> Wasip2Stream {
        let stream = Wasip2Stream(self.sources.insert(source));
        self.planner.insert(stream.slot());
        self.planner.record_progress();
        stream
    }

    fn remove(&mut self, slot: u32) {
        let key = self.sources.key_at(slot as usize);
        if let Some(source) = key.and_then(|key| self.sources.remove(key)) {
            calls::log_drop(source.handle());
            self.planner.remove(slot);
        }
    }

    /// If a check is due, adds events for streams that have failed and of which no direction is polled. Returns how
    /// long the wait may last.
    fn check_unpolled(
        &mut self,
        events: &mut Vec<Event>,
        timeout: Option<Duration>,
    ) -> Option<Duration> {
        if !self.checks.has_unpolled {
            return timeout;
        }
        let now = self.now();
        if self.checks.take_due(now) {
            self.checks.has_unpolled = self.find_failed(events);
        }
        match events.is_empty() {
            true => self.checks.longest_wait(now, timeout),
            false => Some(Duration::ZERO),
        }
    }

    /// Finds streams that have failed among those that are not polled. Returns whether there are any of these.
    fn find_failed(&self, events: &mut Vec<Event>) -> bool {
        let sources = self.sources.iter().map(|(_, source)| source);
        let mut has_unpolled = false;
        for source in sources.filter(|source| !source.is_polled() && !source.is_closed()) {
            has_unpolled = true;
            // A socket that was reset has no peer any more.
            if calls::remote_address(&source.socket).is_err() {
                let failed = Readiness {
                    failed: true,
                    ..Readiness::default()
                };
                events.push(Event::Stream(source.key, failed));
            }
        }
        has_unpolled
    }

    fn source(&mut self, stream: &Wasip2Stream) -> &mut Source {
        self.sources
            .get_mut(stream.0)
            .expect("a source exists until its stream is closed, by value")
    }
}

/// The address of a listener, unless it listens on all addresses of the machine.
fn specific_address(listener: &TcpSocket) -> Option<SocketAddr> {
    let address = calls::local_address(listener).ok().map(addr::to_std);
    address.filter(|address| !address.ip().is_unspecified())
}

impl Reactor for Wasip2Reactor {
    type Stream = Wasip2Stream;

    /// The poll is level-triggered, so it reports a direction whenever it is ready.
    const SHORT_IS_LAST: bool = true;

    fn listeners(&self) -> usize {
        self.listeners.len()
    }

    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = match self.check {
            Some(check) => check(self, events, timeout),
            None => timeout,
        };
        self.wait_for(events, timeout.unwrap_or(Duration::MAX));
        Ok(())
    }

    fn set_accepting(&mut self, listener: usize, accepting: bool) {
        if let Some(listener) = &mut self.listeners[listener] {
            listener.is_accepting = accepting;
        }
    }

    fn close_listener(&mut self, listener: usize) -> io::Result<()> {
        if let Some(listener) = self.listeners[listener].take() {
            calls::log_drop(listener.socket.handle());
        }
        Ok(())
    }

    fn accept(&mut self, listener: usize, key: Key) -> io::Result<Accepted<Wasip2Stream>> {
        let Some(listener) = &self.listeners[listener] else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let (socket, input, output) =
            calls::accept(&listener.socket).map_err(calls::socket_error)?;
        // If this fails, the client has gone, and the first read finds that out.
        let peer = match calls::remote_address(&socket) {
            Ok(address) => Peer::Address(addr::to_std(address)),
            Err(_) => Peer::Unknown,
        };
        let local = || calls::local_address(&socket).ok().map(addr::to_std);
        let local = listener.address.or_else(local);
        let fd = Some(socket.handle());
        let source = Source::new(socket, input, output, key);
        // So that this stream can't linger without end. Only those that were open before the first one lingered can.
        if self.lingering() > 0
            && let Some(size) = self.fixed_send_buffer
        {
            source.fix_send_buffer(size);
        }
        let stream = self.insert(source);
        self.open += 1;
        Ok(Accepted {
            stream,
            peer,
            local,
            fd,
        })
    }

    fn read(&mut self, stream: &mut Wasip2Stream, buf: &mut [u8]) -> io::Result<usize> {
        let source = self.source(stream);
        if let Some(failure) = source.read_failure.take() {
            return Err(failure);
        }
        let mut filled = 0;
        loop {
            let asked = match filled {
                0 => buf.len().min(Self::FIRST_READ),
                _ => buf.len() - filled,
            };
            match calls::read(source.handle(), &source.input, asked) {
                Ok(bytes) => {
                    buf[filled..filled + bytes.len()].copy_from_slice(&bytes);
                    filled += bytes.len();
                    if bytes.len() == asked && filled < buf.len() {
                        continue;
                    }
                }
                // The bytes that were read before are returned first, and the failure by the next read. The host
                // reports the end of the stream again.
                Err(error) if filled > 0 => source.read_failure = calls::stream_error(error),
                Err(error) => return calls::stream_error(error).map_or(Ok(0), Err),
            }
            if filled == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.planner.record_progress_on(stream.slot());
            return Ok(filled);
        }
    }

    fn write(&mut self, stream: &mut Wasip2Stream, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let source = self
            .sources
            .get(stream.0)
            .expect("a source exists until its stream is closed, by value");
        let offered: usize = bufs.iter().map(|buf| buf.len()).sum();
        let mut written = 0;
        for _ in 0..Self::MAX_WRITES {
            if written == offered {
                break;
            }
            self.coop_budget.spend(1);
            let check = || calls::check_write(source.handle(), &source.output);
            let mut room = check();
            if matches!(room, Ok(0)) && self.coop_budget.renew_if_low() {
                room = check();
            }
            let result = room.and_then(|room| {
                if room == 0 {
                    return Ok(0);
                }
                let piece = gather(bufs, written, room, &mut self.scratch);
                calls::write(source.handle(), &source.output, piece).map(|()| piece.len())
            });
            match result {
                Ok(0) => break,
                Ok(taken) => written += taken,
                // The stream stays closed: the next write returns the error.
                Err(_) if written > 0 => break,
                Err(error) => {
                    let gone = || io::ErrorKind::BrokenPipe.into();
                    return Err(calls::stream_error(error).unwrap_or_else(gone));
                }
            }
        }
        if written == 0 && offered > 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.planner.record_progress_on(stream.slot());
        Ok(written)
    }

    fn set_interest(&mut self, stream: &mut Wasip2Stream, interest: Interest) {
        self.checks.set_interest(interest);
        self.source(stream).set_interest(interest);
    }

    fn shutdown_write(&mut self, stream: &mut Wasip2Stream) -> io::Result<()> {
        calls::shutdown(&self.source(stream).socket).map_err(calls::socket_error)
    }

    fn close(&mut self, stream: Wasip2Stream) {
        self.planner.record_progress();
        self.open -= 1;
        let source = self.source(&stream);
        if source.close() {
            return self.remove(stream.slot());
        }
        let largest = source.grow_send_buffer();
        self.fixed_send_buffer = largest.map(Source::safe_send_buffer);
        self.planner.set_idle(stream.slot());
    }

    fn probe(&mut self, stream: &mut Wasip2Stream) {
        let socket = &self.source(stream).socket;
        // Without them, a client that is gone is found when something is sent to it.
        let _ = calls::set_keep_alive(socket, PROBE_AFTER, PROBE_INTERVAL, PROBES);
        self.check = Some(Self::check_unpolled);
    }

    /// Closed streams whose output the socket has no room for yet.
    fn lingering(&self) -> usize {
        self.sources.len() - self.open
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(calls::now())
    }
}

impl Drop for Wasip2Reactor {
    /// Leaks the streams that linger: dropping them would block until their clients read. The host still sends
    /// their output.
    fn drop(&mut self) {
        let sources = std::mem::take(&mut self.sources).into_values();
        sources
            .filter(|source| source.is_closed())
            .for_each(std::mem::forget);
    }
}

#[cfg(test)]
mod tests;
