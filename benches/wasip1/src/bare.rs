//! Connections and calls of the bare loops.

#![allow(
    unsafe_code,
    reason = "a bare loop makes the calls of preview 1 itself: what is between is what it measures"
)]

use answer::{WHOLE, heads};
use wasi::{Ciovec, Event, Fd, Iovec, Subscription, SubscriptionU, SubscriptionUU};

/// The listener's file descriptor: with nothing else handed over, the first after the standard
/// three.
pub const LISTENER: Fd = 3;

/// So much is read at once.
const READ_SIZE: usize = 16 << 10;

/// A connection.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// Its file descriptor.
    pub fd: Fd,
    matched: u8,
}

/// What reading from a connection came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// Something was read, and what was asked is answered.
    Some,
    /// There was nothing.
    Nothing,
    /// The connection has ended and is closed.
    Closed,
}

/// The memory that all connections share: where is read to, and many answers in a row.
#[derive(Debug)]
pub struct Buffers {
    input: Vec<u8>,
    answers: Vec<u8>,
}

impl Buffers {
    /// The only large allocation of a bare loop.
    #[must_use]
    pub fn new() -> Self {
        Self {
            input: vec![0; READ_SIZE],
            answers: WHOLE.repeat(answer::most(READ_SIZE)),
        }
    }
}

impl Default for Buffers {
    fn default() -> Self {
        Self::new()
    }
}

/// Makes accepting non-blocking. Some runtimes never block there; others do until they are told.
pub fn set_listener_nonblocking() {
    // SAFETY: the call takes plain numbers.
    let _ = unsafe { wasi::fd_fdstat_set_flags(LISTENER, wasi::FDFLAGS_NONBLOCK) };
}

impl Connection {
    /// Accepts one, if there is one.
    #[must_use]
    pub fn accept() -> Option<Self> {
        // SAFETY: the call takes plain numbers.
        let fd = unsafe { wasi::sock_accept(LISTENER, wasi::FDFLAGS_NONBLOCK) }.ok()?;
        Some(Self { fd, matched: 0 })
    }

    /// One read, and one write that answers all that was asked. A client that doesn't take its
    /// answers is cut: that there is no queue of output is another liberty.
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
        let answers = &buffers.answers[..asked * WHOLE.len()];
        if answers.is_empty() {
            return Served::Some;
        }
        let bytes = Ciovec {
            buf: answers.as_ptr(),
            buf_len: answers.len(),
        };
        // SAFETY: the iovec is `answers`, which is borrowed.
        match unsafe { wasi::fd_write(self.fd, &[bytes]) } {
            Ok(written) if written == answers.len() => Served::Some,
            _ => self.close(),
        }
    }

    fn close(self) -> Served {
        // SAFETY: the call takes a plain number, of a file descriptor that `accept` gave.
        let _ = unsafe { wasi::fd_close(self.fd) };
        Served::Closed
    }
}

/// Waits for what is subscribed to, and gives the events.
///
/// # Panics
/// When the call fails: a bare loop has no way on.
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
    // SAFETY: the runtime has written so many events.
    unsafe { events.set_len(count) };
    events
}

/// The subscription for reading from `fd`.
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

/// The subscription for `nanoseconds` from now.
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
