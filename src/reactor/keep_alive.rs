//! Keep-alive probes (RFC 9293 §3.8.4): how a server finds that a peer is gone which has sent no FIN or RST,
//! while a response takes long.

use std::time::Duration;

/// A peer is first probed when nothing has come from it for this long. At half, a phone is woken twice as often;
/// at double, a request whose client is gone keeps its place for a minute more.
pub(super) const PROBE_AFTER: Duration = Duration::from_secs(30);

/// The time from one probe to the next. At half, a network that fails for 20 seconds ends the connection; at
/// double, a peer that is gone keeps its place twice as long.
pub(super) const PROBE_INTERVAL: Duration = Duration::from_secs(10);

/// The stream fails when none of so many probes was acknowledged.
pub(super) const PROBES: u32 = 3;
