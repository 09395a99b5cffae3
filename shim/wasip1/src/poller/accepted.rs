//! Accepting, and the connections that the poller has accepted before the caller did.
//!
//! At the start, the poller tries to accept in order to find out what the runtime can do. The connections that it
//! gets in this way are kept until the caller accepts them.

use super::{Poller, Registration, accept};
use crate::errno::Errno;
use crate::wasi::{Fd, Wasi};

/// What is known about accepting in this runtime, and the connections that are kept.
#[derive(Debug, Default)]
pub(super) struct Accepted {
    /// A listener can't be made non-blocking.
    pub(super) may_block: bool,
    /// Whether accepted connections are blocking. `None` until that is known.
    accepts_blocking: Option<bool>,
    /// Connections that the caller hasn't accepted yet, each with its listener's slot.
    kept: Vec<(u32, Fd)>,
}

impl Accepted {
    /// How many connections are kept.
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether one is kept for a listener.
    pub(super) fn has(&self, listener: u32) -> bool {
        self.kept.iter().any(|(of, _)| *of == listener)
    }

    /// Keeps a connection until the caller accepts it.
    pub(super) fn keep(&mut self, listener: u32, stream: Fd) {
        self.forget(stream);
        self.kept.push((listener, stream));
    }

    /// Drops the kept connection with this number, because a new one has it now: the old one was closed by
    /// something else than the poller.
    pub(super) fn forget(&mut self, stream: Fd) {
        self.kept.retain(|(_, fd)| *fd != stream);
    }

    fn next(&mut self, listener: u32) -> Option<Fd> {
        let at = self.kept.iter().position(|(of, _)| *of == listener)?;
        Some(self.kept.remove(at).1)
    }
}

impl<W: Wasi> Poller<W> {
    /// The next connection of a listener: a kept one if there is one, otherwise a new one.
    pub(super) fn next_connection(&mut self, listener: &Registration, fd: Fd) -> Result<Fd, Errno> {
        let stream = match self.next_kept(listener) {
            Some(stream) => stream,
            None => self.accept_from(fd)?,
        };
        self.accepted.forget(stream);
        Ok(stream)
    }

    /// The first kept connection of a listener.
    pub(super) fn next_kept(&mut self, listener: &Registration) -> Option<Fd> {
        loop {
            let stream = self.accepted.next(listener.index())?;
            // If something else has closed it, the number may soon belong to another file descriptor.
            if self.wasi.fd_fdstat_get(stream) != Err(Errno::BADF) {
                return Some(stream);
            }
        }
    }

    /// Accepts a connection, which is non-blocking.
    pub(super) fn accept_from(&mut self, listener: Fd) -> Result<Fd, Errno> {
        accept(&self.wasi, listener, &mut self.accepted.accepts_blocking)
    }
}
