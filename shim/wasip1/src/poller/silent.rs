//! Calls that return success and do nothing, or not yet. For each, what the poller does:
//!
//! - `fd_close` only frees the number; the socket is closed when the runtime's garbage collector finds it, up to two
//!   minutes later (in wazero). The poller shuts down both directions first, so that the peer sees the end at once
//! - `sock_shutdown` of both directions does nothing (in wazero). The poller shuts them down one at a time
//! - `poll_oneoff` doesn't check sockets (in wazero). The poller sleeps and tries ([`blind`](super::blind))
//! - `fd_fdstat_set_flags` of a listener does nothing (in no known runtime). The poller reads the flags afterwards. If
//!   they are missing, it doesn't try to accept before a poll has reported the listener
//! - `sock_accept` ignores its flags (in no known runtime). The poller reads the flags of the first connection, and if
//!   they are missing sets them on each
//! - `fd_write` into a full socket returns 0 (in no known runtime). The poller returns `AGAIN` instead
//! - `fd_write` of several slices writes each one separately, goes on after a short write, and doesn't return how much
//!   it has written if a later one fails (in wazero). The poller writes each slice by a call of its own
//!   ([`write_each`])
//!
//! If `fd_read` returned 0 when there is nothing to read, that could not be distinguished from the end of the stream.

use std::io::IoSlice;

use super::{Poller, RuntimeKind};
use crate::errno::Errno;
use crate::wasi::{Fd, FdFlags, FileType, Shutdown, Wasi};

impl<W: Wasi> Poller<W> {
    /// Whether closing a stream may have no effect until later. A caller that closes streams itself must then call
    /// [`shut_down`] first.
    pub fn closes_late(&self) -> bool {
        self.runtime_kind != RuntimeKind::ChecksSockets
    }

    /// Closes a stream, so that its peer sees the end at once.
    pub(super) fn close_stream(&self, fd: Fd) {
        if self.closes_late() {
            // An error means that the peer has gone already.
            let _ = shut_down(&self.wasi, fd);
        }
        self.close_fd(fd);
    }

    /// Closes a file descriptor. A listener must not be shut down: another process may share it.
    pub(super) fn close_fd(&self, fd: Fd) {
        if let Err(errno) = self.wasi.fd_close(fd) {
            poll_turns::log::debug!("fd_close({fd}): {errno}");
        }
    }

    /// Makes a listener non-blocking. Returns whether it certainly is; also true for a file descriptor that isn't a
    /// socket, which can't block in `sock_accept` either.
    pub(super) fn make_nonblocking(&self, fd: Fd) -> bool {
        let stat = self.wasi.fd_fdstat_get(fd);
        let flags = stat.map_or(FdFlags::EMPTY, |stat| stat.flags);
        if flags.is_nonblock() || stat.is_ok_and(|it| it.file_type != FileType::SOCKET_STREAM) {
            return true;
        }
        let wanted = FdFlags(flags.0 | FdFlags::NONBLOCK.0);
        match self.wasi.fd_fdstat_set_flags(fd, wanted) {
            Ok(()) => match self.wasi.fd_fdstat_get(fd) {
                Ok(stat) if !stat.flags.is_nonblock() => poll_turns::log::warn!(
                    "the listener at fd {fd} can't be made non-blocking: the runtime ignores it"
                ),
                _ => return true,
            },
            Err(errno) => poll_turns::log::warn!(
                "the listener at fd {fd} can't be made non-blocking: {errno}"
            ),
        }
        false
    }
}

/// Accepts a connection, and makes sure that it is non-blocking.
///
/// `accepts_blocking` says whether the runtime ignores the flag `NONBLOCK`. It is `None` until that is known; finding
/// out takes one more call.
///
/// # Errors
/// What `sock_accept` returned.
pub fn accept<W: Wasi>(
    wasi: &W,
    listener: Fd,
    accepts_blocking: &mut Option<bool>,
) -> Result<Fd, Errno> {
    let stream = wasi.sock_accept(listener, FdFlags::NONBLOCK)?;
    if accepts_blocking.is_none()
        && let Ok(stat) = wasi.fd_fdstat_get(stream)
    {
        *accepts_blocking = Some(!stat.flags.is_nonblock());
    }
    if *accepts_blocking == Some(true)
        && let Err(errno) = wasi.fd_fdstat_set_flags(stream, FdFlags::NONBLOCK)
    {
        poll_turns::log::warn!("the connection at fd {stream} can't be made non-blocking: {errno}");
    }
    Ok(stream)
}

/// Writes from the slices in order, each by a call of its own, until one is written in part. For runtimes
/// where a call with several slices isn't reliable (wazero).
///
/// # Errors
/// The error of the first `fd_write`. If a later one fails, the next write returns its error.
pub fn write_each<W: Wasi>(wasi: &W, fd: Fd, bufs: &[IoSlice<'_>]) -> Result<usize, Errno> {
    let mut written = 0;
    for buf in bufs.iter().filter(|buf| !buf.is_empty()) {
        match wasi.fd_write(fd, &[IoSlice::new(buf)]) {
            Ok(taken) => {
                written += taken;
                if taken < buf.len() {
                    break;
                }
            }
            Err(_) if written > 0 => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(written)
}

/// Shuts down both directions of a stream, one at a time. For runtimes where closing has no effect until later,
/// and shutting down both in one call does nothing.
///
/// Then the peer sees the end at once, and if it sends anything afterwards, the connection is reset.
///
/// # Errors
/// The first error of the two calls.
pub fn shut_down<W: Wasi>(wasi: &W, fd: Fd) -> Result<(), Errno> {
    let [write, read] = [Shutdown::Write, Shutdown::Read].map(|how| wasi.sock_shutdown(fd, how));
    write.and(read)
}
