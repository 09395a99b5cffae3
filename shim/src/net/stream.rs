//! [`TcpStream`]: a connection that was accepted.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{self, SocketAddr};

use crate::event::Source;
use crate::io_source::IoSource;
use crate::selector::Subject;
use crate::{Interest, Registry, Token, sys, unsupported};

/// A connection that was accepted.
pub struct TcpStream {
    pub(super) source: IoSource<sys::TcpStream>,
}

impl TcpStream {
    /// Always fails: preview 1 can't connect.
    ///
    /// # Errors
    /// [`Unsupported`](io::ErrorKind::Unsupported).
    pub fn connect(_addr: SocketAddr) -> io::Result<Self> {
        Err(unsupported(
            "WASI preview 1 can't connect to anything: it only accepts connections from listeners \
             that the runtime has opened",
        ))
    }

    pub(crate) fn of(socket: sys::TcpStream) -> Self {
        let source = IoSource::stream(socket);
        Self { source }
    }

    /// Shuts down one or both directions.
    ///
    /// # Errors
    /// The error of `sock_shutdown`.
    pub fn shutdown(&self, how: net::Shutdown) -> io::Result<()> {
        self.source.shutdown(match how {
            net::Shutdown::Read => wasip1_poll::Shutdown::Read,
            net::Shutdown::Write => wasip1_poll::Shutdown::Write,
            net::Shutdown::Both => wasip1_poll::Shutdown::Both,
        })
    }

    /// Makes a call on the socket for which this type has no method. If it fails with `WouldBlock`, the
    /// direction is waited for again. A poll finds out which direction that is.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn try_io<F, T>(&self, f: F) -> io::Result<T>
    where
        F: FnOnce() -> io::Result<T>,
    {
        self.source.try_io(f)
    }

    #[cfg(test)]
    pub(crate) fn fd(&self) -> wasip1_poll::Fd {
        sys::Socket::fd(self.source.socket())
    }

    #[cfg_attr(test, allow(dead_code, reason = "for the conversions of std"))]
    pub(super) fn into_socket(self) -> sys::TcpStream {
        self.source.into_socket()
    }
}

impl Source for TcpStream {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.source
            .register(registry, Subject::Stream, token, interests)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.source.reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.source.deregister(registry).map(drop)
    }
}

impl Read for &TcpStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.source.read(buf)
    }

    // Runtimes fill only the first buffer.
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let first = bufs.iter_mut().find(|buf| !buf.is_empty());
        self.source.read(first.map_or(&mut [], |buf| buf))
    }
}

impl Read for TcpStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(bufs)
    }
}

impl Write for &TcpStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.source.write(&[IoSlice::new(buf)])
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.source.write(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for TcpStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self).flush()
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}
