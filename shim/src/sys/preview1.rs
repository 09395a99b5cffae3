//! For preview 1: std's sockets, and the calls to the runtime, each with a line in the log.

pub(crate) use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd};

use wasip1_poll::{Fd, Preview1, Traced};

use super::Socket;

pub(crate) type System = Traced<Preview1>;

pub(crate) const fn system() -> System {
    Traced(Preview1)
}

/// Makes a socket that owns a connection. `sock_accept` must just have returned `fd`.
#[allow(unsafe_code, reason = "std has no safe conversion from a number to a socket")]
pub(crate) fn accepted(fd: Fd) -> TcpStream {
    // SAFETY: `sock_accept` has just opened it, and the callers here pass each number on once. So nothing else owns
    // it.
    unsafe { TcpStream::from_raw_fd(fd.cast_signed()) }
}

/// Makes a socket that owns a listener which the runtime has opened. It must not be called twice with the same `fd`.
#[allow(unsafe_code, reason = "std has no safe conversion from a number to a socket")]
pub(crate) fn preopened(fd: Fd) -> TcpListener {
    // SAFETY: the runtime has opened it for this program. The only caller is `preopened_listener`, which takes each
    // number from a list once, and whose documentation forbids the program to make sockets from these numbers.
    unsafe { TcpListener::from_raw_fd(fd.cast_signed()) }
}

impl Socket for TcpListener {
    fn fd(&self) -> Fd {
        // The number of a file descriptor is never negative.
        self.as_raw_fd().cast_unsigned()
    }
}

impl Socket for TcpStream {
    fn fd(&self) -> Fd {
        self.as_raw_fd().cast_unsigned()
    }
}
