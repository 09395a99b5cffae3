//! std's sockets, and the calls of the runtime, each of them traced.

pub(crate) use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd};

use wasip1_poll::{Fd, Preview1, Traced};

use super::Socket;

pub(crate) type System = Traced<Preview1>;

pub(crate) const fn system() -> System {
    Traced(Preview1)
}

/// The owner of a connection that was just accepted. `fd` must be fresh from `sock_accept`.
#[allow(unsafe_code, reason = "std's only way from a number to a socket")]
pub(crate) fn accepted(fd: Fd) -> TcpStream {
    // SAFETY: `sock_accept` has just opened it, and its callers here give it away by value: nothing
    // else owns it.
    unsafe { TcpStream::from_raw_fd(fd.cast_signed()) }
}

/// The owner of a listener that the runtime has opened. `fd` must not have been given out before.
#[allow(unsafe_code, reason = "std's only way from a number to a socket")]
pub(crate) fn preopened(fd: Fd) -> TcpListener {
    // SAFETY: the runtime has opened it for this program, and its one caller, which takes each number
    // off a list, says in its documentation that the listeners are its own.
    unsafe { TcpListener::from_raw_fd(fd.cast_signed()) }
}

impl Socket for TcpListener {
    fn fd(&self) -> Fd {
        // A file descriptor's number is never negative.
        self.as_raw_fd().cast_unsigned()
    }
}

impl Socket for TcpStream {
    fn fd(&self) -> Fd {
        self.as_raw_fd().cast_unsigned()
    }
}
