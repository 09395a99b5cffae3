//! The sockets' resources, in the order in which they have to be dropped.

use std::io::IoSlice;

use poll_turns::Key;
use wasip2::io::poll::Pollable;
use wasip2::io::streams::{InputStream, OutputStream};
use wasip2::sockets::tcp::TcpSocket;

use super::calls;
use crate::reactor::{Interest, Readiness};

/// A connection. A host may end the program that drops a stream before its pollables, or a socket
/// before its streams; fields are dropped from the first to the last.
#[derive(Debug)]
pub(super) struct Source {
    readable: Pollable,
    /// Made when output first had to wait.
    writable: Option<Pollable>,
    pub(super) input: InputStream,
    pub(super) output: OutputStream,
    pub(super) socket: TcpSocket,
    pub(super) key: Key,
    interest: Interest,
    /// What the present poll has reported.
    pub(super) readiness: Readiness,
    /// It was reported lately, and others aren't yet.
    pub(super) is_skipped: bool,
    is_closed: bool,
}

impl Source {
    /// The send buffer of a socket that is closed with bytes on their way. Linux doubles it; by itself it
    /// lets a buffer grow to 4 MiB.
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
            is_skipped: false,
            is_closed: false,
        }
    }

    /// The handle of the socket: the connection's name in the log.
    pub(super) fn handle(&self) -> u32 {
        self.socket.handle()
    }

    pub(super) fn set_interest(&mut self, interest: Interest) {
        self.interest = interest;
        if interest.write {
            self.writable.get_or_insert_with(|| self.output.subscribe());
        }
    }

    /// Whether there is a direction of interest.
    pub(super) fn is_polled(&self) -> bool {
        self.interest.read || self.interest.write
    }

    /// The pollable for reading, if that is of interest.
    pub(super) fn to_read(&self) -> Option<&Pollable> {
        self.interest.read.then_some(&self.readable)
    }

    /// The pollable for writing, if that is of interest.
    pub(super) fn to_write(&self) -> Option<&Pollable> {
        self.writable.as_ref().filter(|_| self.interest.write)
    }

    /// The connection is the loop's no more. Tells whether it can be dropped.
    ///
    /// What was written may still be on its way: the host keeps up to 64 KiB that the socket had no
    /// room for. To drop the stream would wait until the client has taken them, which it may never
    /// do, and nobody would be served meanwhile. There is no call that gives such a connection up, but
    /// one that [makes room](Self::grow_send_buffer) for the rest. So it is kept, and polled, until it can be
    /// dropped at once.
    pub(super) fn close(&mut self) -> bool {
        self.is_closed = true;
        if !self.has_no_room() {
            return true;
        }
        // If nothing is on its way, and there is just no room, this is the end.
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

    /// Asks the system to take the rest of what was written to a stream that is closed. Returns the
    /// size of the send buffer that it has got, the largest there is.
    ///
    /// It is only a hint. Where the system gives less than it lets a buffer grow to by itself, it may
    /// have no room for the rest; then the client has to read.
    pub(super) fn grow_send_buffer(&self) -> Option<u64> {
        let _ = calls::set_send_buffer_size(&self.socket, Self::CLOSED_SEND_BUFFER);
        calls::send_buffer_size(&self.socket).ok()
    }

    /// The size of a send buffer from which [`grow_send_buffer`](Self::grow_send_buffer) always makes room enough,
    /// if the largest is `largest`.
    ///
    /// Linux makes a buffer twice as large as it is set, fills it up to 64 KiB (and some overhead) beyond
    /// its size, and wakes the host, which keeps up to 64 KiB more, when a third of it is free. So
    /// a third of the largest will do where that is 128 KiB at least; `wmem_max` is usually 208 KiB.
    pub(super) fn safe_send_buffer(largest: u64) -> u64 {
        largest / 3
    }

    /// Gives a stream that was just accepted a send buffer that doesn't grow. If it is of a
    /// [safe](Self::safe_send_buffer) size, the stream can always be dropped soon after it is closed. The
    /// price is that a client far away gets no more than this in each round trip.
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

/// The next bytes of `bufs` from the offset `from`, at most `room` of them and at least one: a part
/// of one slice where that is all there is or enough, otherwise of several, copied to `scratch`.
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
    fn pieces_are_of_one_slice_or_gathered() {
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
