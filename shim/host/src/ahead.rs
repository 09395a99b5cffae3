//! Input that the host reads before the guest does.
//!
//! A poll has to report how many bytes a connection has, which takes a system call for each ready connection. Reading
//! the bytes takes one too, and then the guest's own read needs none.

use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use rustix::io;
use rustix::net::{RecvFlags, recv};

/// How many bytes are read ahead. Most heads fit. With half of it many wouldn't, and the rest would take two more
/// system calls. With twice as much, connections would cost the host more memory for few larger heads.
const MAX_BYTES: usize = 1024;

/// Bytes that were read ahead. The memory is kept for the next ones: allocating it anew takes two percent of the
/// processor time of a request.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    bytes: Vec<u8>,
    /// How many of them the guest has read.
    start: usize,
}

/// What a read ahead has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// All bytes that there were.
    All,
    /// As many bytes as there is room for. There may be more.
    Full,
    /// The end of the stream.
    End,
}

impl Ahead {
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Reads from the socket. The guest must have read all bytes that were read ahead before.
    pub(crate) fn read(&mut self, socket: &impl AsFd) -> io::Result<Found> {
        self.bytes.clear();
        self.start = 0;
        // On the stack first: a connection keeps memory only for as many bytes as have come at once.
        let mut buffer = [MaybeUninit::uninit(); MAX_BYTES];
        let ((got, _), _) = recv(socket, &mut buffer, RecvFlags::empty())?;
        self.bytes.reserve_exact(got.len());
        self.bytes.extend_from_slice(got);
        Ok(match got.len() {
            0 => Found::End,
            MAX_BYTES.. => Found::Full,
            _ => Found::All,
        })
    }

    /// Copies as many bytes as there is room for, and keeps them.
    pub(crate) fn peek(&self, buffer: &mut [u8]) -> usize {
        let count = self.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.bytes[self.start..self.start + count]);
        count
    }

    /// Moves as many bytes as there is room for.
    pub(crate) fn take(&mut self, buffer: &mut [u8]) -> usize {
        let count = self.peek(buffer);
        self.start += count;
        count
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn no_more_memory_is_kept_than_bytes_have_come() {
        let (mut peer, socket) = UnixStream::pair().expect("two sockets");
        let mut ahead = Ahead::default();
        for (sent, found, kept) in [
            (100, Found::All, 100),
            (60, Found::All, 100),
            (MAX_BYTES + 1, Found::Full, MAX_BYTES),
            (0, Found::All, MAX_BYTES),
        ] {
            peer.write_all(&vec![7; sent]).expect("room");
            assert_eq!(ahead.read(&socket), Ok(found));
            assert_eq!(ahead.bytes.capacity(), kept);
            let mut got = [0; MAX_BYTES];
            let count = ahead.take(&mut got);
            assert_eq!(&got[..count], &vec![7; sent.clamp(1, MAX_BYTES)]);
            assert!(ahead.is_empty());
        }
    }

    #[test]
    fn the_end_takes_no_memory() {
        let (peer, socket) = UnixStream::pair().expect("two sockets");
        drop(peer);
        let mut ahead = Ahead::default();
        assert_eq!(ahead.read(&socket), Ok(Found::End));
        assert_eq!(ahead.bytes.capacity(), 0);
    }
}
