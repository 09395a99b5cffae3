//! The server: constructors, settings, and `start`.

mod workers;

use std::net::{SocketAddr, TcpListener};
use std::sync::OnceLock;

use http::Response;

use crate::body::{Body, Whole};
use crate::error::Result;
use crate::event_loop::{self, Settings};
use crate::executor::Task;
use crate::executor::waiting::{self, ServerId};
use crate::handle::Handle;
use crate::incoming::{Incoming, StreamedRequest, with_conversion};
use crate::into_response::IntoResponse;
use crate::limits::Limits;
use crate::listeners::Listeners;
use crate::reactor::Reactor;
use crate::request::Request;
use workers::Workers;

/// An HTTP/1.1 server.
///
/// ```no_run
/// fn main() -> mini_http::Result<()> {
///     mini_http::Server::new("127.0.0.1:3000")?
///         .start(|request| mini_http::Response::new(request.body().to_vec()))
/// }
/// ```
///
/// Everything runs on one thread: while the handler runs, no other connection is served. With several
/// [`workers`](Self::workers), each of them runs on a thread.
#[derive(Debug)]
pub struct Server {
    pub(crate) listeners: Listeners,
    pub(crate) settings: Settings,
    handle: Handle,
    workers: Workers,
    id: ServerId,
    /// Drops the tasks that were spawned and never ran. Set by the first `spawn`: a program that spawns none
    /// doesn't contain the code for it.
    forget: OnceLock<fn(ServerId)>,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(forget) = self.forget.get() {
            forget(self.id);
        }
    }
}

impl Server {
    /// A server that listens on `addr`: `host:port`, or natively on Unix also `unix:/path`. The system queues
    /// connections from now on; they are served once [`start`](Self::start) is called. More addresses are added by
    /// [`and_listen`](Self::and_listen).
    ///
    /// **`host:port`** is an IP address or a name, with a port. The server listens on all addresses of the
    /// name; `localhost` is `127.0.0.1` and `[::1]`. Addresses that the system doesn't have are left out, as long as
    /// there is another one. With port 0 the system chooses a port, the same for all of them;
    /// [`local_addrs`](Self::local_addrs) returns it. `[::]` takes IPv4 connections as well where the system does that
    /// by default, as Linux does, but not WASI 0.2.
    ///
    /// **`unix:/path`** is a Unix domain socket with this file. Only the owner of the process can connect; see
    /// `unix_mode`. The file is removed when the server stops or is dropped, unless another process listens on a copy
    /// (`listening_fds`). If there is one from a server that was killed, it is replaced, after 100 ms in which no
    /// process listens on it. A socket in use is never replaced, nor is a file of another kind. Requests have no
    /// [`peer_addr`](Request::peer_addr). An HTTP/1.0 response of unknown length ends with the
    /// connection: if it can't be completed, it looks complete to the client, because only TCP has resets.
    ///
    /// **On WASI.** A WASI preview 1 module can't bind sockets. There, this uses the listening sockets that the
    /// runtime passes to the module, like [`preopened`](Self::preopened); only the form of `addr` is
    /// checked, and the log says that it is not used. On WASI 0.2 it binds as it does natively, if the
    /// runtime permits network access; names other than `localhost` need a permission of their own.
    ///
    /// # Errors
    /// [`Address`](crate::ErrorKind::Address) if `addr` is malformed, its host is not found, or it
    /// can't be bound; on WASI preview 1 also the errors of [`preopened`](Self::preopened).
    pub fn new(addr: &str) -> Result<Self> {
        Listeners::bind(addr).map(Self::with)
    }

    /// Listens on another address, too: any that [`new`](Self::new) takes.
    ///
    /// ```no_run
    /// # fn main() -> mini_http::Result<()> {
    /// let mut server = mini_http::Server::new("192.0.2.1:80")?;
    /// server.and_listen("localhost:3000")?.and_listen("unix:/run/app/http.sock")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// `0.0.0.0` and `[::]` can have the same port. (If `[::]` comes first, it is bound anew, without IPv4, and
    /// the connections that its old socket has queued are lost.)
    ///
    /// # Errors
    /// Those of [`new`](Self::new); [`NoListener`](crate::ErrorKind::NoListener) if the server was started.
    pub fn and_listen(&mut self, addr: &str) -> Result<&mut Self> {
        self.listeners.add(addr)?;
        Ok(self)
    }

    /// A server on the listening sockets that were passed to this process or module.
    ///
    /// On Unix these are the sockets of systemd's socket activation (`LISTEN_FDS` and `LISTEN_PID`,
    /// see `sd_listen_fds(3)`): of TCP, or Unix domain sockets. On WASI preview 1 they are the sockets
    /// that the runtime was started with: every listening socket from fd 3 on, or only the one whose
    /// number is in the environment variable `MINI_HTTP_FD`. WASI 0.2 has no
    /// preopened sockets: use [`new`](Self::new) there.
    ///
    /// # Errors
    /// [`NoListener`](crate::ErrorKind::NoListener) if there is none; the text says what was found
    /// instead, and how to pass a socket. [`Unsupported`](crate::ErrorKind::Unsupported) on WASI 0.2
    /// and Windows.
    pub fn preopened() -> Result<Self> {
        Listeners::preopened().map(Self::with)
    }

    /// A server on the listening socket with this file descriptor.
    ///
    /// On WASI preview 1 it can be any listening socket of the module. On Unix it has to be one of
    /// those passed by `LISTEN_FDS`, as for [`preopened`](Self::preopened); for another one, make a
    /// [`TcpListener`] of it and use [`from_listener`](Self::from_listener). Several servers can have one of
    /// them each.
    ///
    /// # Errors
    /// [`NoListener`](crate::ErrorKind::NoListener) if `fd` is not such a socket, or on Unix if it is in use already;
    /// [`Unsupported`](crate::ErrorKind::Unsupported) on WASI 0.2 and Windows, where sockets have no
    /// file descriptors.
    pub fn from_fd(fd: u32) -> Result<Self> {
        Listeners::from_fd(fd).map(Self::with)
    }

    /// A server on your own listening socket.
    ///
    /// # Errors
    /// [`NoListener`](crate::ErrorKind::NoListener) on WASI preview 1 if the runtime reports that it
    /// isn't a listening socket; [`Unsupported`](crate::ErrorKind::Unsupported) on WASI 0.2, where the
    /// WASI resources of a `std` socket are not accessible.
    pub fn from_listener(listener: TcpListener) -> Result<Self> {
        Listeners::from_listener(listener).map(Self::with)
    }

    /// A server on your own listening Unix domain socket. Its file is yours, too: the server doesn't remove it.
    #[cfg(unix)]
    #[must_use]
    pub fn from_unix_listener(listener: std::os::unix::net::UnixListener) -> Self {
        Self::with(Listeners::from_unix_listener(listener))
    }

    /// Sets the mode of the files of the Unix domain sockets that this server has bound so far: a process that may
    /// write to a file can connect. The default is `0o600`: only processes of the same user. For a proxy that runs as
    /// another user, in the group of the file, set `0o660`.
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io) if the system refuses it; [`NoListener`](crate::ErrorKind::NoListener) if the
    /// server was started.
    #[cfg(unix)]
    pub fn unix_mode(&mut self, mode: u32) -> Result<&mut Self> {
        self.listeners.set_unix_mode(mode)?;
        Ok(self)
    }

    /// Sets `TCP_NODELAY` on accepted connections: a small response is sent at once, without waiting
    /// for the client to acknowledge earlier data. On by default. WASI has no call for it, so there
    /// the runtime decides.
    pub fn tcp_nodelay(&mut self, nodelay: bool) -> &mut Self {
        self.listeners.set_nodelay(nodelay);
        self
    }

    /// Changes the limits on memory, sizes, numbers and times; see [`Limits`]. They are checked by
    /// [`start`](Self::start).
    pub fn limits(&mut self, set: impl FnOnce(&mut Limits)) -> &mut Self {
        set(&mut self.settings.limits);
        self
    }

    /// Whether a panic of the handler is caught: then the client gets 500, its connection is closed,
    /// and the server continues. On by default. If off, the panic is passed on to the caller of
    /// [`start`](Self::start). Where panics abort, as on WASI, a panic ends the process in any case.
    pub fn catch_panics(&mut self, catch: bool) -> &mut Self {
        self.settings.catch_panics = catch;
        self
    }

    /// Whether each connection begins with a header of the PROXY protocol, version 1 or 2, in which a proxy reports
    /// its client's address (HAProxy's `send-proxy` and `send-proxy-v2`). Off by default. On WASI preview 1 this is the
    /// only way for the server itself to learn a client's address.
    ///
    /// If it is on, the address in the header is that of [`peer_addr`](Request::peer_addr) and
    /// [`PeerAddr`](crate::PeerAddr). They have none if the proxy says that it doesn't know it, or if it isn't an
    /// IP address. For connections of the proxy's own (`LOCAL`, with which it sees if the server is alive) they
    /// are as without a header.
    ///
    /// Connections without a valid header are closed without a response, for the reason
    /// [`BadProxyHeader`](crate::CloseReason::BadProxyHeader), and so are those whose header is late
    /// ([`proxy_header_timeout`](Limits::proxy_header_timeout)) or too long
    /// ([`max_proxy_header`](Limits::max_proxy_header)). A client that connects directly can claim any address:
    /// let only the proxy connect, by a firewall, a private network or a Unix domain socket.
    #[cfg(feature = "proxy-protocol")]
    pub fn proxy_protocol(&mut self, is_on: bool) -> &mut Self {
        self.settings.read_proxy_header = match is_on {
            true => Some(crate::conn::proxy_header::read),
            false => None,
        };
        self
    }

    /// The addresses of the listening sockets, in the order in which they were bound. Unix domain sockets have none.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) on WASI preview 1, which has no call for it;
    /// [`Io`](crate::ErrorKind::Io) if the system can't report one.
    pub fn local_addrs(&self) -> Result<Vec<SocketAddr>> {
        self.listeners.local_addrs()
    }

    /// The first of the [`local_addrs`](Self::local_addrs).
    ///
    /// # Errors
    /// Those of `local_addrs`; [`Unsupported`](crate::ErrorKind::Unsupported), too, if all sockets are Unix domain
    /// sockets.
    pub fn local_addr(&self) -> Result<SocketAddr> {
        self.listeners.local_addr()
    }

    /// Copies of the listening sockets, for a process that is to go on accepting when this one stops. Call it before
    /// the server is started.
    ///
    /// A program started with [`Command`](std::process::Command) doesn't inherit them, unless they are passed to it
    /// explicitly, as the example `restart` does by systemd's protocol ([`preopened`](Self::preopened) takes them).
    /// While a copy is open, the system queues connections, even when this server has stopped. So drop the copies
    /// when they aren't needed. The file of a Unix domain socket stays, too.
    ///
    /// # Errors
    /// [`NoListener`](crate::ErrorKind::NoListener) if the server was started; [`Io`](crate::ErrorKind::Io) if the
    /// system can't copy a socket.
    #[cfg(unix)]
    pub fn listening_fds(&self) -> Result<Vec<std::os::fd::OwnedFd>> {
        self.listeners.copies()
    }

    /// A handle, to stop the server and to read its counters while it runs.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves until [`Handle::stop`] is called. A server can be started once, because its listening
    /// sockets are closed when it stops.
    ///
    /// `handler` is called with each complete request, and the response it returns is sent. Requests
    /// of one connection are handled in their order.
    ///
    /// `Date`, `Content-Length` and `Connection` are added to the response. A handler may set `Date`
    /// itself, and `Connection: close` to close the connection. Its own `Content-Length`,
    /// `Transfer-Encoding` and `Trailer` are dropped, except for the `Content-Length` of an empty
    /// response to HEAD. An interim status (1xx, RFC 9110 §15.2) is not a final response: the client
    /// gets 500 instead.
    ///
    /// # Errors
    /// [`Setting`](crate::ErrorKind::Setting) if a limit is out of range, if the server was started
    /// before, or if it has several [`workers`](Self::workers); [`Io`](crate::ErrorKind::Io) if the
    /// operating system or the WASI runtime fails in a way that ends the server. No client can cause an error.
    ///
    /// # Panics
    /// If `handler` panics and [`catch_panics`](Self::catch_panics) is off.
    pub fn start<H>(&self, handler: H) -> Result<()>
    where
        H: FnMut(Request) -> Response<Vec<u8>>,
    {
        self.serve(handler)
    }

    /// Like [`start`](Self::start), with a body of any kind that is a [`Body`].
    ///
    /// A [`Reader`](crate::body::Reader), [`Chunks`](crate::body::Chunks) and
    /// [`AnyBody`](crate::body::AnyBody) are sent in pieces, by the same loop as the bodies of
    /// [`serve_async`](Self::serve_async): the next piece is made when the client has taken enough of those
    /// before, and in between other requests are served. As with `start`, the handler gets
    /// complete requests.
    ///
    /// ```no_run
    /// use std::fs::File;
    ///
    /// use mini_http::{Response, Server, body::{AnyBody, Reader}};
    ///
    /// fn main() -> mini_http::Result<()> {
    ///     Server::new("127.0.0.1:3000")?.serve(|_request| match File::open("large.bin") {
    ///         Ok(file) => Response::new(Reader::new(file).into()),
    ///         Err(_) => Response::new(AnyBody::from("there is no file\n")),
    ///     })
    /// }
    /// ```
    ///
    /// # Errors
    /// Those of [`start`](Self::start).
    ///
    /// # Panics
    /// Like [`start`](Self::start).
    pub fn serve<B, H>(&self, handler: H) -> Result<()>
    where
        B: Body,
        H: FnMut(Request) -> Response<B>,
    {
        B::serve(self, handler)
    }

    /// Serves a handler whose response bodies are complete.
    pub(crate) fn serve_whole<B, H>(&self, handler: H) -> Result<()>
    where
        B: Whole,
        H: FnMut(Request) -> Response<B>,
    {
        self.workers.check_single()?;
        self.settings.limits.check()?;
        self.handle.start()?;
        // Marks the server as stopped on return, also if a handler's panic unwinds through here.
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

    /// Like [`serve`](Self::serve), with a handler that returns a future, and with bodies that stream in both
    /// directions. `B` is an [`http_body::Body`], and the request has an [`Incoming`].
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use mini_http::{Incoming, Response, Server, http::Request, sleep};
    ///
    /// async fn later(_request: Request<Incoming>) -> Response<String> {
    ///     sleep(Duration::from_millis(200)).await;
    ///     Response::new("200 ms later".into())
    /// }
    ///
    /// fn main() -> mini_http::Result<()> {
    ///     Server::new("127.0.0.1:3000")?.serve_async(later)
    /// }
    /// ```
    ///
    /// The handler is called when the head of a request is complete. Its future and its response's body are
    /// polled on this thread, concurrently with those of other requests; requests of one connection are handled one
    /// after the other. A future that never becomes ready costs only its own connection. One whose `poll` doesn't
    /// return stops the whole server. Futures can be woken from other threads.
    ///
    /// If the future returns an error, the client gets 500, or the status of the [`Refusal`](crate::Refusal) that
    /// is among the error's causes. The body is polled while there is room for more output. Its length is
    /// announced if it is known, or if the handler has set `Content-Length`; otherwise the body is chunked. If
    /// it returns an error, or has another length than announced, the connection is closed so that the
    /// client sees that the response isn't complete; on HTTP/1.0 that is a reset, on WASI just a close.
    /// For HEAD, 204, 205 and 304 the body isn't polled.
    ///
    /// If the client resets the connection, the future and the body are dropped.
    ///
    /// The handler also gets CONNECT (RFC 9110 §9.3.6). If it makes a tunnel of it by [`upgrade`](crate::upgrade()), it
    /// responds with 2xx; without that, a 2xx becomes 501. After each other response to CONNECT, the connection is
    /// closed.
    ///
    /// # Errors
    /// Those of [`start`](Self::start). [`Setting`](crate::ErrorKind::Setting), too, if tasks were
    /// [spawned](Self::spawn) on another thread.
    ///
    /// # Panics
    /// If the handler, its future, a body or a task panics and [`catch_panics`](Self::catch_panics) is off.
    pub fn serve_async<H, F>(&self, handler: H) -> Result<()>
    where
        H: FnMut(http::Request<Incoming>) -> F,
        F: Future<Output: IntoResponse>,
    {
        self.serve_single(with_conversion(handler))
    }

    /// [`serve_async`](Self::serve_async) with a handler that converts the request itself.
    pub(crate) fn serve_single<H, F>(&self, handler: H) -> Result<()>
    where
        H: FnMut(StreamedRequest) -> F,
        F: Future<Output: IntoResponse>,
    {
        self.serve_futures(handler, &self.settings)
    }

    /// Serves an asynchronous handler with these settings.
    pub(crate) fn serve_futures<H, F>(&self, handler: H, settings: &Settings) -> Result<()>
    where
        H: FnMut(StreamedRequest) -> F,
        F: Future<Output: IntoResponse>,
    {
        self.workers.check_single()?;
        settings.limits.check()?;
        let tasks = waiting::take(self.id)?;
        self.handle.start()?;
        let _running = Running(&self.handle);
        let reactor = self.listeners.reactor()?;
        self.handle.set_waker(reactor.waker());
        Ok(event_loop::serve_async(
            reactor,
            handler,
            tasks,
            settings,
            &self.handle,
        )?)
    }

    /// Adds a task that runs concurrently with the requests of [`serve_async`](Self::serve_async), which must be called
    /// on the same thread. With several [`workers`](Self::workers), it runs beside the first. See
    /// [`spawn`](crate::spawn).
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.add_task(Box::pin(task));
    }

    fn add_task(&self, task: Task) {
        self.forget.get_or_init(|| waiting::forget);
        waiting::add(self.id, task);
    }

    fn with(listeners: Listeners) -> Self {
        Self {
            listeners,
            settings: Settings::default(),
            handle: Handle::new(),
            workers: Workers::default(),
            id: ServerId::new(),
            forget: OnceLock::new(),
        }
    }
}

/// The server is running while this exists.
struct Running<'a>(&'a Handle);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.stopped();
    }
}
