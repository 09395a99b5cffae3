//! Native listening sockets: bound here, passed by systemd, or made by the user.

use std::net::{SocketAddr, TcpListener};

#[cfg(unix)]
use listenfd::ListenFd;
use log::info;
use socket2::SockRef;

use super::{TakeOnce, check_syntax};
use crate::error::{Error, ErrorKind, Result};
use crate::reactor::mio::MioReactor;

/// Listening sockets.
#[derive(Debug)]
pub(crate) struct Listeners {
    sockets: TakeOnce<Vec<TcpListener>>,
    /// The first socket's address, or why it is unknown.
    address: std::result::Result<SocketAddr, String>,
    nodelay: bool,
}

impl Listeners {
    /// Resolves `addr` and binds the first of its addresses that can be bound.
    pub(crate) fn bind(addr: &str) -> Result<Self> {
        check_syntax(addr)?;
        let socket = TcpListener::bind(addr).map_err(|error| {
            Error::with_source(ErrorKind::Address, format!("can't listen on {addr}"), error)
        })?;
        // std's backlog of 128 overflows in a burst. The system then drops connection requests, and
        // clients repeat them only after a second.
        SockRef::from(&socket)
            .listen(BACKLOG)
            .map_err(|error| Error::io(format!("can't listen on {addr}"), error))?;
        Ok(Self::from(socket))
    }

    /// Takes a socket made by the user.
    pub(crate) fn from_listener(socket: TcpListener) -> Result<Self> {
        Ok(Self::from(socket))
    }

    pub(crate) fn set_nodelay(&mut self, nodelay: bool) {
        self.nodelay = nodelay;
    }

    /// The first socket's address.
    pub(crate) fn local_addr(&self) -> Result<SocketAddr> {
        self.address
            .clone()
            .map_err(|why| Error::new(ErrorKind::Io, format!("can't get the address: {why}")))
    }

    /// Makes the reactor, which takes these sockets and closes them. Fails if it was called before.
    pub(crate) fn reactor(&self) -> Result<MioReactor> {
        let sockets = self.sockets.take()?;
        for socket in &sockets {
            match socket.local_addr() {
                Ok(addr) => info!(target: "mini_http", "listening on {addr}"),
                Err(error) => info!(target: "mini_http", "listening on a socket: {error}"),
            }
            set_nodelay(socket, self.nodelay)?;
        }
        Ok(MioReactor::new(sockets, self.nodelay && !INHERITS_NODELAY)?)
    }
}

/// The most connections that wait to be accepted. Linux's default maximum (`net.core.somaxconn`); the
/// system reduces it to its own.
const BACKLOG: i32 = 4096;

/// Whether accepted sockets inherit the listener's `TCP_NODELAY`, which saves a call per connection.
const INHERITS_NODELAY: bool = cfg!(target_os = "linux");

fn set_nodelay(socket: &TcpListener, nodelay: bool) -> Result<()> {
    if INHERITS_NODELAY {
        SockRef::from(socket)
            .set_tcp_nodelay(nodelay)
            .map_err(|error| Error::io("can't set TCP_NODELAY", error))?;
    }
    Ok(())
}

impl From<TcpListener> for Listeners {
    fn from(socket: TcpListener) -> Self {
        Self::from(vec![socket])
    }
}

impl From<Vec<TcpListener>> for Listeners {
    fn from(sockets: Vec<TcpListener>) -> Self {
        let address = match sockets.first() {
            Some(first) => first.local_addr().map_err(|error| error.to_string()),
            None => Err("the server has no listening socket".into()),
        };
        Self {
            sockets: TakeOnce::new(sockets),
            address,
            nodelay: true,
        }
    }
}

/// Sockets passed by systemd's socket activation: `LISTEN_FDS` of them from fd 3 on, if `LISTEN_PID` is
/// this process (`sd_listen_fds(3)`).
#[cfg(unix)]
impl Listeners {
    /// Takes all passed sockets.
    pub(crate) fn preopened() -> Result<Self> {
        let mut passed = ListenFd::from_env();
        let sockets = (0..passed.len()).map(|index| take(&mut passed, index));
        let sockets: Vec<_> = sockets.collect::<Result<_>>()?;
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
        let mut passed = ListenFd::from_env();
        let count = passed.len();
        match usize::try_from(fd)
            .ok()
            .and_then(|fd| fd.checked_sub(FIRST_FD))
        {
            Some(index) if index < count => take(&mut passed, index).map(Self::from),
            _ => Err(Error::new(
                ErrorKind::NoListener,
                format!(
                    "fd {fd} was not passed: LISTEN_FDS names {count} sockets from fd {FIRST_FD} \
                     on. For a socket of your own, make a std::net::TcpListener of it and use \
                     Server::from_listener"
                ),
            )),
        }
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
fn take(passed: &mut ListenFd, index: usize) -> Result<TcpListener> {
    let fd = index + FIRST_FD;
    match passed.take_tcp_listener(index) {
        Ok(Some(socket)) => Ok(socket),
        Ok(None) => Err(Error::new(
            ErrorKind::NoListener,
            format!("fd {fd} of LISTEN_FDS is in use already"),
        )),
        Err(error) => Err(Error::with_source(
            ErrorKind::NoListener,
            format!("fd {fd} of LISTEN_FDS is not a listening TCP socket"),
            error,
        )),
    }
}
