//! The native reactor, over mio: edge-triggered epoll, kqueue or IOCP.
//!
//! A stream is registered after its first turn, for reading. Interest in writing is added when a write first finds
//! no room. It is never removed, because an edge that nothing waits for costs nothing.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
#[cfg(unix)]
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant as StdInstant};

use mio::event::Source;
use mio::{Events, Poll, Token, Waker};
use poll_turns::Key;
use socket2::{SockRef, TcpKeepalive};

use super::keep_alive::{PROBE_AFTER, PROBE_INTERVAL, PROBES};
#[cfg(all(feature = "systemd", unix))]
use super::service::{Member, Service};
use super::{Accepted, Event, Interest, Peer, Reactor, Readiness};
use crate::listeners::Socket;
#[cfg(unix)]
use crate::listeners::SocketFile;
use crate::time::Instant;

/// Listeners and streams in one `mio::Poll`.
#[derive(Debug)]
pub(crate) struct MioReactor {
    poll: Poll,
    events: Events,
    /// The event loop's number of a listener is its index here. `None`: it was closed.
    listeners: Vec<Option<Listener>>,
    waker: Arc<Waker>,
    started: StdInstant,
    /// Whether to set TCP_NODELAY on each accepted stream.
    nodelay: bool,
    /// What is reported to systemd.
    #[cfg(all(feature = "systemd", unix))]
    service: Option<Member>,
}

#[derive(Debug)]
enum Listener {
    Tcp {
        listener: mio::net::TcpListener,
        /// The local address of all its connections. `None` if it listens on all addresses of the machine: then each
        /// has to be asked for its own.
        address: Option<SocketAddr>,
    },
    #[cfg(unix)]
    Unix {
        listener: mio::net::UnixListener,
        /// Removed when this is dropped, after the socket is closed.
        #[expect(dead_code, reason = "dropping it removes the file")]
        file: Option<Arc<SocketFile>>,
    },
}

/// A stream; its token is its key.
#[derive(Debug)]
pub(crate) struct MioStream {
    /// Of TCP, or a Unix domain socket: the calls of reading, writing and shutting down are the same for all stream
    /// sockets.
    socket: mio::net::TcpStream,
    token: Token,
    /// Not a Unix domain socket. Only TCP has resets, probes and `TCP_NODELAY`.
    is_tcp: bool,
    is_registered: bool,
    interest: mio::Interest,
}

/// More output follows: an incomplete packet isn't sent yet (`send(2)`).
#[cfg(any(target_os = "android", target_os = "linux"))]
const MSG_MORE: i32 = 0x8000;

/// Writing to a peer that is gone returns an error and raises no signal. std sets this, too.
#[cfg(any(target_os = "android", target_os = "linux"))]
const MSG_NOSIGNAL: i32 = 0x4000;

impl MioReactor {
    /// The most events of one wait; the others are reported by the next. At half, a wait for 1,000 ready connections
    /// takes two calls; at double, the list takes 24 KiB, and new connections wait for the turns of 2,000.
    const MAX_EVENTS: usize = 1024;
    /// No key has this token, nor one of the tokens just below it, which are the listeners': slots are numbered
    /// from 0, and there are fewer than half of `usize::MAX`.
    const WAKER: Token = Token(usize::MAX);

    /// A reactor with these listeners. Makes them non-blocking.
    pub(crate) fn new(listeners: Vec<Socket>, nodelay: bool) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), Self::WAKER)?);
        let mut registered = Vec::with_capacity(listeners.len());
        for (number, socket) in listeners.into_iter().enumerate() {
            let mut listener = Listener::new(socket)?;
            let token = Self::listener_token(number);
            poll.registry()
                .register(listener.source(), token, mio::Interest::READABLE)?;
            registered.push(Some(listener));
        }
        Ok(Self {
            poll,
            events: Events::with_capacity(Self::MAX_EVENTS),
            listeners: registered,
            waker,
            started: StdInstant::now(),
            nodelay,
            #[cfg(all(feature = "systemd", unix))]
            service: None,
        })
    }

    /// Reports to systemd from now on, together with the server's other reactors.
    #[cfg(all(feature = "systemd", unix))]
    pub(crate) fn with_service(mut self, service: Arc<Service>) -> Self {
        self.service = Some(service.join());
        self
    }

    const fn listener_token(number: usize) -> Token {
        Token(usize::MAX - 1 - number)
    }

    #[cfg(not(unix))]
    fn deregister(&mut self, mut stream: MioStream) -> MioStream {
        if stream.is_registered
            && let Err(error) = self.poll.registry().deregister(&mut stream.socket)
        {
            crate::log::debug!(target: "mini_http", "deregistering a stream: {error}");
        }
        stream
    }

    fn listener_number(&self, token: Token) -> Option<usize> {
        let number = (usize::MAX - 1).checked_sub(token.0)?;
        (number < self.listeners.len()).then_some(number)
    }
}

impl Listener {
    fn new(socket: Socket) -> io::Result<Self> {
        Ok(match socket {
            Socket::Tcp { listener, .. } => {
                listener.set_nonblocking(true)?;
                let address = listener.local_addr().ok();
                Self::Tcp {
                    listener: mio::net::TcpListener::from_std(listener),
                    address: address.filter(|address| !address.ip().is_unspecified()),
                }
            }
            #[cfg(unix)]
            Socket::Unix { file, listener } => {
                listener.set_nonblocking(true)?;
                let listener = mio::net::UnixListener::from_std(listener);
                Self::Unix { file, listener }
            }
        })
    }

    fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp { listener, .. } => listener,
            #[cfg(unix)]
            Self::Unix { listener, .. } => listener,
        }
    }

    /// A connection, its peer, and the address at this end.
    fn accept(&self) -> io::Result<(mio::net::TcpStream, Peer, Option<SocketAddr>)> {
        match self {
            Self::Tcp { listener, address } => {
                let (socket, peer) = listener.accept()?;
                let local = address.or_else(|| socket.local_addr().ok());
                Ok((socket, Peer::Address(peer), local))
            }
            #[cfg(unix)]
            Self::Unix { listener, .. } => {
                let (socket, _) = listener.accept()?;
                Ok((OwnedFd::from(socket).into(), Peer::Unix, None))
            }
        }
    }
}

impl Reactor for MioReactor {
    type Stream = MioStream;

    /// epoll and kqueue report bytes that arrive after a short read. mio's Windows backend arms a
    /// direction again only after `WouldBlock`.
    ///
    /// The end of a stream may come with the last bytes, and then isn't reported a second time. kqueue sets `EV_EOF`
    /// on that one event (epoll: `EPOLLRDHUP`), which mio returns as [`read_closed`](Readiness::read_closed). Because
    /// of it, the loop reads on after a short read until a read returns 0. This was seen with epoll only: for kqueue,
    /// the code is type-checked here, and tested by the workflow on macOS.
    const SHORT_IS_LAST: bool = cfg!(unix);

    const READS_NEW: bool = true;

    fn listeners(&self) -> usize {
        self.listeners.len()
    }

    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        #[cfg(all(feature = "systemd", unix))]
        let timeout = match &mut self.service {
            Some(service) => service.before_wait(timeout),
            None => timeout,
        };
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        for event in &self.events {
            let token = event.token();
            if token == Self::WAKER {
                continue;
            }
            events.push(match self.listener_number(token) {
                Some(number) => Event::Listener(number),
                None => Event::Stream(
                    Key::from_usize(token.0),
                    Readiness {
                        readable: event.is_readable(),
                        writable: event.is_writable(),
                        read_closed: event.is_read_closed() || event.is_error(),
                        failed: event.is_error(),
                    },
                ),
            });
        }
        Ok(())
    }

    #[cfg(all(feature = "systemd", unix))]
    fn stopping(&mut self) {
        if let Some(service) = &self.service {
            service.stopping();
        }
    }

    /// Nothing to do: the loop remembers that a listener was reported, and mio doesn't report it again.
    fn set_accepting(&mut self, _listener: usize, _accepting: bool) {}

    fn close_listener(&mut self, listener: usize) -> io::Result<()> {
        if let Some(mut listener) = self.listeners[listener].take()
            && let Err(error) = self.poll.registry().deregister(listener.source())
        {
            crate::log::debug!(target: "mini_http", "deregistering a listener: {error}");
        }
        Ok(())
    }

    fn accept(&mut self, listener: usize, key: Key) -> io::Result<Accepted<MioStream>> {
        let Some(listener) = &self.listeners[listener] else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let (socket, peer, local) = listener.accept()?;
        let token = Token(key.to_usize());
        let is_tcp = peer != Peer::Unix;
        if self.nodelay && is_tcp {
            // If this fails, the client has gone, and the first read finds that out.
            let _ = socket.set_nodelay(true);
        }
        let fd = fd_number(&socket);
        let stream = MioStream {
            socket,
            token,
            is_tcp,
            is_registered: false,
            interest: mio::Interest::READABLE,
        };
        Ok(Accepted {
            stream,
            peer,
            local,
            fd,
        })
    }

    fn watch(&mut self, stream: &mut MioStream) -> io::Result<()> {
        let registry = self.poll.registry();
        registry.register(&mut stream.socket, stream.token, stream.interest)?;
        stream.is_registered = true;
        Ok(())
    }

    fn read(&mut self, stream: &mut MioStream, buf: &mut [u8]) -> io::Result<usize> {
        stream.socket.read(buf)
    }

    fn write(&mut self, stream: &mut MioStream, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        match bufs {
            [one] => stream.socket.write(one),
            several => stream.socket.write_vectored(several),
        }
    }

    /// The last packet also carries the end of the stream. So the client's system has one packet less to handle; if the
    /// client is on the same machine, that saves this system's time.
    #[cfg(any(target_os = "android", target_os = "linux"))]
    fn write_last(&mut self, stream: &mut MioStream, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let socket = SockRef::from(&stream.socket);
        let flags = MSG_MORE | MSG_NOSIGNAL;
        match bufs {
            [one] => socket.send_with_flags(one, flags),
            several => socket.send_vectored_with_flags(several, flags),
        }
    }

    fn set_interest(&mut self, stream: &mut MioStream, interest: Interest) {
        if !interest.write || stream.interest.is_writable() {
            return;
        }
        stream.interest |= mio::Interest::WRITABLE;
        if !stream.is_registered {
            return;
        }
        let registry = self.poll.registry();
        if let Err(error) = registry.reregister(&mut stream.socket, stream.token, stream.interest) {
            stream.interest = mio::Interest::READABLE;
            // The connection ends at its write deadline.
            crate::log::error!(target: "mini_http", "can't wait for room to write: {error}");
        }
    }

    fn shutdown_write(&mut self, stream: &mut MioStream) -> io::Result<()> {
        stream.socket.shutdown(Shutdown::Write)
    }

    /// epoll and kqueue end the registration with the close. If a child process that is being started has a copy
    /// of the file descriptor, they do that later. Until then events may arrive; the loop drops them by their key.
    fn close(&mut self, stream: MioStream) {
        #[cfg(not(unix))]
        let stream = self.deregister(stream);
        drop(stream);
    }

    fn reset(&mut self, stream: MioStream) {
        // A close with a linger time of 0 sends RST. A Unix domain socket has no reset, and is only closed.
        if stream.is_tcp
            && let Err(error) = SockRef::from(&stream.socket).set_linger(Some(Duration::ZERO))
        {
            crate::log::debug!(target: "mini_http", "can't reset a connection: {error}");
        }
        self.close(stream);
    }

    fn probe(&mut self, stream: &mut MioStream) {
        // The peer of a Unix domain socket is a process of this system: its end is always seen.
        if !stream.is_tcp {
            return;
        }
        let probes = TcpKeepalive::new().with_time(PROBE_AFTER);
        // Elsewhere the system's own values hold.
        #[cfg(any(
            target_os = "android",
            target_os = "dragonfly",
            target_os = "freebsd",
            target_os = "illumos",
            target_os = "linux",
            target_os = "netbsd",
            target_vendor = "apple",
            windows
        ))]
        let probes = probes.with_interval(PROBE_INTERVAL).with_retries(PROBES);
        if let Err(error) = SockRef::from(&stream.socket).set_tcp_keepalive(&probes) {
            crate::log::debug!(target: "mini_http", "can't turn on keep-alive probes: {error}");
        }
    }

    fn now(&self) -> Instant {
        Instant::default() + self.started.elapsed()
    }

    fn waker(&self) -> Option<Arc<dyn Fn() + Send + Sync>> {
        let waker = Arc::clone(&self.waker);
        Some(Arc::new(move || {
            if let Err(error) = waker.wake() {
                crate::log::error!(target: "mini_http", "can't wake the server: {error}");
            }
        }))
    }
}

#[cfg(unix)]
fn fd_number(socket: &mio::net::TcpStream) -> Option<u32> {
    use std::os::fd::AsRawFd;
    u32::try_from(socket.as_raw_fd()).ok()
}

#[cfg(not(unix))]
fn fd_number(_socket: &mio::net::TcpStream) -> Option<u32> {
    None
}
