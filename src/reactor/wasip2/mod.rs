//! The [`Reactor`] of WASI 0.2, over `wasi:sockets/tcp`, `wasi:io/streams` and `wasi:io/poll`.
//!
//! A poll tells exactly what is ready, and tells it again until it is used up. What is peculiar is
//! what may *not* be done, because the host ends the program or stops the world for it:
//!
//! * write more than `check-write` has permitted, or poll an empty list: fatal;
//! * drop a stream before its pollables or a socket before its streams: fatal ([`sources`]);
//! * drop an output stream while the host has bytes of it that the client doesn't take: waits for
//!   the client, for ever if need be ([`Source::close`]).
//!
//! The pollables live as long as their streams: to make and drop them for each wait would be half of
//! all calls.

pub(crate) mod addr;
mod alarm;
pub(crate) mod calls;
mod sources;

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use wasip2::io::poll::Pollable;
use wasip2::sockets::tcp::TcpSocket;

use self::alarm::Alarm;
use self::calls::Name;
use self::sources::{Source, piece};
use super::{Accepted, Event, Interest, Reactor, Readiness};
use crate::key::Key;
use crate::time::Instant;

/// The listeners and streams of one event loop, on WASI 0.2.
#[derive(Debug)]
pub(crate) struct Wasip2Reactor {
    listeners: Vec<Listener>,
    sources: Vec<Option<Source>>,
    /// Places in `sources` that are empty.
    free: Vec<u32>,
    alarm: Alarm,
    /// What the list of the present poll consists of.
    asked: Vec<(Asked, Name)>,
    /// The sources that the present poll has found ready.
    seen: Vec<u32>,
    /// The sources that sit out the next poll; see [`CROWD`](Self::CROWD).
    out: Vec<u32>,
    /// Where output of several slices is gathered.
    scratch: Vec<u8>,
}

/// A connection: the place of its [`Source`].
#[derive(Debug)]
pub(crate) struct Wasip2Stream(u32);

#[derive(Debug)]
struct Listener {
    // Dropped before the socket.
    acceptable: Pollable,
    socket: Arc<TcpSocket>,
    is_accepting: bool,
}

/// What a pollable of the list belongs to.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Alarm,
    Listener(u32),
    Source(u32),
}

impl Wasip2Reactor {
    /// A read asks for this much first, and for the rest of the buffer if it got it: the host clears
    /// as much memory as is asked for.
    const FIRST_READ: usize = 8 << 10;
    /// A poll in wasmtime tells at most 128 sockets, and always those of the oldest streams: whoever
    /// has more to say than that is never heard. So after a poll that tells as many as this, those
    /// that were told sit out the polls that follow, until one tells fewer.
    const CROWD: usize = 96;
    /// So many writes of one connection a turn; each takes up to 64 KiB.
    const WRITES: usize = 16;

    /// A reactor of listening sockets.
    pub(crate) fn new(listeners: impl IntoIterator<Item = Arc<TcpSocket>>) -> Self {
        let listeners = listeners.into_iter().map(|socket| Listener {
            acceptable: socket.subscribe(),
            socket,
            is_accepting: true,
        });
        Self {
            listeners: listeners.collect(),
            sources: Vec::new(),
            free: Vec::new(),
            alarm: Alarm::default(),
            asked: Vec::new(),
            seen: Vec::new(),
            out: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Polls everything of interest and collects what is ready.
    fn poll(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) {
        let mut list = Vec::with_capacity(1 + self.listeners.len() + self.sources.len());
        self.asked.clear();
        // Who sits out may well be ready.
        let timeout = match self.out.is_empty() {
            true => timeout,
            false => Some(Duration::ZERO),
        };
        list.push(self.alarm.after(calls::now(), timeout));
        self.asked.push((Asked::Alarm, Name::Clock));
        for (number, listener) in (0..).zip(&self.listeners) {
            if listener.is_accepting {
                list.push(&listener.acceptable);
                let name = Name::Accept(listener.socket.handle());
                self.asked.push((Asked::Listener(number), name));
            }
        }
        for (place, source) in (0..).zip(&self.sources) {
            if let Some(source) = source.as_ref().filter(|source| !source.is_out) {
                source.pollables(|pollable, name| {
                    list.push(pollable);
                    self.asked.push((Asked::Source(place), name));
                });
            }
        }
        let ready = calls::poll(&list, |at| {
            self.asked.get(at).map_or(Name::Clock, |(_, name)| *name)
        });
        let is_crowd = ready.len() >= Self::CROWD;
        for at in ready {
            match self.asked.get(at as usize) {
                Some((Asked::Listener(number), _)) => {
                    events.push(Event::Listener(*number as usize));
                }
                Some(&(Asked::Source(place), name)) => self.see(place, name),
                Some((Asked::Alarm, _)) | None => {}
            }
        }
        self.report(events, is_crowd);
    }

    /// Remembers that a direction of a source is ready.
    fn see(&mut self, place: u32, name: Name) {
        let Some(Some(source)) = self.sources.get_mut(place as usize) else {
            return;
        };
        if source.seen == Readiness::default() {
            self.seen.push(place);
        }
        source.seen.readable |= matches!(name, Name::Read(_));
        source.seen.writable |= matches!(name, Name::Write(_));
    }

    /// Makes an event of each source that was seen ready; both directions are in one.
    fn report(&mut self, events: &mut Vec<Event>, is_crowd: bool) {
        if !is_crowd {
            for place in self.out.drain(..) {
                if let Some(Some(source)) = self.sources.get_mut(place as usize) {
                    source.is_out = false;
                }
            }
        }
        let mut seen = std::mem::take(&mut self.seen);
        for place in seen.drain(..) {
            let Some(Some(source)) = self.sources.get_mut(place as usize) else {
                continue;
            };
            if source.is_closed() {
                self.remove(place);
                continue;
            }
            let readiness = std::mem::take(&mut source.seen);
            events.push(Event::Stream(source.key, readiness));
            if is_crowd {
                source.is_out = true;
                self.out.push(place);
            }
        }
        // Kept for its memory.
        self.seen = seen;
    }

    fn insert(&mut self, source: Source) -> Wasip2Stream {
        let place = self.free.pop().unwrap_or_else(|| {
            self.sources.push(None);
            u32::try_from(self.sources.len() - 1).expect("fewer sources than handles")
        });
        self.sources[place as usize] = Some(source);
        Wasip2Stream(place)
    }

    fn remove(&mut self, place: u32) {
        if let Some(source) = self.sources[place as usize].take() {
            calls::dropping(source.handle());
            self.free.push(place);
        }
    }

    fn source(&mut self, stream: &Wasip2Stream) -> &mut Source {
        self.sources[stream.0 as usize]
            .as_mut()
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
        self.poll(events, timeout);
        Ok(())
    }

    fn set_accepting(&mut self, listener: usize, accepting: bool) {
        self.listeners[listener].is_accepting = accepting;
    }

    fn accept(&mut self, listener: usize, key: Key) -> io::Result<Accepted<Wasip2Stream>> {
        let (socket, input, output) =
            calls::accept(&self.listeners[listener].socket).map_err(calls::socket_error)?;
        // A client that is gone already is found by the first read.
        let peer = calls::remote_address(&socket).ok().map(addr::to_std);
        let fd = Some(socket.handle());
        let stream = self.insert(Source::new(socket, input, output, key));
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
            return match filled {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                _ => Ok(filled),
            };
        }
    }

    fn write(&mut self, stream: &mut Wasip2Stream, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let source = self.sources[stream.0 as usize]
            .as_ref()
            .expect("a source is there until its stream is closed, by value");
        let offered: usize = bufs.iter().map(|buf| buf.len()).sum();
        let mut written = 0;
        for _ in 0..Self::WRITES {
            if written == offered {
                break;
            }
            let result = calls::check_write(source.handle(), &source.output).and_then(|room| {
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
        Ok(written)
    }

    fn set_interest(&mut self, stream: &mut Wasip2Stream, interest: Interest) {
        self.source(stream).set_interest(interest);
    }

    fn shutdown_write(&mut self, stream: &mut Wasip2Stream) -> io::Result<()> {
        calls::shutdown(&self.source(stream).socket).map_err(calls::socket_error)
    }

    fn close(&mut self, stream: Wasip2Stream) {
        if self.source(&stream).close() {
            self.remove(stream.0);
        }
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(calls::now())
    }
}

impl Drop for Wasip2Reactor {
    /// What is still on its way is left to the host: to drop it would wait for the clients.
    fn drop(&mut self) {
        let sources = std::mem::take(&mut self.sources).into_iter().flatten();
        sources
            .filter(|source| source.is_closed())
            .for_each(std::mem::forget);
    }
}

#[cfg(test)]
mod tests;
