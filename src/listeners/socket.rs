//! A native listening socket: of TCP, or a Unix domain socket.

use std::io;
use std::net::{SocketAddr, TcpListener};
#[cfg(unix)]
use std::os::fd::{AsFd, OwnedFd};
#[cfg(unix)]
use std::os::unix::net::UnixListener;
#[cfg(unix)]
use std::sync::Arc;

use crate::log::info;
use socket2::{Domain, SockRef, Type};

use super::bind::Cause;
#[cfg(unix)]
use super::unix::SocketFile;

/// A listening socket.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp {
        listener: TcpListener,
        /// The server has bound it itself.
        is_bound_here: bool,
    },
    #[cfg(unix)]
    Unix {
        listener: UnixListener,
        /// The file to remove, if the server has made it. It comes last, because the socket is to be closed before.
        file: Option<Arc<SocketFile>>,
    },
}

impl Socket {
    /// A socket that was passed to the server. A Unix domain socket may have been converted to a `TcpListener`.
    pub(super) fn passed(listener: TcpListener) -> Self {
        #[cfg(unix)]
        if is_unix(&listener) {
            return Self::Unix {
                file: None,
                listener: OwnedFd::from(listener).into(),
            };
        }
        Self::Tcp {
            listener,
            is_bound_here: false,
        }
    }

    /// Binds an address. Returns the port, too.
    pub(super) fn bind(
        address: SocketAddr,
        only_v6: bool,
    ) -> Result<(Self, u16), (Cause, io::Error)> {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, None)
            // The system doesn't have the family.
            .map_err(|error| (Cause::Missing, error))?;
        let listener = listen(socket, address, only_v6).map_err(|error| {
            let cause = match error.kind() {
                io::ErrorKind::AddrNotAvailable => Cause::Missing,
                io::ErrorKind::AddrInUse => Cause::InUse,
                _ => Cause::Other,
            };
            (cause, error)
        })?;
        let port = listener.local_addr().map_or(0, |address| address.port());
        let socket = Self::Tcp {
            listener,
            is_bound_here: true,
        };
        Ok((socket, port))
    }

    /// Its address. `None` for a Unix domain socket.
    pub(super) fn local_addr(&self) -> Option<io::Result<SocketAddr>> {
        match self {
            Self::Tcp { listener, .. } => Some(listener.local_addr()),
            #[cfg(unix)]
            Self::Unix { .. } => None,
        }
    }

    /// Whether IPv4 connections to this port come to this socket, which the server has bound at the IPv6 wildcard.
    pub(super) fn takes_v4(&self, port: u16) -> bool {
        match self {
            Self::Tcp {
                listener,
                is_bound_here: true,
            } => {
                let is_at = |address: SocketAddr| {
                    address.is_ipv6() && address.ip().is_unspecified() && address.port() == port
                };
                listener.local_addr().is_ok_and(is_at)
                    && SockRef::from(listener).only_v6().is_ok_and(|only| !only)
            }
            Self::Tcp { .. } => false,
            #[cfg(unix)]
            Self::Unix { .. } => false,
        }
    }

    /// Sets `TCP_NODELAY`, which accepted sockets inherit. Unix domain sockets delay nothing.
    pub(super) fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        match self {
            Self::Tcp { listener, .. } => SockRef::from(listener).set_tcp_nodelay(nodelay),
            #[cfg(unix)]
            Self::Unix { .. } => Ok(()),
        }
    }

    /// Writes to the log where the server listens.
    pub(super) fn log(&self) {
        match self {
            Self::Tcp { listener, .. } => match listener.local_addr() {
                Ok(addr) => info!(target: "mini_http", "listening on {addr}"),
                Err(error) => info!(target: "mini_http", "listening on a socket: {error}"),
            },
            #[cfg(unix)]
            Self::Unix { listener, .. } => {
                let address = listener.local_addr().ok();
                match address.as_ref().and_then(|it| it.as_pathname()) {
                    Some(path) => info!(
                        target: "mini_http", "listening on {}{}", super::UNIX, path.display()
                    ),
                    None => info!(target: "mini_http", "listening on a Unix domain socket"),
                }
            }
        }
    }
}

#[cfg(unix)]
impl Socket {
    /// Returns it if it listens, as far as the system says.
    pub(super) fn check_listens(self) -> io::Result<Self> {
        match self.listens()? {
            true => Ok(self),
            false => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it doesn't listen; with Accept=yes, a socket unit passes a connection in its place",
            )),
        }
    }

    fn listens(&self) -> io::Result<bool> {
        cfg_if::cfg_if! {
            if #[cfg(any(target_os = "android", target_os = "freebsd", target_os = "linux"))] {
                match self {
                    Self::Tcp { listener, .. } => SockRef::from(listener).is_listener(),
                    Self::Unix { listener, .. } => SockRef::from(listener).is_listener(),
                }
            } else {
                Ok(true)
            }
        }
    }

    /// A copy for another process. While that listens, the file of a Unix domain socket stays.
    pub(super) fn copy(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Tcp { listener, .. } => listener.as_fd().try_clone_to_owned(),
            Self::Unix { listener, .. } => listener.as_fd().try_clone_to_owned(),
        }
    }
}

#[cfg(unix)]
impl From<UnixListener> for Socket {
    fn from(listener: UnixListener) -> Self {
        Self::Unix {
            file: None,
            listener,
        }
    }
}

/// The most connections that wait to be accepted. Linux's default maximum (`net.core.somaxconn`); the
/// system reduces it to its own. std's backlog of 128 overflows in a burst: then the system drops connection
/// requests, and clients repeat them only after a second.
pub(super) const BACKLOG: i32 = 4096;

/// Binds a socket, and listens.
pub(super) fn listen(
    socket: socket2::Socket,
    address: SocketAddr,
    only_v6: bool,
) -> io::Result<TcpListener> {
    // As std does: an address can be bound again while connections of an earlier server are in TIME_WAIT. On Windows
    // the option would let others take the address.
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    if only_v6 {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(unix)]
fn is_unix(listener: &TcpListener) -> bool {
    let address = SockRef::from(listener).local_addr();
    address.is_ok_and(|address| address.is_unix())
}
