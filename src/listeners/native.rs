//! Sockets that are bound here, handed over by systemd, or the user's own.

use std::net::{SocketAddr, TcpListener};

use log::info;
use socket2::SockRef;

use super::{Untaken, check_syntax};
use crate::error::{Error, ErrorKind, Result};
use crate::reactor::mio::MioReactor;

/// Listening sockets.
#[derive(Debug)]
pub(crate) struct Listeners {
    sockets: Untaken<Vec<TcpListener>>,
    /// The first socket's address, or why there is none.
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
        // std's backlog of 128 is full in a burst, and then the system drops what a newcomer sends:
        // it tries again after a second.
        SockRef::from(&socket)
            .listen(BACKLOG)
            .map_err(|error| Error::io(format!("can't listen on {addr}"), error))?;
        Ok(Self::from(socket))
    }

    /// Takes the sockets that systemd hands over: `LISTEN_FDS` of them from fd 3, if `LISTEN_PID`
    /// is this process (sd_listen_fds(3)).
    #[cfg(unix)]
    pub(crate) fn preopened() -> Result<Self> {
        let mut handed = listenfd::ListenFd::from_env();
        let mut sockets = Vec::with_capacity(handed.len());
        for number in 0..handed.len() {
            let socket = handed.take_tcp_listener(number).map_err(|error| {
                let fd = number + 3;
                Error::with_source(
                    ErrorKind::NoListener,
                    format!("fd {fd} of LISTEN_FDS is not a listening TCP socket"),
                    error,
                )
            })?;
            sockets.extend(socket);
        }
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

    #[cfg(not(unix))]
    pub(crate) fn preopened() -> Result<Self> {
        Err(Error::new(
            ErrorKind::Unsupported,
            "sockets are handed over only on Unix; use Server::new with an address",
        ))
    }

    pub(crate) fn set_nodelay(&mut self, nodelay: bool) {
        self.nodelay = nodelay;
    }

    /// The first socket's address.
    pub(crate) fn local_addr(&self) -> Result<SocketAddr> {
        self.address
            .clone()
            .map_err(|why| Error::new(ErrorKind::Io, format!("can't tell the address: {why}")))
    }

    /// The one reactor, which serves these sockets and closes them.
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
        let address = match sockets.first() {
            Some(first) => first.local_addr().map_err(|error| error.to_string()),
            None => Err("the server has no listening socket".into()),
        };
        Self {
            sockets: Untaken::new(sockets),
            address,
            nodelay: true,
        }
    }
}
