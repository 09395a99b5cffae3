//! [`TcpListener`]: a listening socket that the runtime has opened.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::TcpStream;
use crate::event::Source;
use crate::io_source::IoSource;
use crate::selector::Subject;
use crate::{Interest, Registry, Token, sys, unsupported};

/// A listening socket that the runtime has passed to the program.
pub struct TcpListener {
    pub(super) source: IoSource<sys::TcpListener>,
    /// Connections that were accepted already: registering a listener tries to accept. They are kept here when the
    /// registration ends before the user has accepted them.
    accepted: Mutex<Vec<TcpStream>>,
}

impl TcpListener {
    /// Always fails: preview 1 can't bind.
    ///
    /// # Errors
    /// [`Unsupported`](io::ErrorKind::Unsupported).
    pub fn bind(_addr: SocketAddr) -> io::Result<Self> {
        Err(unsupported(
            "WASI preview 1 can't bind: the runtime opens the listener (wasmtime 36 to 46: `-S \
             preview2=n -S tcplisten=ADDR`, wasmi: `--tcplisten ADDR`, wazero: `-listen=ADDR`), and \
             `mio::preopened_listener` returns it",
        ))
    }

    pub(crate) const fn of(socket: sys::TcpListener) -> Self {
        Self {
            source: IoSource::listener(socket),
            accepted: Mutex::new(Vec::new()),
        }
    }

    /// Accepts a connection, which is non-blocking. The address is 0.0.0.0:0, as in std: preview 1
    /// has no call for it.
    ///
    /// # Errors
    /// `WouldBlock` if there is none; otherwise the error of `sock_accept`.
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let stream = match self.accepted().pop() {
            Some(stream) => stream,
            None => TcpStream::of(self.source.accept()?),
        };
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        Ok((stream, nowhere))
    }

    #[cfg_attr(test, allow(dead_code, reason = "for the conversions of std"))]
    pub(super) fn into_socket(self) -> sys::TcpListener {
        self.source.into_socket()
    }

    fn report_accepted(&self) {
        if !self.accepted().is_empty() {
            self.source.report_accepted();
        }
    }

    fn accepted(&self) -> MutexGuard<'_, Vec<TcpStream>> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for TcpListener {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.source
            .register(registry, Subject::Listener, token, interests)?;
        self.report_accepted();
        Ok(())
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.source.reregister(registry, token, interests)?;
        self.report_accepted();
        Ok(())
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        let accepted = self.source.deregister(registry)?;
        self.accepted()
            .extend(accepted.into_iter().map(TcpStream::of));
        Ok(())
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}
