//! How far the loop is with stopping.

use crate::time::Instant;

/// How far the loop is with stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It doesn't stop.
    Serving,
    /// Input is waited for until this moment.
    Grace(Instant),
    /// Only what has come already is read; bodies until this moment.
    Closing(Instant),
}

/// Turns in which a connection is read after the grace: enough for what a system's buffer holds, and
/// for a few bodies. A client that sends without a pause doesn't keep the server from stopping.
pub(super) const MOST_LATE_TURNS: u8 = 64;
