//! [`ResponseEvent`]: what is known of a request and its response, when that was sent or given up.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use http::{StatusCode, Version};

use crate::conn::{CloseReason, Refusal};
use crate::connection_id::ConnectionId;

/// A request and its response, when the response was sent or given up; see
/// [`Server::on_response`](crate::Server::on_response).
///
/// # Bytes
/// [`bytes_in`](Self::bytes_in) and [`bytes_out`](Self::bytes_out) are bytes of the connection: heads, bodies, and the
/// framing of chunked bodies. Bytes count as sent when the system has taken them. The client may still lose them.
///
/// # Upgrades
/// The response that [upgrades](crate::upgrade()) a connection lasts until the connection ends. What is then sent in
/// the other protocol counts as its body. What is received counts as part of the request.
///
/// # Times
/// The time of a request's first byte is the moment at which the server turned to it. If it was sent while an earlier
/// request of its connection was served, this is later than its arrival.
#[derive(Clone)]
pub struct ResponseEvent<'a> {
    pub(super) connection: u64,
    pub(super) peer: Option<SocketAddr>,
    pub(super) method: &'a [u8],
    pub(super) target: &'a [u8],
    pub(super) version: Option<Version>,
    pub(super) referer: Option<&'a [u8]>,
    pub(super) user_agent: Option<&'a [u8]>,
    pub(super) status: Option<StatusCode>,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) body_bytes_out: u64,
    pub(super) began: SystemTime,
    pub(super) until_handler: Option<Duration>,
    pub(super) handler_time: Option<Duration>,
    pub(super) duration: Duration,
    pub(super) refusal: Option<Refusal>,
    pub(super) close_reason: Option<CloseReason>,
    pub(super) is_complete: bool,
}

impl fmt::Debug for ResponseEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseEvent")
            .field("connection", &self.connection)
            .field("peer", &self.peer)
            .field("method", &self.method())
            .field("target", &self.target())
            .field("version", &self.version)
            .field("status", &self.status)
            .field("bytes_in", &self.bytes_in)
            .field("bytes_out", &self.bytes_out)
            .field("duration", &self.duration)
            .field("refusal", &self.refusal)
            .field("close_reason", &self.close_reason)
            .finish_non_exhaustive()
    }
}

impl ResponseEvent<'_> {
    /// The number of the connection, as in the log and in [`Request::connection_id`](crate::Request::connection_id).
    #[must_use]
    pub fn connection_id(&self) -> ConnectionId {
        ConnectionId(self.connection)
    }

    /// The client's address. `None` if it isn't known; see [`Request::peer_addr`](crate::Request::peer_addr).
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// The method. Empty if a refused request had none that could be recognised.
    #[must_use]
    pub fn method(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.method)
    }

    /// The target. Of a refused request it may be anything that the client has sent in its place, also control
    /// characters; it is cut at 1 KiB, and user information in it is replaced by `***`. Empty if there was none.
    #[must_use]
    pub fn target(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.target)
    }

    /// The target's bytes.
    #[must_use]
    pub fn target_bytes(&self) -> &[u8] {
        self.target
    }

    /// The version of the request. `None` if a refused request had none that could be recognised.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// The first `Referer` of a valid request, cut at 1 KiB.
    #[must_use]
    pub fn referer(&self) -> Option<&[u8]> {
        self.referer
    }

    /// The first `User-Agent` of a valid request, cut at 1 KiB.
    #[must_use]
    pub fn user_agent(&self) -> Option<&[u8]> {
        self.user_agent
    }

    /// The status of the response. `None` if no response was begun, because the connection ended first.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// Bytes of the request, up to when its response was complete: its head and body.
    #[must_use]
    pub fn bytes_in(&self) -> u64 {
        self.bytes_in
    }

    /// Bytes of the response that were sent: its head and body, and a `100 Continue` before them.
    #[must_use]
    pub fn bytes_out(&self) -> u64 {
        self.bytes_out
    }

    /// How many of [`bytes_out`](Self::bytes_out) follow the response's head.
    #[must_use]
    pub fn body_bytes_out(&self) -> u64 {
        self.body_bytes_out
    }

    /// When the first byte of the request had arrived.
    #[must_use]
    pub fn began(&self) -> SystemTime {
        self.began
    }

    /// From the first byte of the request to the call of the handler. `None` if it wasn't called.
    #[must_use]
    pub fn until_handler(&self) -> Option<Duration> {
        self.until_handler
    }

    /// From the call of the handler until it has returned the response, with an asynchronous handler the response's
    /// head. `None` if it hasn't.
    #[must_use]
    pub fn handler_time(&self) -> Option<Duration> {
        self.handler_time
    }

    /// From the first byte of the request to the last byte of the response, or to when that was given up.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// Set if the server responded by itself, in place of the handler or before it was called.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    /// Why the connection ends with this response. `None` if it goes on, or has another request.
    #[must_use]
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.close_reason
    }

    /// Whether the whole response was sent.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }
}
