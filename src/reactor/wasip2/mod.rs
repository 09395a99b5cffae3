//! The [`Reactor`] of WASI 0.2, over `wasi:sockets/tcp`, `wasi:io/streams` and `wasi:io/poll`.
//!
//! A poll tells exactly what is ready, and tells it again until it is used up. What is peculiar is
//! what may *not* be done, because the host ends the program or stops the world for it:
//!
//! * write more than `check-write` has permitted, or poll an empty list: fatal;
//! * drop a stream before its pollables or a socket before its streams: fatal ([`sources`]);
//! * go on for ever without a wait: then nothing is ready any more ([`allowance`]);
//! * drop an output stream while the host has bytes of it that the socket has no room for: waits until
//!   it has, for ever if the client doesn't read ([`Source::close`]).
//!
//! The pollables live as long as their streams: to make and drop them for each wait would be half of
//! all calls.

pub(crate) mod addr;
mod alarm;
mod allowance;
pub(crate) mod calls;
mod rounds;
mod sources;

use std::io::{self, IoSlice};
use std::time::Duration;

use poll_turns::{Key, Table, Turns};
use wasip2::io::poll::Pollable;
use wasip2::sockets::tcp::TcpSocket;

use self::alarm::Alarm;
use self::allowance::Allowance;
use self::rounds::Asked;
use self::sources::{Source, piece};
use super::keep_alive::{PROBE_AFTER, PROBE_INTERVAL, PROBES};
use super::{Accepted, Event, Interest, Reactor};
use crate::time::Instant;

/// The listeners and streams of one event loop, on WASI 0.2.
#[derive(Debug)]
pub(crate) struct Wasip2Reactor {
    /// By the loop's numbers; none where one was closed.
    listeners: Vec<Option<Listener>>,
    sources: Table<Source>,
    /// Sources that are not closed.
    open: usize,
    /// Which of the sources are busy, and what to poll.
    turns: Turns,
    alarm: Alarm,
    allowance: Allowance,
    /// The send buffer that streams get now at their start; see [`Source::fix_send_buffer`].
    fixed_buffer: Option<u64>,
    /// The sources of the present poll; kept for its memory.
    list: Vec<u32>,
    /// What the list of the present poll consists of.
    asked: Vec<Asked>,
    /// The sources that the present poll has found ready.
    seen: Vec<u32>,
    /// The sources that sit out the next poll; see [`CROWD`](Self::CROWD).
    out: Vec<u32>,
    /// Where output of several slices is gathered.
    scratch: Vec<u8>,
}

/// A connection: the key of its [`Source`].
#[derive(Debug)]
pub(crate) struct Wasip2Stream(Key);

impl Wasip2Stream {
    /// Its place among the [`Turns`].
    const fn place(&self) -> u32 {
        self.0.index() as u32
    }
}

#[derive(Debug)]
struct Listener {
    // Dropped before the socket.
    acceptable: Pollable,
    socket: TcpSocket,
    is_accepting: bool,
}

impl Wasip2Reactor {
    /// A read asks for this much first, and for the rest of the buffer if it got it: the host clears
    /// as much memory as is asked for. Most requests fit; at half, a browser's with cookies doesn't.
    const FIRST_READ: usize = 4 << 10;
    /// A guess at what a pollable costs in a poll, in nanoseconds, until it is measured by the first window of
    /// idle ones. Half of an error is left after five windows.
    const PRICE: u64 = 200;
    /// How many writes of one connection there are in a turn: 1 MiB in all, as each takes up to 64 KiB. That is
    /// what the loop writes in one turn at most.
    const WRITES: usize = 16;

    /// A reactor of listening sockets.
    pub(crate) fn new(listeners: impl IntoIterator<Item = TcpSocket>) -> Self {
        let listeners = listeners.into_iter().map(|socket| {
            Some(Listener {
                acceptable: socket.subscribe(),
                socket,
                is_accepting: true,
            })
        });
        let mut turns = Turns::new(Self::PRICE);
        turns.end(calls::now());
        Self {
            listeners: listeners.collect(),
            sources: Table::default(),
            open: 0,
            turns,
            alarm: Alarm::default(),
            allowance: Allowance::default(),
            fixed_buffer: None,
            list: Vec::new(),
            asked: Vec::new(),
            seen: Vec::new(),
            out: Vec::new(),
            scratch: Vec::new(),
        }
    }

    fn insert(&mut self, source: Source) -> Wasip2Stream {
        let stream = Wasip2Stream(self.sources.insert(source));
        self.turns.insert(stream.place());
        self.turns.progress();
        stream
    }

    fn remove(&mut self, place: u32) {
        let key = self.sources.key_at(place as usize);
        if let Some(source) = key.and_then(|key| self.sources.remove(key)) {
            calls::dropping(source.handle());
            self.turns.remove(place);
        }
    }

    fn source(&mut self, stream: &Wasip2Stream) -> &mut Source {
        self.sources
            .get_mut(stream.0)
            .expect("a source is there until its stream is closed, by value")
    }
}

impl Reactor for Wasip2Reactor {
    type Stream = Wasip2Stream;

    /// The poll is level-triggered.
    const SHORT_IS_LAST: bool = true;

    fn listeners(&self) -> usize {
        self.listeners.len()
    }

    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
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
            calls::dropping(listener.socket.handle());
        }
        Ok(())
    }

    fn accept(&mut self, listener: usize, key: Key) -> io::Result<Accepted<Wasip2Stream>> {
        let Some(listener) = &self.listeners[listener] else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let (socket, input, output) =
            calls::accept(&listener.socket).map_err(calls::socket_error)?;
        // A client that is gone already is found by the first read.
        let peer = calls::remote_address(&socket).ok().map(addr::to_std);
        let fd = Some(socket.handle());
        let source = Source::new(socket, input, output, key);
        // So that no more streams linger without end than were open when none did.
        if self.lingering() > 0
            && let Some(size) = self.fixed_buffer
        {
            source.fix_send_buffer(size);
        }
        let stream = self.insert(source);
        self.open += 1;
        Ok(Accepted { stream, peer, fd })
    }

    fn read(&mut self, stream: &mut Wasip2Stream, buf: &mut [u8]) -> io::Result<usize> {
        let source = self.source(stream);
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
                // What came before comes first. A stream that has ended stays so and is reported
                // again; of one that has failed only that remains.
                Err(_) if filled > 0 => {}
                Err(error) => return calls::stream_error(error).map_or(Ok(0), Err),
            }
            if filled == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.turns.progress_of(stream.place());
            return Ok(filled);
        }
    }

    fn write(&mut self, stream: &mut Wasip2Stream, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let source = self
            .sources
            .get(stream.0)
            .expect("a source is there until its stream is closed, by value");
        let offered: usize = bufs.iter().map(|buf| buf.len()).sum();
        let mut written = 0;
        for _ in 0..Self::WRITES {
            if written == offered {
                break;
            }
            self.allowance.spend(1);
            let check = || calls::check_write(source.handle(), &source.output);
            let mut room = check();
            if matches!(room, Ok(0)) && self.allowance.may_have_been_short() {
                room = check();
            }
            let result = room.and_then(|room| {
                if room == 0 {
                    return Ok(0);
                }
                let piece = piece(bufs, written, room, &mut self.scratch);
                calls::write(source.handle(), &source.output, piece).map(|()| piece.len())
            });
            match result {
                Ok(0) => break,
                Ok(taken) => written += taken,
                // The stream stays closed: the next write tells.
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
        self.turns.progress_of(stream.place());
        Ok(written)
    }

    fn set_interest(&mut self, stream: &mut Wasip2Stream, interest: Interest) {
        self.source(stream).set_interest(interest);
    }

    fn shutdown_write(&mut self, stream: &mut Wasip2Stream) -> io::Result<()> {
        calls::shutdown(&self.source(stream).socket).map_err(calls::socket_error)
    }

    fn close(&mut self, stream: Wasip2Stream) {
        self.turns.progress();
        self.open -= 1;
        let source = self.source(&stream);
        if source.close() {
            return self.remove(stream.place());
        }
        let largest = source.make_room();
        self.fixed_buffer = largest.map(Source::safe_buffer);
        self.turns.rest(stream.place());
    }

    fn probe(&mut self, stream: &mut Wasip2Stream) {
        let socket = &self.source(stream).socket;
        // Without them, a client that is gone is found when something is sent to it.
        let _ = calls::set_keep_alive(socket, PROBE_AFTER, PROBE_INTERVAL, PROBES);
    }

    /// Those for which the socket has no room yet for what is on its way.
    fn lingering(&self) -> usize {
        self.sources.len() - self.open
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(calls::now())
    }
}

impl Drop for Wasip2Reactor {
    /// What is still on its way is left to the host: to drop it would wait for the clients.
    fn drop(&mut self) {
        let sources = std::mem::take(&mut self.sources).into_values();
        sources
            .filter(|source| source.is_closed())
            .for_each(std::mem::forget);
    }
}

#[cfg(test)]
mod tests;
