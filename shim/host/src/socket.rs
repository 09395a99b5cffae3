//! A socket of the guest, and its readiness.
//!
//! The kernel (epoll, kqueue) reports changes: a socket that has become ready is reported once. The guest's
//! `poll_oneoff` asks for states. So the host remembers what was reported until a call finds otherwise. Where that
//! isn't certain, it asks the kernel again before it reports anything to the guest.

use std::io::{self, Read};
use std::os::fd::AsFd;

use mio::event::{Event, Source};
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno as SystemErrno;

use crate::ahead::{Ahead, Found};
use crate::errno::Errno;
use crate::listeners::Bound;

/// A listener or a connection, with its flags.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) kind: Kind,
    /// The guest's `NONBLOCK`. The system's own is always set.
    pub(crate) nonblock: bool,
    /// What the kernel reports about it, if it is registered.
    pub(crate) watched: Option<Interest>,
    /// Whether it was reported as readable, and no call has found otherwise.
    pub(crate) readable: bool,
    /// The same for writing.
    pub(crate) writable: bool,
    /// Whether a complete write since then may have taken the last room.
    room_is_uncertain: bool,
    /// Whether `writable` was reported to the guest, and no write has found otherwise (see `--edge`).
    pub(crate) writable_reported: bool,
    /// Whether the kernel has reported the end of the peer's stream. There may be bytes before it.
    pub(crate) read_closed: bool,
    /// Whether that end was read.
    pub(crate) ended: bool,
    /// Input that was read to report it.
    pub(crate) ahead: Ahead,
    /// Whether the peer has sent urgent data. A read ends before such a byte, though more may follow.
    pub(crate) urgent: bool,
    /// The error that ended the connection, as long as the guest hasn't seen it. The system reports it once.
    pub(crate) error: Option<Errno>,
    /// Whether nothing was read since the last write, and that was complete. As far as the host can see, no request
    /// waits for its response.
    pub(crate) idle: bool,
    /// Its indices in the list of the poll in progress.
    pub(crate) read_subscribed: Subscribed,
    pub(crate) write_subscribed: Subscribed,
}

/// The two kinds of sockets.
#[derive(Debug)]
pub(crate) enum Kind {
    Listener(Listener),
    Stream(TcpStream),
}

/// A listener.
#[derive(Debug)]
pub(crate) struct Listener {
    /// `None` once the host has closed it, during a drain.
    pub(crate) socket: Option<TcpListener>,
    /// Its number among the instance's listeners.
    pub(crate) number: usize,
    /// Another process, such as systemd, keeps it open too.
    pub(crate) inherited: bool,
    /// Whether the guest has seen that the host has closed it.
    pub(crate) end_seen: bool,
}

/// A subscription: its index in the list of the poll with this number. Number 0 means none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Subscribed {
    pub(crate) poll: u64,
    pub(crate) index: u32,
}

/// Input that is waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Input {
    pub(crate) nbytes: u64,
    pub(crate) hangup: bool,
}

/// The end of the peer's stream.
pub(crate) const END: Input = Input {
    nbytes: 0,
    hangup: true,
};

impl Socket {
    /// A new socket. Nothing is known about its readiness.
    pub(crate) fn new(kind: Kind, nonblock: bool) -> Self {
        Self {
            kind,
            nonblock,
            watched: None,
            readable: false,
            writable: false,
            room_is_uncertain: false,
            writable_reported: false,
            read_closed: false,
            ended: false,
            ahead: Ahead::default(),
            urgent: false,
            error: None,
            idle: true,
            read_subscribed: Subscribed::default(),
            write_subscribed: Subscribed::default(),
        }
    }

    /// A listener.
    pub(crate) fn listener(bound: Bound, nonblock: bool) -> Self {
        let listener = Listener {
            socket: Some(TcpListener::from_std(bound.socket)),
            number: bound.number,
            inherited: bound.inherited,
            end_seen: false,
        };
        Self::new(Kind::Listener(listener), nonblock)
    }

    /// The connection, if it is one.
    pub(crate) fn stream(&mut self) -> Option<&mut TcpStream> {
        match &mut self.kind {
            Kind::Stream(stream) => Some(stream),
            Kind::Listener(_) => None,
        }
    }

    /// Remembers what the kernel has reported.
    pub(crate) fn remember(&mut self, event: &Event) {
        let failed = event.is_error();
        self.readable |= event.is_readable() || event.is_read_closed() || failed;
        let writable = event.is_writable() || event.is_write_closed() || failed;
        self.writable |= writable;
        self.room_is_uncertain &= !writable;
        self.read_closed |= event.is_read_closed();
        self.urgent |= is_urgent(event);
        if failed && let Kind::Stream(stream) = &self.kind {
            // There is none if a call has already returned it to the guest.
            if let Ok(Some(error)) = stream.take_error() {
                self.error = Some(Errno::from(&error));
            }
        }
    }

    /// The input that is waiting now. `just_reported` is whether the wait that has just ended has reported the socket.
    ///
    /// # Errors
    /// The error that has ended the connection, as long as the guest hasn't seen it.
    pub(crate) fn input(&mut self, just_reported: bool) -> Result<Option<Input>, Errno> {
        if let Some(error) = self.error {
            return Err(error);
        }
        match &self.kind {
            // The guest may have accepted the connection after it was reported. Others that share an inherited listener
            // may accept it at any time. How many connections wait isn't known, but at least one.
            Kind::Listener(listener) => {
                let is_certain = just_reported && !listener.inherited;
                let waits = || listener.socket.as_ref().is_some_and(is_readable);
                self.readable = self.readable && (is_certain || waits());
                Ok(self.readable.then_some(Input {
                    nbytes: 1,
                    hangup: false,
                }))
            }
            Kind::Stream(_) => self.stream_input(),
        }
    }

    fn stream_input(&mut self) -> Result<Option<Input>, Errno> {
        // If bytes are left from an earlier poll, more may have come since.
        let mut has_all = self.ahead.is_empty();
        if has_all && self.readable && !self.ended {
            self.read_ahead()?;
            has_all = !self.readable;
        }
        let Kind::Stream(stream) = &self.kind else {
            return Ok(None);
        };
        if self.ahead.is_empty() {
            return Ok(self.ended.then_some(END));
        }
        let behind = match has_all {
            true => 0,
            false => rustix::io::ioctl_fionread(stream).unwrap_or(0),
        };
        Ok(Some(Input {
            nbytes: self.ahead.len() as u64 + behind,
            hangup: false,
        }))
    }

    fn read_ahead(&mut self) -> Result<(), Errno> {
        let Kind::Stream(stream) = &self.kind else {
            return Ok(());
        };
        match self.ahead.read(stream) {
            Ok(Found::End) => self.ended = true,
            Ok(Found::All) => self.has_drained(),
            Ok(Found::Full) | Err(SystemErrno::INTR) => {}
            Err(SystemErrno::AGAIN) => self.readable = false,
            Err(error) => {
                // The system returns it once.
                let error = Errno::from(&io::Error::from(error));
                self.error = Some(error);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Reads into a buffer that isn't empty: first the bytes that were read ahead.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Kind::Stream(stream) = &mut self.kind else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let ahead = self.ahead.take(buffer);
        self.idle &= ahead == 0;
        if self.ended || ahead == buffer.len() || ahead > 0 && !self.readable {
            return Ok(ahead);
        }
        match stream.read(&mut buffer[ahead..]) {
            Ok(0) => self.ended = true,
            Ok(got) => {
                self.idle = false;
                if ahead + got < buffer.len() {
                    self.has_drained();
                }
                return Ok(ahead + got);
            }
            Err(error) if ahead == 0 => return Err(error),
            Err(error) => self.keep_error(&error),
        }
        Ok(ahead)
    }

    /// A read has failed, but there are bytes for this call. The error is for the next one.
    pub(crate) fn keep_error(&mut self, error: &io::Error) {
        match error.kind() {
            io::ErrorKind::WouldBlock => self.found_empty(),
            io::ErrorKind::Interrupted => {}
            // The system returns it once.
            _ => self.error = Some(Errno::from(error)),
        }
    }

    /// Copies bytes that a read would return.
    pub(crate) fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.kind {
            Kind::Listener(_) => Err(io::ErrorKind::NotConnected.into()),
            Kind::Stream(_) if !self.ahead.is_empty() => Ok(self.ahead.peek(buffer)),
            Kind::Stream(stream) => stream.peek(buffer),
        }
    }

    /// A read has returned less than there was room for. Unless the end or urgent data follows, that was everything,
    /// and the kernel reports what comes next.
    fn has_drained(&mut self) {
        self.readable &= self.read_closed || self.urgent;
    }

    /// A write has accepted `taken` of the `offered` bytes.
    pub(crate) fn has_written(&mut self, taken: usize, offered: usize) {
        self.room_is_uncertain = true;
        // A write of nothing is no response.
        self.idle |= taken == offered && offered > 0;
        if taken < offered {
            self.found_full();
        }
    }

    /// Whether there is room for output now.
    pub(crate) fn has_room(&mut self) -> bool {
        if self.writable
            && std::mem::take(&mut self.room_is_uncertain)
            && let Kind::Stream(stream) = &self.kind
        {
            // If there is none, the kernel reports when there is some.
            self.writable = is_ready(stream, PollFlags::OUT);
        }
        self.writable
    }

    /// A read or an accept would have to wait.
    pub(crate) fn found_empty(&mut self) {
        self.readable = false;
    }

    /// A write would have to wait.
    pub(crate) fn found_full(&mut self) {
        self.writable = false;
        self.writable_reported = false;
        self.idle = false;
    }

    /// Registers `interest` with the kernel, in addition to what is registered.
    pub(crate) fn watch(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        let interest = with_urgent(interest);
        let wanted = match self.watched {
            Some(watched) if watched.add(interest) == watched => return Ok(()),
            Some(watched) => watched.add(interest),
            None => interest,
        };
        let is_new = self.watched.is_none();
        let Some(source) = self.source() else {
            return Ok(());
        };
        match is_new {
            true => registry.register(source, token, wanted)?,
            false => registry.reregister(source, token, wanted)?,
        }
        self.watched = Some(wanted);
        Ok(())
    }

    /// Removes its registration, and forgets what was reported.
    pub(crate) fn unwatch(&mut self, registry: &Registry) {
        if self.watched.take().is_some()
            && let Some(source) = self.source()
        {
            // It fails only if there is no registration, which is fine.
            let _ = registry.deregister(source);
        }
        self.readable = false;
        self.writable = false;
    }

    fn source(&mut self) -> Option<&mut dyn Source> {
        match &mut self.kind {
            Kind::Listener(listener) => listener.socket.as_mut().map(|it| it as &mut dyn Source),
            Kind::Stream(stream) => Some(stream),
        }
    }
}

/// Whether a read or an accept would return at once.
pub(crate) fn is_readable(of: &impl AsFd) -> bool {
    is_ready(of, PollFlags::IN)
}

/// Whether one of these events, an error or a hang-up is reported now.
fn is_ready(of: &impl AsFd, events: PollFlags) -> bool {
    let mut one = [PollFd::new(of, events)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    rustix::event::poll(&mut one, Some(&now)).is_ok_and(|count| count > 0)
}

#[cfg(target_os = "linux")]
fn is_urgent(event: &Event) -> bool {
    event.is_priority()
}

#[cfg(not(target_os = "linux"))]
fn is_urgent(_: &Event) -> bool {
    false
}

/// Urgent data must be reported together with input, because reads stop there.
fn with_urgent(interest: Interest) -> Interest {
    #[cfg(target_os = "linux")]
    if interest.is_readable() {
        return interest.add(Interest::PRIORITY);
    }
    interest
}
