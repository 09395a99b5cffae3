//! How far the loop is with stopping.

use std::time::Duration;

use crate::time::Instant;

/// How far the loop is with stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It doesn't stop.
    Serving,
    /// Input is waited for until this moment.
    Grace(Instant),
    /// Since this moment only what has come already is read, and not all of it: see [`LATE_BODIES`] and
    /// [`LATE_PIPELINES`].
    Closing(Instant),
    /// The time to stop is over: all connections are closed at once.
    Over,
}

/// Turns in which a connection is read after the grace: enough for what a system's buffer holds, and
/// for a few bodies. A client that sends without a pause doesn't keep the server from stopping.
pub(super) const MOST_LATE_TURNS: u8 = 64;

/// How long a body is still read after the grace. It gets 503 then: an interpreter takes 20 s for the
/// bytes of all those turns if they are chunks of one byte.
pub(super) const LATE_BODIES: Duration = Duration::from_secs(1);

/// How long more than one request of a connection is served after the grace: the next response is the last
/// one then, and says so. The client can repeat the rest elsewhere (RFC 9112 §9.3.2). Those turns alone can
/// hold 100,000 requests, which a slow handler takes minutes for. With the grace before it and the lingering
/// behind it, this is well below the ten seconds after which common supervisors kill a process.
pub(super) const LATE_PIPELINES: Duration = Duration::from_secs(5);
