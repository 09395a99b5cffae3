//! What the loop of one request needs of a host.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};

use crate::time::Instant;

/// The host's side of one request.
pub(super) trait Host {
    fn now(&self) -> Instant;

    /// Reads from the request's body, at most this many bytes. Not called after its end.
    fn read(&mut self, most: usize) -> Read;

    /// Passes the response's head to the host. If a body follows, `room` and `write` may be called.
    fn begin(&mut self, head: Response<()>, has_body: bool);

    /// How many bytes the next [`write`](Self::write) may have.
    fn room(&mut self) -> Result<usize, Gone>;

    /// Writes a part of the response's body, of at most as many bytes as [`room`](Self::room) last returned.
    fn write(&mut self, data: &[u8]) -> Result<(), Gone>;

    /// Asks the host to send what was written.
    fn flush(&mut self) -> Result<(), Gone>;

    /// The response's body is complete.
    fn end(&mut self, trailers: Option<&HeaderMap>);

    /// The response's body can't be completed.
    fn abort(&mut self);

    /// Waits for what is wanted. At least one thing is.
    fn wait(&mut self, wanted: Wanted);
}

/// What was read of the request's body.
#[derive(Debug)]
pub(super) enum Read {
    /// A part, which isn't empty.
    Data(Bytes),
    /// Nothing has come yet.
    Pending,
    /// The body is complete.
    End(Option<HeaderMap>),
    /// The rest can't be received.
    Failed,
}

/// The client is gone, or the host has ended the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone;

/// What a wait ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The request's body can be read.
    pub(super) read: bool,
    /// There is room for the response's body.
    pub(super) room: bool,
    /// This much time has passed.
    pub(super) time: Option<Duration>,
}

impl Wanted {
    /// Whether the wait would never end.
    pub(super) const fn is_nothing(self) -> bool {
        !self.read && !self.room && self.time.is_none()
    }
}
