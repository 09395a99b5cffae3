//! Listening sockets on WASI preview 1: opened by the runtime, because a module can't bind any.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, IntoRawFd};

use crate::log::{info, warn};
use wasip1_poll::{Fd, Hints, Preview1, Traced, discover, preopens};

use super::check_syntax;
use crate::error::{Error, ErrorKind, Result};
use crate::reactor::wasip1::Wasip1Reactor;

/// The environment variable that selects a single file descriptor to serve.
const FD_VARIABLE: &str = "MINI_HTTP_FD";

/// Listening sockets.
#[derive(Debug)]
pub(crate) struct Listeners {
    fds: Vec<Fd>,
}

impl Listeners {
    /// Checks the form of `addr`, which can't be bound, and takes the sockets that the runtime opened.
    pub(crate) fn bind(addr: &str) -> Result<Self> {
        check_syntax(addr)?;
        let listeners = Self::preopened()?;
        log_unused(addr);
        Ok(listeners)
    }

    /// Checks the form of `addr`: all listening sockets that the runtime has opened are served already.
    pub(crate) fn add(&mut self, addr: &str) -> Result<()> {
        check_syntax(addr)?;
        log_unused(addr);
        Ok(())
    }

    /// Takes all listening sockets that the runtime opened, or only the one that `MINI_HTTP_FD` names.
    pub(crate) fn preopened() -> Result<Self> {
        let only = match std::env::var(FD_VARIABLE) {
            Err(_) => None,
            Ok(text) => Some(text.parse().map_err(|_| {
                Error::new(
                    ErrorKind::NoListener,
                    format!(
                        "{FD_VARIABLE}={text:?} is not the number of a file descriptor: set it \
                         to one, like 3, or unset it to serve every listener that is found"
                    ),
                )
            })?),
        };
        Self::find(only)
    }

    /// Takes the socket with this file descriptor.
    pub(crate) fn from_fd(fd: Fd) -> Result<Self> {
        Self::find(Some(fd))
    }

    /// Takes a socket made by the user.
    pub(crate) fn from_listener(socket: TcpListener) -> Result<Self> {
        let fd = socket.as_raw_fd();
        let fd = Fd::try_from(fd).map_err(|_| {
            Error::new(
                ErrorKind::NoListener,
                format!("fd {fd} is not a file descriptor"),
            )
        })?;
        let listeners = Self::from_fd(fd)?;
        // The reactor owns the file descriptor from now on.
        let _ = socket.into_raw_fd();
        Ok(listeners)
    }

    fn find(only: Option<Fd>) -> Result<Self> {
        let found = discover(&Traced(Preview1), only, &Hints::from_env())
            .map_err(|error| Error::new(ErrorKind::NoListener, error.to_string()))?;
        // libc's own scan for preopened directories stops at the first socket; `std::fs` would not
        // find the directories after it.
        if let Err(error) = preopens::register(&found.directories) {
            warn!(target: "mini_http", "std::fs can't use the preopened directories: {error}");
        }
        Ok(Self {
            fds: found
                .listeners
                .into_iter()
                .map(|listener| listener.fd)
                .collect(),
        })
    }

    pub(crate) fn set_nodelay(&mut self, nodelay: bool) {
        info!(target: "mini_http", "tcp_nodelay({nodelay}) has no effect on WASI preview 1");
    }

    pub(crate) fn local_addrs(&self) -> Result<Vec<SocketAddr>> {
        self.local_addr().map(|address| vec![address])
    }

    pub(crate) fn local_addr(&self) -> Result<SocketAddr> {
        Err(Error::new(
            ErrorKind::Unsupported,
            "WASI preview 1 has no call for a socket's address; it is the one that the runtime \
             was started with",
        ))
    }

    /// Makes the reactor, which takes these sockets and closes them.
    pub(crate) fn reactor(&self) -> Result<Wasip1Reactor<Traced<Preview1>>> {
        for fd in &self.fds {
            info!(target: "mini_http", "listening on preopened socket fd {fd}");
        }
        Wasip1Reactor::new(Traced(Preview1), self.fds.iter().copied())
            .map_err(|error| Error::new(ErrorKind::NoListener, error.to_string()))
    }
}

fn log_unused(addr: &str) {
    info!(
        target: "mini_http",
        "the address {addr} is not used: on WASI preview 1 the runtime has opened the sockets"
    );
}
