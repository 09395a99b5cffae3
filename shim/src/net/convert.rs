//! Conversions from and to std's sockets and file descriptors, and the methods that only call std's.

use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use super::{TcpListener, TcpStream};

/// Most of these fail with `Unsupported`, as std's do.
impl TcpListener {
    /// Converts a listener of std, which should be non-blocking.
    #[must_use]
    pub fn from_std(listener: net::TcpListener) -> Self {
        Self::of(listener)
    }

    /// The address; preview 1 has no call for it.
    ///
    /// # Errors
    /// Those of std.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.socket().local_addr()
    }

    /// Sets `IP_TTL`, for which preview 1 has no call.
    ///
    /// # Errors
    /// Those of std.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.source.socket().set_ttl(ttl)
    }

    /// Returns `IP_TTL`, for which preview 1 has no call.
    ///
    /// # Errors
    /// Those of std.
    pub fn ttl(&self) -> io::Result<u32> {
        self.source.socket().ttl()
    }

    /// Takes the error of the socket, for which preview 1 has no call.
    ///
    /// # Errors
    /// Those of std.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.source.socket().take_error()
    }
}

/// Most of these fail with `Unsupported`, as std's do.
impl TcpStream {
    /// Converts a stream of std, which must be non-blocking.
    #[must_use]
    pub fn from_std(stream: net::TcpStream) -> Self {
        Self::of(stream)
    }

    /// The peer's address; preview 1 has no call for it.
    ///
    /// # Errors
    /// Those of std.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.source.socket().peer_addr()
    }

    /// This end's address; preview 1 has no call for it.
    ///
    /// # Errors
    /// Those of std.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.socket().local_addr()
    }

    /// Sets `TCP_NODELAY`, for which preview 1 has no call.
    ///
    /// # Errors
    /// Those of std.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.source.socket().set_nodelay(nodelay)
    }

    /// Returns `TCP_NODELAY`, for which preview 1 has no call.
    ///
    /// # Errors
    /// Those of std.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.source.socket().nodelay()
    }

    /// Sets `IP_TTL`, for which preview 1 has no call.
    ///
    /// # Errors
    /// Those of std.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.source.socket().set_ttl(ttl)
    }

    /// Returns `IP_TTL`, for which preview 1 has no call.
    ///
    /// # Errors
    /// Those of std.
    pub fn ttl(&self) -> io::Result<u32> {
        self.source.socket().ttl()
    }

    /// Takes the error of the socket, for which preview 1 has no call.
    ///
    /// # Errors
    /// Those of std.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.source.socket().take_error()
    }

    /// Reads without removing the bytes, which std doesn't support on preview 1.
    ///
    /// # Errors
    /// Those of std.
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.source.try_io(|| self.source.socket().peek(buf))
    }
}

macro_rules! conversions {
    ($($socket:ident)*) => {$(
        impl AsFd for $socket {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.source.socket().as_fd()
            }
        }

        impl AsRawFd for $socket {
            fn as_raw_fd(&self) -> RawFd {
                self.source.socket().as_raw_fd()
            }
        }

        impl IntoRawFd for $socket {
            fn into_raw_fd(self) -> RawFd {
                self.into_socket().into_raw_fd()
            }
        }

        #[allow(unsafe_code, reason = "the trait's method is unsafe")]
        impl FromRawFd for $socket {
            unsafe fn from_raw_fd(fd: RawFd) -> Self {
                // SAFETY: the contract is the same as that of std's method.
                Self::from_std(unsafe { net::$socket::from_raw_fd(fd) })
            }
        }

        impl From<OwnedFd> for $socket {
            fn from(fd: OwnedFd) -> Self {
                Self::from_std(fd.into())
            }
        }

        impl From<$socket> for OwnedFd {
            fn from(socket: $socket) -> Self {
                socket.into_socket().into()
            }
        }

        impl From<$socket> for net::$socket {
            fn from(socket: $socket) -> Self {
                socket.into_socket()
            }
        }
    )*};
}

conversions!(TcpListener TcpStream);

/// tokio shares these types between tasks, so they must be `Send` and `Sync`.
const _: fn() = || {
    fn shared<T: Send + Sync>() {}
    shared::<crate::Poll>();
    shared::<crate::Registry>();
    shared::<TcpListener>();
    shared::<TcpStream>();
};
