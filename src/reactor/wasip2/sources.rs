//! [`Source`]: the resources of one connection, in the order in which they must be dropped, and what it takes to
//! close it without blocking.

use std::io::{self, IoSlice};

use poll_turns::Key;
use wasip2::io::poll::Pollable;
use wasip2::io::streams::{InputStream, OutputStream};
use wasip2::sockets::tcp::TcpSocket;

use super::calls;
use crate::reactor::{Interest, Readiness};

/// A connection. If a stream is dropped before its pollables, or a socket before its streams, the host may end
/// the program. Rust drops fields from the first to the last, so their order matters.
#[derive(Debug)]
pub(super) struct Source {
    readable: Pollable,
    /// Made when output first has to wait.
    writable: Option<Pollable>,
    pub(super) input: InputStream,
    pub(super) output: OutputStream,
    pub(super) socket: TcpSocket,
    pub(super) key: Key,
    interest: Interest,
    /// What the current poll has reported.
    pub(super) readiness: Readiness,
    /// The failure that a read has found after bytes. The host returns it once, so the next read returns it.
    pub(super) read_failure: Option<io::Error>,
    /// Left out of polls until others were reported; see [`FULL_REPORT`](super::Wasip2Reactor::FULL_REPORT).
    pub(super) is_skipped: bool,
    /// The event loop has closed it. It lingers until it can be dropped.
    is_closed: bool,
}

impl Source {
    /// The send buffer that a socket gets if it is closed with unsent bytes. Linux doubles the number. It is
    /// also the size to which Linux lets a buffer grow by itself.
    pub(super) const CLOSED_SEND_BUFFER: u64 = 4 << 20;

    pub(super) fn new(
        socket: TcpSocket,
        input: InputStream,
        output: OutputStream,
        key: Key,
    ) -> Self {
        Self {
            readable: input.subscribe(),
            writable: None,
            input,
            output,
            socket,
            key,
            interest: Interest::READ,
            readiness: Readiness::default(),
            read_failure: None,
            is_skipped: false,
            is_closed: false,
        }
    }

    /// The handle of the socket, for the log.
    pub(super) fn handle(&self) -> u32 {
        self.socket.handle()
    }

    pub(super) fn set_interest(&mut self, interest: Interest) {
        self.interest = interest;
        if interest.write {
            self.writable.get_or_insert_with(|| self.output.subscribe());
        }
    }

    /// Whether the loop is interested in any direction.
    pub(super) fn is_polled(&self) -> bool {
        self.interest.read || self.interest.write
    }

    /// The pollable for reading, if the loop is interested in that.
    pub(super) fn to_read(&self) -> Option<&Pollable> {
        self.interest.read.then_some(&self.readable)
    }

    /// The pollable for writing, if the loop is interested in that.
    pub(super) fn to_write(&self) -> Option<&Pollable> {
        self.writable.as_ref().filter(|_| self.interest.write)
    }

    /// The event loop closes the connection. Returns whether it can be dropped now.
    ///
    /// The host may still hold up to 64 KiB of output that the socket had no room for. Dropping the stream
    /// would block until the client has received them, which may never happen, and no other connection would
    /// be served meanwhile. No call resets such a connection, but one can
    /// [make room](Self::grow_send_buffer) for the rest. So the source is kept and polled until it can be
    /// dropped without blocking.
    pub(super) fn close(&mut self) -> bool {
        self.is_closed = true;
        if !self.has_no_room() {
            return true;
        }
        // If the host holds no output, and the socket is just full, the stream closes now.
        let _ = calls::shutdown(&self.socket);
        if !self.has_no_room() {
            return true;
        }
        self.set_interest(Interest {
            read: false,
            write: true,
        });
        false
    }

    /// Asks the system for a send buffer that has room for the rest of the output of a closed stream. Returns
    /// the size that it has now, which is the largest that the system permits.
    ///
    /// This is only a hint. If the system permits less than the size to which it lets a buffer grow by itself,
    /// there may be no room for the rest; then the client has to read.
    pub(super) fn grow_send_buffer(&self) -> Option<u64> {
        let _ = calls::set_send_buffer_size(&self.socket, Self::CLOSED_SEND_BUFFER);
        calls::send_buffer_size(&self.socket).ok()
    }

    /// If a send buffer has this size, [`grow_send_buffer`](Self::grow_send_buffer) always makes enough room.
    /// `largest` is the largest size that the system permits.
    ///
    /// Linux makes a buffer twice as large as it is set, fills it up to 64 KiB (and some overhead) beyond
    /// its size, and wakes the host, which holds up to 64 KiB more, when a third of it is free. So
    /// a third of `largest` is enough if that is 128 KiB or more; `wmem_max` is usually 208 KiB.
    pub(super) fn safe_send_buffer(largest: u64) -> u64 {
        largest / 3
    }

    /// Sets the send buffer of a stream that was just accepted, which then doesn't grow. With a
    /// [safe](Self::safe_send_buffer) size the stream can always be dropped soon after it is closed. The
    /// price: a distant client gets no more than this in each round trip.
    pub(super) fn fix_send_buffer(&self, size: u64) {
        let _ = calls::set_send_buffer_size(&self.socket, size);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    fn has_no_room(&self) -> bool {
        matches!(calls::check_write(self.handle(), &self.output), Ok(0))
    }
}

/// The bytes of `bufs` from the offset `from` on, at most `room` of them. Returns part of a slice if that is
/// enough, or is the rest. Otherwise copies from several slices to `scratch`.
pub(super) fn gather<'a>(
    bufs: &'a [IoSlice<'_>],
    from: usize,
    room: usize,
    scratch: &'a mut Vec<u8>,
) -> &'a [u8] {
    let mut skip = from;
    let mut parts = bufs.iter().filter_map(|buf| {
        let part = buf.get(skip.min(buf.len())..).unwrap_or_default();
        skip -= skip.min(buf.len());
        (!part.is_empty()).then_some(part)
    });
    let first = parts.next().unwrap_or_default();
    let Some(second) = parts.next().filter(|_| first.len() < room) else {
        return &first[..first.len().min(room)];
    };
    scratch.clear();
    for part in [first, second].into_iter().chain(parts) {
        let left = room - scratch.len();
        scratch.extend_from_slice(&part[..part.len().min(left)]);
        if scratch.len() == room {
            break;
        }
    }
    scratch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_from_one_slice_or_are_gathered() {
        let bufs = [b"head".as_slice(), b"", b"body", b"!"].map(IoSlice::new);
        let scratch = &mut Vec::new();
        assert_eq!(gather(&bufs, 0, 100, scratch), b"headbody!");
        assert_eq!(gather(&bufs, 0, 6, scratch), b"headbo");
        assert_eq!(gather(&bufs, 0, 4, scratch), b"head");
        assert_eq!(gather(&bufs, 3, 2, scratch), b"db");
        assert_eq!(gather(&bufs, 4, 3, scratch), b"bod");
        assert_eq!(gather(&bufs, 8, 100, scratch), b"!");
        assert_eq!(gather(&bufs[2..3], 1, 100, scratch), b"ody");
    }
}
