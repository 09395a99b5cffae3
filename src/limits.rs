//! Limits on what clients can use: bytes, counts and times, each with its default.

use std::time::Duration;

use poll_turns::Key;

use crate::error::{Error, ErrorKind, Result};

/// Limits that protect the process and other clients from a single client.
///
/// All but `handler_timeout` are on by default. Change them with [`Server::limits`](crate::Server::limits):
///
/// ```no_run
/// # fn main() -> mini_http::Result<()> {
/// let mut server = mini_http::Server::new("127.0.0.1:3000")?;
/// server.limits(|limits| limits.max_body = 1 << 20);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The most bytes of a request's head: request line, field lines and the empty line. A larger one
    /// gets 431 (RFC 6585 §5). Default 64 KiB; at most 1 GiB.
    pub max_head: usize,
    /// The most bytes of a request line, without its CRLF. A longer one gets 414 (RFC 9110 §15.5.15).
    /// Default 8 KiB (RFC 9112 §3 recommends at least 8,000 bytes); at most
    /// [`MAX_REQUEST_LINE`](Self::MAX_REQUEST_LINE).
    pub max_request_line: usize,
    /// The most field lines in a request's head, and in its trailer section. More get 431. Default 100;
    /// at most [`MAX_FIELDS`](Self::MAX_FIELDS).
    pub max_fields: usize,
    /// The most bytes of a request's body, without its transfer coding. A larger one gets 413
    /// (RFC 9110 §15.5.14): as soon as `Content-Length` or the chunk sizes exceed the limit, and
    /// instead of `100 Continue`. Default 16 MiB. All bodies together are also limited by
    /// [`max_held`](Self::max_held); a body for which that has no room gets 503.
    pub max_body: u64,
    /// The most bytes of chunk extensions in a body, all together (RFC 9112 §7.1.1). More get 400.
    /// Default 4 KiB.
    pub max_chunk_extensions: usize,
    /// The most bytes of a trailer section (RFC 9112 §7.1.2). More get 431. Default 8 KiB.
    pub max_trailers: usize,
    /// Backpressure: while a connection has at least this many bytes of responses to send, none of its
    /// further requests are read or handled. Default 64 KiB. A single response may be larger.
    pub max_pending_output: usize,
    /// The most connections accepted in one iteration of the event loop, before open connections are
    /// served. Default 64.
    pub accepts_per_turn: usize,
    /// The most open connections. At the limit, the longest idle connection is closed to accept a new
    /// one; if none is idle, new connections wait in the listener's backlog. Default 10,000; on
    /// WASI at most 65,535.
    ///
    /// On WASI 0.2 the socket of a closed connection may have to stay open for a while; see
    /// [`Counters::lingering`](crate::Counters::lingering). Such sockets don't count as open
    /// connections, but open and lingering sockets together are at most twice this limit plus 2.
    pub max_connections: usize,
    /// The memory budget: the most bytes held for all connections together, for unfinished heads and
    /// bodies and for responses to be sent. Default 256 MiB, on WASI 64 MiB.
    ///
    /// A request that would exceed it gets 503, and its connection is closed: while its body arrives,
    /// or if its response is larger than 16 KiB (unless that is static or shared, or nothing else is
    /// held). Smaller responses are still sent, but each connection makes only one at a time.
    ///
    /// With `serve_async`, it counts input that waits for a handler, parts of responses that wait to be
    /// sent, and bodies that a handler collects at once. While it is full, streams are not refused: they are
    /// neither read nor polled until there is room. But each may always hold 4 KiB in each direction, so that
    /// all go on; if a response's body has longer parts (frames of `http_body`), one part. All streams
    /// together may exceed the limit by the sum of these, but by no more.
    ///
    /// Set it to several times [`max_body`](Self::max_body). A body takes at least 4 KiB and at most six
    /// times the bytes received so far. Bodies over 256 KiB that arrive side by side share 88 % of it, on
    /// WASI 52 %, because of the holes that they leave in memory when they grow; on WASI, bodies over
    /// 64 KiB leave an eighth of it free. A body that holds more than all others together may use all of it.
    ///
    /// A response body of [`Bytes`](crate::Bytes) or `Arc<[u8]>` is counted while a single connection has
    /// the only reference to it. This is checked when the response is made and at the end of each
    /// [`rate_window`](Self::rate_window). So memory that the handler holds is never counted. Nor is a body
    /// that several connections send, even if the handler holds it no longer: a reference shows that there
    /// are others, but not whose. Once all but one of these connections have sent it, it is counted.
    pub max_held: usize,
    /// With `Server::proxy_protocol`: the most bytes of a PROXY header. Default 4 KiB. One of
    /// version 1 has at most 107 in any case.
    pub max_proxy_header: usize,
    /// With `Server::proxy_protocol`: the longest time from the start of a connection to the
    /// end of its PROXY header, which proxies send at once. After that, the connection is closed. Default 5 s, which is
    /// enough to repeat a lost packet twice.
    pub proxy_header_timeout: Duration,
    /// The longest time from the first byte of a head to its last. A slower one gets 408 (RFC 9110
    /// §15.5.9). Default 30 s.
    pub head_timeout: Duration,
    /// The longest time that a connection may be idle, before its first request or between two. After
    /// that, it is closed. Default 75 s.
    pub idle_timeout: Duration,
    /// The minimum rate, in bytes per second, at which a body must arrive and responses must be taken by
    /// the client. It is the average over each [`rate_window`](Self::rate_window). Default 500.
    ///
    /// While more than half of [`max_held`](Self::max_held) is in use, a body or responses must also
    /// move, in each window, at least 1/12 as many bytes as they hold.
    ///
    /// 0 disables both checks: then a stalled body or response never times out, and keeps its memory.
    pub min_rate: u32,
    /// The time over which [`min_rate`](Self::min_rate) is measured, from the start of a body or
    /// response on. If a body is too slow, the request gets 408; if the client takes responses too
    /// slowly, the connection is closed. Default 10 s.
    pub rate_window: Duration,
    /// The longest time that input is still read and dropped after the last response, so that a client
    /// that is still sending receives the response instead of a reset (RFC 9112 §9.6). Default 10 s.
    pub linger_timeout: Duration,
    /// The most bytes that are read and dropped in that time; then the connection is closed. Default
    /// 64 MiB.
    pub max_linger: u64,
    /// With `serve_async`: the longest time that a response may take after the client has ended its
    /// stream. After that, the connection is closed. The time starts anew with each write that the client
    /// takes. Default 30 s.
    ///
    /// A client that has ended its stream may still read its response, but it may also be gone:
    /// that can't be seen before something is sent. While nothing is sent, such a connection is closed
    /// sooner to make room for a new one ([`max_connections`](Self::max_connections)).
    pub half_closed_timeout: Duration,
    /// With `serve_async`: the longest time from a complete head to the head of the response, without the
    /// time in which the handler waits for the request's body. After that, the client gets 503, and the
    /// handler's future is dropped. Default `None`: handlers may take any time.
    pub handler_timeout: Option<Duration>,
    /// With `serve_async`: the most requests at a time, each from its head to the end of its response. So a
    /// stream of events counts as long as it is open. It bounds the memory that isn't counted in
    /// [`max_held`](Self::max_held): the handlers' futures, and what they collect. At the limit no further request
    /// is begun: its client waits until another one has ended. An [upgraded](crate::upgrade())
    /// connection doesn't count. Default 10,000, on WASI 1,000.
    pub max_requests: usize,
}

impl Limits {
    /// The highest allowed value of [`max_fields`](Self::max_fields).
    pub const MAX_FIELDS: usize = 512;

    /// The highest allowed value of [`max_request_line`](Self::max_request_line): `http::Uri` holds no
    /// longer targets.
    pub const MAX_REQUEST_LINE: usize = 65_534;

    /// Checks that all limits are in range.
    ///
    /// # Errors
    /// [`ErrorKind::Setting`], with the name of the limit.
    pub(crate) fn check(&self) -> Result<()> {
        let positive = [
            ("max_head", self.max_head > 0),
            ("max_request_line", self.max_request_line > 0),
            ("max_fields", self.max_fields > 0),
            ("max_pending_output", self.max_pending_output > 0),
            ("accepts_per_turn", self.accepts_per_turn > 0),
            ("max_connections", self.max_connections > 0),
            ("max_held", self.max_held > 0),
            ("max_proxy_header", self.max_proxy_header > 0),
            ("proxy_header_timeout", !self.proxy_header_timeout.is_zero()),
            ("head_timeout", !self.head_timeout.is_zero()),
            ("idle_timeout", !self.idle_timeout.is_zero()),
            ("rate_window", !self.rate_window.is_zero()),
            ("linger_timeout", !self.linger_timeout.is_zero()),
            ("max_linger", self.max_linger > 0),
            ("half_closed_timeout", !self.half_closed_timeout.is_zero()),
            (
                "handler_timeout",
                self.handler_timeout != Some(Duration::ZERO),
            ),
            ("max_requests", self.max_requests > 0),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, is_positive)| !is_positive) {
            return Err(setting(name, 0, "more than 0"));
        }
        // No head needs 1 GiB: more is a mistake in the unit.
        let upper = [
            ("max_fields", self.max_fields, Self::MAX_FIELDS),
            (
                "max_request_line",
                self.max_request_line,
                Self::MAX_REQUEST_LINE,
            ),
            ("max_head", self.max_head, 1 << 30),
            ("max_connections", self.max_connections, Key::MAX_SLOTS),
        ];
        if let Some((name, set, most)) = upper.iter().find(|(_, set, most)| set > most) {
            return Err(setting(name, *set, &format!("at most {most}")));
        }
        Ok(())
    }
}

// Not inlined: a Wasm module would contain it twice.
#[inline(never)]
fn setting(name: &str, set: usize, allowed: &str) -> Error {
    let text = format!("the limit {name} is {set}: set it to {allowed}");
    Error::new(ErrorKind::Setting, text)
}

impl Default for Limits {
    fn default() -> Self {
        let mib = 1 << 20;
        Self {
            max_head: 64 << 10,
            max_request_line: 8 << 10,
            max_fields: 100,
            max_body: 16 << 20,
            max_chunk_extensions: 4 << 10,
            max_trailers: 8 << 10,
            max_pending_output: 64 << 10,
            accepts_per_turn: 64,
            max_connections: 10_000,
            max_held: if cfg!(target_os = "wasi") {
                64 * mib
            } else {
                256 * mib
            },
            max_proxy_header: 4 << 10,
            proxy_header_timeout: Duration::from_secs(5),
            head_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            min_rate: 500,
            rate_window: Duration::from_secs(10),
            linger_timeout: Duration::from_secs(10),
            max_linger: 64 << 20,
            half_closed_timeout: Duration::from_secs(30),
            handler_timeout: None,
            max_requests: if cfg!(target_os = "wasi") {
                1_000
            } else {
                10_000
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_in_range() {
        assert!(Limits::default().check().is_ok());
    }

    #[test]
    fn a_limit_of_zero_is_named_in_the_error() {
        let limits = Limits {
            max_head: 0,
            ..Limits::default()
        };
        let error = limits.check().expect_err("0 bytes of head");
        assert_eq!(error.kind(), ErrorKind::Setting);
        assert!(error.to_string().contains("max_head"), "{error}");
    }

    #[test]
    fn a_handler_timeout_is_off_or_positive() {
        let mut limits = Limits {
            handler_timeout: Some(Duration::ZERO),
            ..Limits::default()
        };
        let error = limits.check().expect_err("no time for any handler");
        assert!(error.to_string().contains("handler_timeout"), "{error}");
        limits.handler_timeout = Some(Duration::from_nanos(1));
        assert!(limits.check().is_ok());
    }

    #[test]
    fn an_error_says_what_is_allowed() {
        let mut limits = Limits {
            idle_timeout: Duration::ZERO,
            ..Limits::default()
        };
        let text = |limits: &Limits| limits.check().map_err(|error| error.to_string());
        let expected = "the limit idle_timeout is 0: set it to more than 0";
        assert_eq!(text(&limits), Err(expected.into()));
        limits.idle_timeout = Duration::from_nanos(1);
        assert_eq!(text(&limits), Ok(()));
        limits.max_fields = Limits::MAX_FIELDS + 1;
        let expected = "the limit max_fields is 513: set it to at most 512";
        assert_eq!(text(&limits), Err(expected.into()));
    }
}
