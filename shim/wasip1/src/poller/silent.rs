//! Calls that return success and do nothing, or not yet.
//!
//! | the call | where | what the poller does |
//! |---|---|---|
//! | `fd_close` only gives the number back; the socket is closed when the garbage collector of the runtime's language finds it, up to two minutes later | wazero | shuts down both directions first, so that the peer sees the end at once |
//! | `sock_shutdown` of both directions | wazero | shuts them down one at a time |
//! | `poll_oneoff` doesn't look at sockets | wazero | sleeps and tries ([`blind`](super::blind)) |
//! | `fd_fdstat_set_flags` of a listener | none that is known | asks for the flags afterwards, and doesn't try to accept before a poll has reported the listener |
//! | the flags of `sock_accept` | none that is known | asks for the flags of the first connection, and if they are missing sets them on each |
//! | `fd_write` into a full socket returns 0 | none that is known | makes it `AGAIN` |
//! | `fd_write` of several slices writes each by a call of its own, goes on after a short one, and forgets what it has written when a later one fails | wazero | gives each slice its own call ([`write_each`]) |
//!
//! `fd_read` that returns 0 when nothing has come can't be told from the end of the stream.

use std::io::IoSlice;

use super::{Poller, RuntimeKind};
use crate::errno::Errno;
use crate::wasi::{Fd, FdFlags, FileType, Shutdown, Wasi};

impl<W: Wasi> Poller<W> {
    /// Whether closing a stream may do nothing until later. Then [`shut_down`] comes first, if it isn't
    /// the poller that closes.
    pub fn closes_late(&self) -> bool {
        self.runtime_kind != RuntimeKind::ChecksSockets
    }

    /// Closes a stream, so that its peer sees the end at once.
    pub(super) fn close_stream(&self, fd: Fd) {
        if self.closes_late() {
            // An error means that the peer is gone already.
            let _ = shut_down(&self.wasi, fd);
        }
        self.close_fd(fd);
    }

    /// Closes a file descriptor. A listener must not be shut down: another process may share it.
    pub(super) fn close_fd(&self, fd: Fd) {
        if let Err(errno) = self.wasi.fd_close(fd) {
            log::debug!("fd_close({fd}): {errno}");
        }
    }

    /// Makes a listener non-blocking. Returns whether that is sure: true as well for what is no
    /// socket, and so can't block either.
    pub(super) fn make_nonblocking(&self, fd: Fd) -> bool {
        let stat = self.wasi.fd_fdstat_get(fd);
        let flags = stat.map_or(FdFlags::EMPTY, |stat| stat.flags);
        if flags.is_nonblock() || stat.is_ok_and(|it| it.file_type != FileType::SOCKET_STREAM) {
            return true;
        }
        let wanted = FdFlags(flags.0 | FdFlags::NONBLOCK.0);
        let why = match self.wasi.fd_fdstat_set_flags(fd, wanted) {
            Ok(()) => match self.wasi.fd_fdstat_get(fd) {
                Ok(stat) if !stat.flags.is_nonblock() => "the runtime ignores it".to_owned(),
                _ => return true,
            },
            Err(errno) => errno.to_string(),
        };
        log::warn!("the listener at fd {fd} can't be made non-blocking: {why}");
        false
    }
}

/// Accepts a connection, and makes sure that it is non-blocking.
///
/// `accepts_blocking` is whether the runtime ignores that this was asked for: `None` until it is known,
/// which takes a call.
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
        log::warn!("the connection at fd {stream} can't be made non-blocking: {errno}");
    }
    Ok(stream)
}

/// Writes from the slices in order, each by a call of its own, until one is taken in part. For runtimes
/// that can't be trusted with several (wazero).
///
/// # Errors
/// What the first `fd_write` returned. The error of a later one is that of the next write.
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

/// Ends both directions of a stream, one at a time: for runtimes where closing does nothing until later,
/// and shutting down both in one call does nothing either.
///
/// Then the peer sees the end at once, and what it sends afterwards resets the connection.
///
/// # Errors
/// The first of what the two calls returned.
pub fn shut_down<W: Wasi>(wasi: &W, fd: Fd) -> Result<(), Errno> {
    let [write, read] = [Shutdown::Write, Shutdown::Read].map(|how| wasi.sock_shutdown(fd, how));
    write.and(read)
}
