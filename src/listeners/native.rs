//! Native listening sockets: bound here, passed by systemd, or made by the user.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
#[cfg(unix)]
use std::os::fd::OwnedFd;
#[cfg(unix)]
use std::os::unix::net::UnixListener;
#[cfg(all(feature = "systemd", unix))]
use std::sync::Arc;
#[cfg(unix)]
use std::sync::Mutex;

#[cfg(unix)]
use listenfd::ListenFd;

use super::bind::{Cause, Failure, bind_all, resolve};
use super::socket::Socket;
use super::{TakeOnce, check_syntax};
use crate::error::{Error, ErrorKind, Result};
#[cfg(unix)]
use crate::executor::lock;
use crate::log::warn;
use crate::reactor::mio::MioReactor;
#[cfg(all(feature = "systemd", unix))]
use crate::reactor::service::Service;

/// Listening sockets.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(super) sockets: TakeOnce<Vec<Socket>>,
    /// Further sockets at the addresses of `sockets`, for several workers.
    pub(super) beside: TakeOnce<Vec<Socket>>,
    /// The addresses of the TCP sockets, or why they are unknown.
    addresses: std::result::Result<Vec<SocketAddr>, String>,
    nodelay: bool,
    /// What the reactors report to systemd.
    #[cfg(all(feature = "systemd", unix))]
    pub(super) service: Option<Arc<Service>>,
    /// Whether the reactor logs the addresses. Of several workers, only the first one does.
    is_logged: bool,
}

impl Listeners {
    /// Binds all addresses of `addr`.
    pub(crate) fn bind(addr: &str) -> Result<Self> {
        let mut listeners = Self::from(Vec::new());
        listeners.add(addr)?;
        Ok(listeners)
    }

    /// Adds sockets at all addresses of `addr`.
    pub(crate) fn add(&mut self, addr: &str) -> Result<()> {
        let (sockets, beside) = (self.sockets.get_mut()?, self.beside.get_mut()?);
        #[cfg(unix)]
        if let Some(path) = addr.strip_prefix(super::UNIX) {
            sockets.push(super::unix::bind(path.as_ref())?);
            return Ok(());
        }
        check_syntax(addr)?;
        let failed = |source| {
            let text = format!("can't listen on {addr}");
            Error::with_source(ErrorKind::Address, text, source)
        };
        let addresses = resolve(addr).map_err(failed)?;
        let mut narrowed = Vec::new();
        let bound = bind_all(&addresses, |address| {
            bind_beside(sockets, beside, &mut narrowed, address)
        });
        if bound.is_err() {
            widen(sockets, beside, &narrowed);
            self.addresses = addresses_of(sockets);
        }
        let bound = bound.map_err(|failure| {
            let text = failure_text(addr, &failure);
            Error::with_source(ErrorKind::Address, text, failure.error)
        })?;
        if bound.is_empty() {
            let why = format!("can't listen on {addr}: the host has no address");
            return Err(Error::new(ErrorKind::Address, why));
        }
        sockets.extend(bound);
        self.addresses = addresses_of(sockets);
        Ok(())
    }

    /// Takes a socket made by the user.
    pub(crate) fn from_listener(socket: TcpListener) -> Result<Self> {
        Ok(Self::from(vec![Socket::passed(socket)]))
    }

    pub(crate) fn set_nodelay(&mut self, nodelay: bool) {
        self.nodelay = nodelay;
    }

    /// The addresses of the sockets of TCP.
    pub(crate) fn local_addrs(&self) -> Result<Vec<SocketAddr>> {
        let unknown =
            |why: &String| Error::new(ErrorKind::Io, format!("can't get an address: {why}"));
        self.addresses.as_ref().cloned().map_err(unknown)
    }

    /// The address of the first socket of TCP.
    pub(crate) fn local_addr(&self) -> Result<SocketAddr> {
        let first = self.local_addrs()?.into_iter().next();
        first.ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported,
                "all sockets of the server are Unix domain sockets, which have a path instead of an address",
            )
        })
    }

    /// The sockets of one worker.
    pub(super) fn part(&self, sockets: Vec<Socket>, is_first: bool) -> Self {
        Self {
            addresses: self.addresses.clone(),
            nodelay: self.nodelay,
            is_logged: is_first,
            #[cfg(all(feature = "systemd", unix))]
            service: self.service.clone(),
            ..Self::from(sockets)
        }
    }

    /// Makes the reactor, which takes these sockets and closes them. Fails if it was called before.
    pub(crate) fn reactor(&self) -> Result<MioReactor> {
        let mut sockets = self.sockets.take()?;
        sockets.extend(self.beside.take()?);
        for socket in &sockets {
            if self.is_logged {
                socket.log();
            }
            if INHERITS_NODELAY {
                let set = socket.set_nodelay(self.nodelay);
                set.map_err(|error| Error::io("can't set TCP_NODELAY", error))?;
            }
        }
        let reactor = MioReactor::new(sockets, self.nodelay && !INHERITS_NODELAY)?;
        #[cfg(all(feature = "systemd", unix))]
        if let Some(service) = &self.service {
            return Ok(reactor.with_service(Arc::clone(service)));
        }
        Ok(reactor)
    }
}

/// Whether accepted sockets inherit the listener's `TCP_NODELAY`, which saves a call per connection.
const INHERITS_NODELAY: bool = cfg!(target_os = "linux");

/// Why `addr` could not be added. The system's own words follow as the cause.
fn failure_text<E>(addr: &str, failure: &Failure<E>) -> String {
    let address = failure.address;
    let which = match addr == address.to_string() {
        true => String::new(),
        false => format!(", which is {address}"),
    };
    let remedy = match failure.cause {
        Cause::InUse => "; stop what listens there, or use another port",
        Cause::Missing | Cause::Other => "",
    };
    format!("can't listen on {addr}{which}{remedy}")
}

/// Binds an address beside these sockets. If one of them is bound anew, those of `beside` at its address are closed.
///
/// A socket at the IPv6 wildcard usually takes IPv4 connections as well, so it would collide with an IPv4 socket of the
/// same port. If the server has such a socket, the wildcard is bound for IPv6 only. If the IPv4 socket is added later,
/// the wildcard is bound anew, because a bound socket can't be changed to IPv6 only. Its port is added to `narrowed`.
fn bind_beside(
    sockets: &mut Vec<Socket>,
    beside: &mut Vec<Socket>,
    narrowed: &mut Vec<u16>,
    address: SocketAddr,
) -> std::result::Result<(Socket, u16), (Cause, io::Error)> {
    let port = address.port();
    if address.is_ipv6() {
        let is_v4 = |it: SocketAddr| it.is_ipv4() && it.port() == port;
        let has_v4 = sockets
            .iter()
            .filter_map(Socket::local_addr)
            .flatten()
            .any(is_v4);
        return Socket::bind(address, has_v4 && address.ip().is_unspecified());
    }
    if let Some(at) = sockets.iter().position(|socket| socket.takes_v4(port)) {
        if let Err(failure) = rebind_wildcard(sockets, beside, at, port, true) {
            // The system may not have sockets for IPv6 only. Then the socket is bound as it was.
            if let Ok((as_before, _)) = Socket::bind(wildcard(port), false) {
                sockets.insert(at, as_before);
            }
            return Err(failure);
        }
        narrowed.push(port);
    }
    Socket::bind(address, false)
}

/// Called if addresses could not be added: wildcards that were bound for IPv6 only take IPv4 connections again.
fn widen(sockets: &mut Vec<Socket>, beside: &mut Vec<Socket>, narrowed: &[u16]) {
    for &port in narrowed {
        if let Some(at) = sockets.iter().position(|it| is_wildcard(it, port))
            && let Err((_, error)) = rebind_wildcard(sockets, beside, at, port, false)
        {
            warn!(target: "mini_http", "not listening on {} any more: {error}", wildcard(port));
        }
    }
}

fn wildcard(port: u16) -> SocketAddr {
    (Ipv6Addr::UNSPECIFIED, port).into()
}

fn is_wildcard(socket: &Socket, port: u16) -> bool {
    let address = socket.local_addr().and_then(io::Result::ok);
    address == Some(wildcard(port))
}

/// Binds the IPv6 wildcard anew. If that fails, its socket is lost: it had to be closed before.
fn rebind_wildcard(
    sockets: &mut Vec<Socket>,
    beside: &mut Vec<Socket>,
    at: usize,
    port: u16,
    only_v6: bool,
) -> std::result::Result<(), (Cause, io::Error)> {
    drop(sockets.remove(at));
    beside.retain(|it| !is_wildcard(it, port));
    let (socket, _) = Socket::bind(wildcard(port), only_v6)?;
    sockets.insert(at, socket);
    Ok(())
}

fn addresses_of(sockets: &[Socket]) -> std::result::Result<Vec<SocketAddr>, String> {
    let addresses = sockets.iter().filter_map(Socket::local_addr);
    addresses
        .collect::<io::Result<_>>()
        .map_err(|error| error.to_string())
}

impl From<Vec<Socket>> for Listeners {
    fn from(sockets: Vec<Socket>) -> Self {
        Self {
            addresses: addresses_of(&sockets),
            sockets: TakeOnce::new(sockets),
            beside: TakeOnce::new(Vec::new()),
            nodelay: true,
            #[cfg(all(feature = "systemd", unix))]
            service: None,
            is_logged: true,
        }
    }
}

/// What only Unix has.
#[cfg(unix)]
impl Listeners {
    /// Takes a socket made by the user.
    pub(crate) fn from_unix_listener(socket: UnixListener) -> Self {
        Self::from(vec![Socket::from(socket)])
    }

    /// Sets the permissions of the Unix domain sockets that were bound here.
    pub(crate) fn set_unix_mode(&mut self, mode: u32) -> Result<()> {
        for socket in self.sockets.get_mut()? {
            if let Socket::Unix {
                file: Some(file), ..
            } = socket
            {
                file.set_mode(mode)
                    .map_err(|error| Error::io("can't set the mode of a socket", error))?;
            }
        }
        Ok(())
    }

    /// Copies of the sockets, while they aren't taken.
    pub(crate) fn copies(&self) -> Result<Vec<OwnedFd>> {
        let copies = |sockets: &Vec<Socket>| {
            let copies = sockets.iter().map(Socket::copy);
            copies
                .collect::<io::Result<Vec<_>>>()
                .map_err(|error| Error::io("can't copy a listening socket", error))
        };
        let mut copied = self.sockets.inspect(copies)?;
        copied.extend(self.beside.inspect(copies)?);
        Ok(copied)
    }

    /// Has the reactors report to systemd, if `NOTIFY_SOCKET` is set.
    #[cfg(feature = "systemd")]
    pub(crate) fn notify_systemd(&mut self) {
        self.service = Service::from_env();
    }
}

/// The sockets that were passed to this process. They are remembered, because reading the variables removes them from
/// the environment.
#[cfg(unix)]
static PASSED: Mutex<Option<ListenFd>> = Mutex::new(None);

#[cfg(unix)]
fn with_passed<T>(take: impl FnOnce(&mut ListenFd) -> T) -> T {
    let mut passed = lock(&PASSED);
    let known = passed.take().filter(|known| known.len() > 0);
    take(passed.insert(known.unwrap_or_else(ListenFd::from_env)))
}

/// Sockets passed by systemd's socket activation: `LISTEN_FDS` of them from fd 3 on, if `LISTEN_PID` is
/// this process (`sd_listen_fds(3)`).
#[cfg(unix)]
impl Listeners {
    /// Takes all passed sockets.
    pub(crate) fn preopened() -> Result<Self> {
        let all = |passed: &mut ListenFd| {
            let sockets = (0..passed.len()).map(|index| take(passed, index));
            sockets.collect::<Result<Vec<_>>>()
        };
        let sockets = with_passed(all)?;
        if sockets.is_empty() {
            return Err(Error::new(
                ErrorKind::NoListener,
                "no sockets were passed: LISTEN_FDS is not set, or LISTEN_PID is another \
                 process. Start the program by a systemd socket unit or systemd-socket-activate, \
                 or use Server::new with an address",
            ));
        }
        Ok(Self::from(sockets))
    }

    /// Takes the passed socket with this file descriptor.
    pub(crate) fn from_fd(fd: u32) -> Result<Self> {
        let index = usize::try_from(fd).ok();
        let index = index.and_then(|fd| fd.checked_sub(FIRST_FD));
        with_passed(|passed| match (index, passed.len()) {
            (Some(index), count) if index < count => {
                take(passed, index).map(|socket| vec![socket].into())
            }
            (_, count) => Err(Error::new(
                ErrorKind::NoListener,
                format!(
                    "fd {fd} was not passed: LISTEN_FDS names {count} sockets from fd {FIRST_FD} \
                     on. For a socket of your own, make a std::net::TcpListener of it and use \
                     Server::from_listener"
                ),
            )),
        })
    }
}

#[cfg(not(unix))]
impl Listeners {
    pub(crate) fn preopened() -> Result<Self> {
        Err(Error::new(
            ErrorKind::Unsupported,
            "sockets can be passed only on Unix; use Server::new with an address",
        ))
    }

    pub(crate) fn from_fd(_: u32) -> Result<Self> {
        Err(Error::new(
            ErrorKind::Unsupported,
            "sockets have file descriptors only on Unix; use Server::new with an address, or \
             Server::from_listener",
        ))
    }
}

/// The first passed file descriptor (`SD_LISTEN_FDS_START`).
#[cfg(unix)]
const FIRST_FD: usize = 3;

/// Takes one of the passed sockets.
#[cfg(unix)]
fn take(passed: &mut ListenFd, index: usize) -> Result<Socket> {
    let fd = index + FIRST_FD;
    let taken = match passed.take_tcp_listener(index) {
        Ok(socket) => Ok(socket.map(Socket::passed)),
        Err(not_tcp) => match passed.take_unix_listener(index) {
            Ok(socket) => Ok(socket.map(Socket::from)),
            Err(_) => Err(not_tcp),
        },
    };
    let taken = taken.and_then(|socket| socket.map(Socket::check_listens).transpose());
    match taken {
        Ok(Some(socket)) => Ok(socket),
        Ok(None) => Err(Error::new(
            ErrorKind::NoListener,
            format!("fd {fd} of LISTEN_FDS is in use already: each can be taken once"),
        )),
        Err(error) => Err(Error::with_source(
            ErrorKind::NoListener,
            format!("fd {fd} of LISTEN_FDS is not a listening TCP or Unix domain socket"),
            error,
        )),
    }
}
