//! The connections of the bare loops, and the calls of preview 1.

#![allow(
    unsafe_code,
    reason = "a bare loop makes the calls of preview 1 itself, so that it measures nothing else"
)]

use response::{WHOLE, heads};
use wasi::{Ciovec, Event, Fd, Iovec, Subscription, SubscriptionU, SubscriptionUU};

/// The listener's file descriptor. If the runtime passes nothing else, it is the first one after the
/// standard streams.
pub const LISTENER: Fd = 3;

/// How many bytes to read at once.
const READ_SIZE: usize = 16 << 10;

/// A connection.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// Its file descriptor.
    pub fd: Fd,
    matched: u8,
}

/// The result of reading from a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// Something was read, and the responses were sent.
    Some,
    /// There was nothing to read.
    Nothing,
    /// The stream has ended, and the connection was closed.
    Closed,
}

/// The memory that all connections share: the buffer for reads, and many responses, one after the other.
#[derive(Debug)]
pub struct Buffers {
    input: Vec<u8>,
    responses: Vec<u8>,
}

impl Buffers {
    /// Allocates them. A bare loop has no other large allocation.
    #[must_use]
    pub fn new() -> Self {
        Self {
            input: vec![0; READ_SIZE],
            responses: WHOLE.repeat(response::most(READ_SIZE)),
        }
    }
}

impl Default for Buffers {
    fn default() -> Self {
        Self::new()
    }
}

/// Makes accepting non-blocking. In some runtimes it never blocks, in others it does by default.
pub fn set_listener_nonblocking() {
    // SAFETY: the call takes plain numbers.
    let _ = unsafe { wasi::fd_fdstat_set_flags(LISTENER, wasi::FDFLAGS_NONBLOCK) };
}

impl Connection {
    /// Accepts a connection, if there is one.
    #[must_use]
    pub fn accept() -> Option<Self> {
        // SAFETY: the call takes plain numbers.
        let fd = unsafe { wasi::sock_accept(LISTENER, wasi::FDFLAGS_NONBLOCK) }.ok()?;
        Some(Self { fd, matched: 0 })
    }

    /// Makes one read, and one write with the responses to all requests in it. A client that doesn't take its
    /// responses is disconnected, because a bare loop has no queue of output.
    pub fn serve(&mut self, buffers: &mut Buffers) -> Served {
        let room = Iovec {
            buf: buffers.input.as_mut_ptr(),
            buf_len: buffers.input.len(),
        };
        // SAFETY: the iovec is `buffers.input`, which is borrowed mutably.
        let length = match unsafe { wasi::fd_read(self.fd, &[room]) } {
            Ok(0) => return self.close(),
            Ok(length) => length,
            Err(wasi::ERRNO_AGAIN) => return Served::Nothing,
            Err(_) => return self.close(),
        };
        let asked = heads(&buffers.input[..length], &mut self.matched);
        let responses = &buffers.responses[..asked * WHOLE.len()];
        if responses.is_empty() {
            return Served::Some;
        }
        let bytes = Ciovec {
            buf: responses.as_ptr(),
            buf_len: responses.len(),
        };
        // SAFETY: the iovec is `responses`, which is borrowed.
        match unsafe { wasi::fd_write(self.fd, &[bytes]) } {
            Ok(written) if written == responses.len() => Served::Some,
            _ => self.close(),
        }
    }

    fn close(self) -> Served {
        // SAFETY: the call takes a plain number, of a file descriptor that `accept` returned.
        let _ = unsafe { wasi::fd_close(self.fd) };
        Served::Closed
    }
}

/// Waits for the subscriptions. Returns the events.
///
/// # Panics
/// The call fails. A bare loop can't go on then.
pub fn poll<'a>(subscriptions: &[Subscription], events: &'a mut Vec<Event>) -> &'a [Event] {
    events.clear();
    events.reserve(subscriptions.len());
    // SAFETY: there is room for as many events as subscriptions.
    let count = unsafe {
        wasi::poll_oneoff(
            subscriptions.as_ptr(),
            events.as_mut_ptr(),
            subscriptions.len(),
        )
    };
    let count = count.expect("poll_oneoff works");
    // SAFETY: the runtime has written this many events.
    unsafe { events.set_len(count) };
    events
}

/// A subscription for reading from `fd`.
#[must_use]
pub fn reading(fd: Fd, userdata: u64) -> Subscription {
    let u = SubscriptionUU {
        fd_read: wasi::SubscriptionFdReadwrite {
            file_descriptor: fd,
        },
    };
    let tag = wasi::EVENTTYPE_FD_READ.raw();
    Subscription {
        userdata,
        u: SubscriptionU { tag, u },
    }
}

/// A subscription for the time `nanoseconds` from now.
#[must_use]
pub fn clock(nanoseconds: u64, userdata: u64) -> Subscription {
    let u = SubscriptionUU {
        clock: wasi::SubscriptionClock {
            id: wasi::CLOCKID_MONOTONIC,
            timeout: nanoseconds,
            precision: 0,
            flags: 0,
        },
    };
    let tag = wasi::EVENTTYPE_CLOCK.raw();
    Subscription {
        userdata,
        u: SubscriptionU { tag, u },
    }
}
