//! Sockets that are bound here, handed over by systemd, or the user's own.

use std::net::{SocketAddr, TcpListener};

#[cfg(unix)]
use listenfd::ListenFd;
use log::info;
use socket2::SockRef;

use super::check_syntax;
use crate::error::{Error, ErrorKind, Result};
use crate::reactor::mio::MioReactor;

/// Listening sockets.
#[derive(Debug)]
pub(crate) struct Listeners {
    sockets: Vec<TcpListener>,
    nodelay: bool,
}

impl Listeners {
    /// Resolves `addr` and binds the first of its addresses that can be bound.
    pub(crate) fn bind(addr: &str) -> Result<Self> {
        check_syntax(addr)?;
        let socket = TcpListener::bind(addr).map_err(|error| {
            Error::with_source(ErrorKind::Address, format!("can't listen on {addr}"), error)
        })?;
        // std's backlog of 128 is full in a burst, and then the system drops what a newcomer sends:
        // it tries again after a second.
        SockRef::from(&socket)
            .listen(BACKLOG)
            .map_err(|error| Error::io(format!("can't listen on {addr}"), error))?;
        Ok(Self::from(socket))
    }

    /// The user's own socket.
    pub(crate) fn from_listener(socket: TcpListener) -> Result<Self> {
        Ok(Self::from(socket))
    }

    pub(crate) fn set_nodelay(&mut self, nodelay: bool) {
        self.nodelay = nodelay;
    }

    /// The first socket's address.
    pub(crate) fn local_addr(&self) -> Result<SocketAddr> {
        let first = self.sockets.first().ok_or_else(|| {
            Error::new(ErrorKind::NoListener, "the server has no listening socket")
        })?;
        first
            .local_addr()
            .map_err(|error| Error::io("can't tell the address", error))
    }

    /// The reactor that serves these sockets; they stay open when it ends.
    pub(crate) fn reactor(&self) -> Result<MioReactor> {
        let mut sockets = Vec::with_capacity(self.sockets.len());
        for socket in &self.sockets {
            match socket.local_addr() {
                Ok(addr) => info!(target: "mini_http", "listening on {addr}"),
                Err(error) => info!(target: "mini_http", "listening on a socket: {error}"),
            }
            let socket = socket.try_clone()?;
            set_nodelay(&socket, self.nodelay)?;
            sockets.push(socket);
        }
        Ok(MioReactor::new(sockets, self.nodelay && !INHERITS_NODELAY)?)
    }
}

/// Connections that wait to be accepted; the system may allow fewer (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// Whether an accepted socket has the listener's TCP_NODELAY, which saves a call for each.
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
        Self {
            sockets,
            nodelay: true,
        }
    }
}

/// Sockets that systemd hands over: `LISTEN_FDS` of them from fd 3, if `LISTEN_PID` is this process
/// (sd_listen_fds(3)).
#[cfg(unix)]
impl Listeners {
    /// Takes all of them.
    pub(crate) fn preopened() -> Result<Self> {
        let mut handed = ListenFd::from_env();
        let sockets = (0..handed.len()).map(|index| take(&mut handed, index));
        let sockets: Vec<_> = sockets.collect::<Result<_>>()?;
        if sockets.is_empty() {
            return Err(Error::new(
                ErrorKind::NoListener,
                "no sockets were handed over: LISTEN_FDS is not set, or LISTEN_PID is another \
                 process. Start the program by a systemd socket unit or systemd-socket-activate, \
                 or use Server::new with an address",
            ));
        }
        Ok(Self::from(sockets))
    }

    /// Takes the one with this number.
    pub(crate) fn from_fd(fd: u32) -> Result<Self> {
        let mut handed = ListenFd::from_env();
        let count = handed.len();
        match usize::try_from(fd)
            .ok()
            .and_then(|fd| fd.checked_sub(FIRST_FD))
        {
            Some(index) if index < count => take(&mut handed, index).map(Self::from),
            _ => Err(Error::new(
                ErrorKind::NoListener,
                format!(
                    "fd {fd} was not handed over: LISTEN_FDS names {count} sockets from fd {FIRST_FD} \
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
            "sockets are handed over only on Unix; use Server::new with an address",
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

/// The number of the first socket that is handed over (`SD_LISTEN_FDS_START`).
#[cfg(unix)]
const FIRST_FD: usize = 3;

/// Takes one of the sockets that were handed over.
#[cfg(unix)]
fn take(handed: &mut ListenFd, index: usize) -> Result<TcpListener> {
    let fd = index + FIRST_FD;
    match handed.take_tcp_listener(index) {
        Ok(Some(socket)) => Ok(socket),
        Ok(None) => Err(Error::new(
            ErrorKind::NoListener,
            format!("fd {fd} of LISTEN_FDS is taken already"),
        )),
        Err(error) => Err(Error::with_source(
            ErrorKind::NoListener,
            format!("fd {fd} of LISTEN_FDS is not a listening TCP socket"),
            error,
        )),
    }
}
