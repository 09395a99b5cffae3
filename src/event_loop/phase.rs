//! How far the loop is with stopping.

use std::time::Duration;

use crate::time::Instant;

/// How far the loop is with stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The server doesn't stop.
    Serving,
    /// The server stops. Until this moment, connections may still send requests.
    Grace(Instant),
    /// The grace ended at this moment. Only input that has already arrived is read, within the bounds of
    /// [`MAX_LATE_TURNS`], [`LATE_BODIES`] and [`LATE_PIPELINES`].
    Closing(Instant),
    /// The deadline for stopping has passed: all connections are closed at once.
    Over,
}

/// In how many turns a connection is read after the grace. This is enough for the contents of a system's buffer, and
/// for a few bodies. It is bounded, so that a client that sends without a pause can't prevent the stop.
pub(super) const MAX_LATE_TURNS: u8 = 64;

/// How long a body is still read after the grace. Then its request gets 503. Without this bound, an interpreter would
/// take 20 s for the bytes of [`MAX_LATE_TURNS`] turns if they are chunks of one byte.
pub(super) const LATE_BODIES: Duration = Duration::from_secs(1);

/// How long pipelined requests are still served after the grace. Then the next response of each connection is its
/// last, and contains `Connection: close`. The client can repeat the other requests elsewhere (RFC 9112 §9.3.2).
/// Without this bound, [`MAX_LATE_TURNS`] turns can hold 100,000 requests, and a slow handler takes minutes for
/// them. Together with the grace and the lingering, this is well below the ten seconds after which common
/// supervisors kill a process.
pub(super) const LATE_PIPELINES: Duration = Duration::from_secs(5);
