//! Accepting, and connections that were accepted before anyone asked.

use super::{Poller, Registration, accept};
use crate::errno::Errno;
use crate::wasi::{Fd, Wasi};

/// What is known of accepting in this runtime, and what was accepted to find out.
#[derive(Debug, Default)]
pub(super) struct Accepted {
    /// A listener can't be made non-blocking.
    pub(super) may_block: bool,
    /// Whether connections are blocking when they are accepted, once that is known.
    accepts_blocking: Option<bool>,
    /// Connections that nobody has asked for yet, with their listener's slot.
    kept: Vec<(u32, Fd)>,
}

impl Accepted {
    /// How many are kept.
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether one is kept for a listener.
    pub(super) fn has(&self, listener: u32) -> bool {
        self.kept.iter().any(|(of, _)| *of == listener)
    }

    /// Keeps a connection for whenever it is asked for.
    pub(super) fn keep(&mut self, listener: u32, stream: Fd) {
        self.forget(stream);
        self.kept.push((listener, stream));
    }

    /// A file descriptor has this number now: what was kept with it was closed behind our back.
    pub(super) fn forget(&mut self, stream: Fd) {
        self.kept.retain(|(_, fd)| *fd != stream);
    }

    fn next(&mut self, listener: u32) -> Option<Fd> {
        let at = self.kept.iter().position(|(of, _)| *of == listener)?;
        Some(self.kept.remove(at).1)
    }
}

impl<W: Wasi> Poller<W> {
    /// The next connection of a listener: one that was kept, or else a new one.
    pub(super) fn next_connection(&mut self, listener: &Registration, fd: Fd) -> Result<Fd, Errno> {
        let stream = match self.next_kept(listener) {
            Some(stream) => stream,
            None => self.accept_from(fd)?,
        };
        self.accepted.forget(stream);
        Ok(stream)
    }

    /// The first one that was kept for the listener.
    pub(super) fn next_kept(&mut self, listener: &Registration) -> Option<Fd> {
        loop {
            let stream = self.accepted.next(listener.index())?;
            // If it was closed behind our back, its number may be another's soon.
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
