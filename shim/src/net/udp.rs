//! [`UdpSocket`]: exists only so that code which names it compiles.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;

use crate::event::Source;
use crate::{Interest, Registry, Token, unsupported};

/// A UDP socket. None can be created, because preview 1 can't open one. The type and its methods for datagrams exist
/// so that code which uses them compiles.
#[derive(Debug)]
pub struct UdpSocket(Infallible);

impl UdpSocket {
    /// Always fails.
    ///
    /// # Errors
    /// [`Unsupported`](io::ErrorKind::Unsupported).
    pub fn bind(_addr: SocketAddr) -> io::Result<Self> {
        Err(unsupported("WASI preview 1 has no UDP sockets"))
    }

    /// Can't be called: there is no socket.
    ///
    /// # Errors
    /// None.
    pub fn connect(&self, _addr: SocketAddr) -> io::Result<()> {
        match self.0 {}
    }

    /// Can't be called: there is no socket.
    ///
    /// # Errors
    /// None.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self.0 {}
    }

    /// Can't be called: there is no socket.
    ///
    /// # Errors
    /// None.
    pub fn send(&self, _buf: &[u8]) -> io::Result<usize> {
        match self.0 {}
    }

    /// Can't be called: there is no socket.
    ///
    /// # Errors
    /// None.
    pub fn send_to(&self, _buf: &[u8], _target: SocketAddr) -> io::Result<usize> {
        match self.0 {}
    }

    /// Can't be called: there is no socket.
    ///
    /// # Errors
    /// None.
    pub fn recv(&self, _buf: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }

    /// Can't be called: there is no socket.
    ///
    /// # Errors
    /// None.
    pub fn recv_from(&self, _buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        match self.0 {}
    }
}

impl Source for UdpSocket {
    fn register(&mut self, _: &Registry, _: Token, _: Interest) -> io::Result<()> {
        match self.0 {}
    }

    fn reregister(&mut self, _: &Registry, _: Token, _: Interest) -> io::Result<()> {
        match self.0 {}
    }

    fn deregister(&mut self, _: &Registry) -> io::Result<()> {
        match self.0 {}
    }
}
