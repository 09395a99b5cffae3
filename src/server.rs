//! The server: what a user makes, sets and starts.

use std::net::{SocketAddr, TcpListener};

use http::Response;

use crate::body::Body;
use crate::error::Result;
use crate::event_loop::{self, Settings};
use crate::handle::Handle;
use crate::limits::Limits;
use crate::listeners::Listeners;
use crate::reactor::Reactor;
use crate::request::Request;

/// An HTTP/1.1 server.
///
/// ```no_run
/// fn main() -> mini_http::Result<()> {
///     mini_http::Server::new("127.0.0.1:3000")?
///         .start(|request| mini_http::Response::new(request.body().to_vec()))
/// }
/// ```
///
/// One thread does everything: while the handler runs, nothing else is served.
#[derive(Debug)]
pub struct Server {
    listeners: Listeners,
    settings: Settings,
    handle: Handle,
}

impl Server {
    /// A server on `addr`, which is `host:port`; port 0 lets the system choose one, which
    /// [`local_addr`](Self::local_addr) tells. Connections are taken by the system from now on,
    /// and served from [`start`](Self::start) on.
    ///
    /// On WASI preview 1 a module can't bind. There the server takes the listening sockets that
    /// the runtime hands over, as [`preopened`](Self::preopened) does; `addr` is only checked for
    /// its form, and the log says that it is not used. On WASI 0.2 it binds as natively, if the
    /// runtime allows the network.
    ///
    /// # Errors
    /// [`Address`](crate::ErrorKind::Address) if `addr` is malformed, its host is not found, or it
    /// can't be bound; on preview 1 the errors of [`preopened`](Self::preopened).
    pub fn new(addr: &str) -> Result<Self> {
        Listeners::bind(addr).map(Self::with)
    }

    /// A server on the listening sockets that were handed to this process or module.
    ///
    /// Natively those of systemd's socket activation (`LISTEN_FDS` and `LISTEN_PID`). On WASI
    /// preview 1 those that the runtime was told to open: every listening socket that is found
    /// from fd 3 up, or the one whose number is in the environment variable `MINI_HTTP_FD`. WASI 0.2
    /// has no such thing: use [`new`](Self::new) there.
    ///
    /// # Errors
    /// [`NoListener`](crate::ErrorKind::NoListener) if there is none; the text says what was found
    /// instead, and how to hand one over; [`Unsupported`](crate::ErrorKind::Unsupported) on WASI 0.2.
    pub fn preopened() -> Result<Self> {
        Listeners::preopened().map(Self::with)
    }

    /// A server on the listening socket with this file descriptor's number.
    ///
    /// On WASI preview 1 that is any listening socket of the module, as `MINI_HTTP_FD` names one. On
    /// Unix it is one that was handed over (`LISTEN_FDS`, as for [`preopened`](Self::preopened)): for
    /// another, make a [`TcpListener`] of it and use [`from_listener`](Self::from_listener).
    ///
    /// # Errors
    /// [`NoListener`](crate::ErrorKind::NoListener) if it is not such a socket;
    /// [`Unsupported`](crate::ErrorKind::Unsupported) on WASI 0.2 and Windows, where sockets have no
    /// such numbers.
    pub fn from_fd(fd: u32) -> Result<Self> {
        Listeners::from_fd(fd).map(Self::with)
    }

    /// A server on your own listening socket.
    ///
    /// # Errors
    /// [`NoListener`](crate::ErrorKind::NoListener) on WASI preview 1 if the runtime says that it isn't
    /// a listening socket; [`Unsupported`](crate::ErrorKind::Unsupported) on WASI 0.2, where a socket
    /// of `std` can't be taken apart into the resources that it is made of.
    pub fn from_listener(listener: TcpListener) -> Result<Self> {
        Listeners::from_listener(listener).map(Self::with)
    }

    /// Whether small answers are sent at once (`TCP_NODELAY`) instead of waiting for the client to
    /// acknowledge what was sent before. On by default. On WASI there is no call for it; the
    /// runtime decides.
    pub fn tcp_nodelay(&mut self, nodelay: bool) -> &mut Self {
        self.listeners.set_nodelay(nodelay);
        self
    }

    /// Sets the bounds on what clients may cost; see [`Limits`].
    pub fn limits(&mut self, set: impl FnOnce(&mut Limits)) -> &mut Self {
        set(&mut self.settings.limits);
        self
    }

    /// Whether a panic of the handler is caught: the client gets 500, its connection is closed,
    /// and the server goes on. On by default. Where panics abort, as on WASI, a panic ends the
    /// process whatever is set here.
    pub fn catch_panics(&mut self, catch: bool) -> &mut Self {
        self.settings.catch_panics = catch;
        self
    }

    /// The address of the (first) listening socket.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) on WASI preview 1, which has no call to tell
    /// it.
    pub fn local_addr(&self) -> Result<SocketAddr> {
        self.listeners.local_addr()
    }

    /// A hold on the server while it runs: counters, and [`stop`](Handle::stop).
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves, until [`Handle::stop`] is called; only once, since the listening sockets are closed then.
    /// Each request is given to `handler`, whole, and
    /// what it returns is sent; requests of one connection in their order.
    ///
    /// `Date`, `Content-Length` and `Connection` are added. A handler may set `Date` itself, and
    /// `Connection: close` to close the connection. What it sets as `Content-Length`,
    /// `Transfer-Encoding` or `Trailer` is replaced by what is true, except for the
    /// `Content-Length` of an empty answer to HEAD.
    ///
    /// # Errors
    /// [`Setting`](crate::ErrorKind::Setting) if a limit is out of range, or the server was started
    /// before;
    /// [`Io`](crate::ErrorKind::Io) if the operating system or runtime fails in a way that ends
    /// the server. Nothing that a client does is such an error.
    pub fn start<H>(&self, handler: H) -> Result<()>
    where
        H: FnMut(Request) -> Response<Vec<u8>>,
    {
        self.serve(handler)
    }

    /// Like [`start`](Self::start), with a body of any kind that is a [`Body`].
    ///
    /// # Errors
    /// Those of [`start`](Self::start).
    pub fn serve<B, H>(&self, handler: H) -> Result<()>
    where
        B: Body,
        H: FnMut(Request) -> Response<B>,
    {
        self.settings.limits.check()?;
        self.handle.start()?;
        // Also when the handler's panic is passed on.
        let _running = Running(&self.handle);
        let reactor = self.listeners.reactor()?;
        self.handle.set_waker(reactor.waker());
        Ok(event_loop::serve(
            reactor,
            handler,
            &self.settings,
            &self.handle,
        )?)
    }

    fn with(listeners: Listeners) -> Self {
        let settings = Settings {
            limits: Limits::default(),
            catch_panics: true,
        };
        Self {
            listeners,
            settings,
            handle: Handle::new(),
        }
    }
}

/// While it lives, the server runs.
struct Running<'a>(&'a Handle);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.stopped();
    }
}
