//! A socket of the guest, and its readiness.
//!
//! The kernel (epoll, kqueue) reports changes: a socket that has become ready is reported once. The guest's
//! `poll_oneoff` asks for states. So the host remembers what was reported until a call finds otherwise. Where that isn't
//! certain, it asks the kernel again before it reports anything to the guest.

use std::io;
use std::os::fd::AsFd;

use mio::event::{Event, Source};
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use rustix::event::{PollFd, PollFlags, Timespec};

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
    /// Whether `writable` was reported to the guest, and no write has found otherwise (see `--edge`).
    pub(crate) writable_reported: bool,
    /// Whether the peer has ended its stream.
    pub(crate) read_closed: bool,
    /// Whether the peer has sent urgent data. A read ends before such a byte, though more may follow.
    pub(crate) urgent: bool,
    /// The error that ended the connection, as long as the guest hasn't seen it. The system reports it once.
    pub(crate) error: Option<Errno>,
    /// Whether nothing was read since the last write, and that was complete. As far as the host can see, no request
    /// waits for its response.
    pub(crate) idle: bool,
    /// Its indices in the list of the poll in progress.
    pub(crate) read_asked: Asked,
    pub(crate) write_asked: Asked,
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
    /// Another process keeps it too, like systemd.
    pub(crate) inherited: bool,
    /// Whether the guest has seen that.
    pub(crate) end_seen: bool,
}

/// A subscription: its index in the list of the poll with this number. Number 0 means none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked {
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
            writable_reported: false,
            read_closed: false,
            urgent: false,
            error: None,
            idle: true,
            read_asked: Asked::default(),
            write_asked: Asked::default(),
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
    pub(crate) fn note(&mut self, event: &Event) {
        let failed = event.is_error();
        self.readable |= event.is_readable() || event.is_read_closed() || failed;
        self.writable |= event.is_writable() || event.is_write_closed() || failed;
        self.read_closed |= event.is_read_closed();
        self.urgent |= is_urgent(event);
        if failed && let Kind::Stream(stream) = &self.kind {
            // There is none if a call has already returned it to the guest.
            if let Ok(Some(error)) = stream.take_error() {
                self.error = Some(Errno::from(&error));
            }
        }
    }

    /// The input that is waiting now.
    ///
    /// # Errors
    /// The error that has ended the connection, as long as the guest hasn't seen it.
    pub(crate) fn input(&mut self) -> Result<Option<Input>, Errno> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if !self.readable {
            return Ok(None);
        }
        let input = match &self.kind {
            // Another instance may have accepted the connection. How many wait isn't known, but at least one.
            Kind::Listener(Listener { socket, .. }) => {
                let ready = socket.as_ref().is_some_and(is_readable);
                ready.then_some(Input {
                    nbytes: 1,
                    hangup: false,
                })
            }
            Kind::Stream(stream) => stream_input(stream, self.read_closed, self.urgent),
        };
        self.readable = input.is_some();
        self.read_closed |= input.is_some_and(|input| input.hangup);
        Ok(input)
    }

    /// A read has returned `got` of the `room` bytes that it asked for.
    pub(crate) fn has_read(&mut self, got: usize, room: usize) {
        self.idle &= got == 0;
        if got == 0 {
            self.read_closed = true;
        } else if got < room && !self.read_closed && !self.urgent {
            // Everything was read. The kernel reports what comes next.
            self.readable = false;
        }
    }

    /// A write has accepted `taken` of the `offered` bytes.
    pub(crate) fn has_written(&mut self, taken: usize, offered: usize) {
        self.idle = taken == offered;
        if taken < offered {
            self.found_full();
        }
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
    let mut one = [PollFd::new(of, PollFlags::IN)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    rustix::event::poll(&mut one, Some(&now)).is_ok_and(|count| count > 0)
}

fn stream_input(stream: &TcpStream, read_closed: bool, urgent: bool) -> Option<Input> {
    let nbytes = || rustix::io::ioctl_fionread(stream).unwrap_or(0);
    let some = |nbytes| {
        Some(Input {
            nbytes,
            hangup: false,
        })
    };
    match nbytes() {
        0 if read_closed => Some(END),
        0 if !is_readable(stream) => None,
        // Readable, but without bytes: the end, or bytes that have just come, or urgent data.
        0 => match nbytes() {
            0 if urgent => some(1),
            0 => Some(END),
            nbytes => some(nbytes),
        },
        nbytes => some(nbytes),
    }
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
