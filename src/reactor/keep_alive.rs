//! Keep-alive probes (RFC 9293 §3.8.4): how a server finds out, while a response takes long, that a peer has
//! disappeared without FIN or RST.

use std::time::Duration;

/// A peer is first probed when nothing has come from it for this long. At half, a phone is woken twice as often;
/// at double, a request whose client has gone keeps its slot for 30 seconds more.
pub(super) const PROBE_AFTER: Duration = Duration::from_secs(30);

/// The time from one probe to the next. At half, a network that fails for 20 seconds ends the connection; at
/// double, a peer that has gone keeps its slot for 30 seconds more.
pub(super) const PROBE_INTERVAL: Duration = Duration::from_secs(10);

/// The stream fails when this many probes in a row were not acknowledged.
pub(super) const PROBES: u32 = 3;
