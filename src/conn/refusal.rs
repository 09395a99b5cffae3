//! Refusals: why the server rejects a request by itself, and with which status.

use std::fmt;

use http::StatusCode;

use super::close_reason::CloseReason;

/// Why the server refuses a request by itself: the status of the response, the
/// reason why the connection closes after it, and the text in the response's body and the log.
///
/// | status | cause |
/// |---|---|
/// | 400 | the grammar or the framing is broken, or the client's stream ended within the request |
/// | 408 | the head or the body did not arrive in time |
/// | 413 | the body is larger than [`max_body`](crate::Limits::max_body) |
/// | 414 | the request line is longer than [`max_request_line`](crate::Limits::max_request_line) |
/// | 417 | an expectation other than `100-continue` |
/// | 431 | the head or the trailer section exceeds the limits on bytes or fields |
/// | 500 | the handler failed or panicked, returned no final status, or can't upgrade the connection |
/// | 501 | CONNECT to a handler that makes no tunnel, or a transfer coding besides `chunked` |
/// | 503 | [`max_held`](crate::Limits::max_held) is reached, the server is stopping, or the handler is late |
/// | 505 | a version other than HTTP/1.x |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    status: StatusCode,
    reason: CloseReason,
    text: &'static str,
}

impl Refusal {
    /// The status of the response.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// Why the connection closes after the response.
    #[must_use]
    pub const fn reason(&self) -> CloseReason {
        self.reason
    }

    /// What is wrong, and how to fix it where that isn't obvious: the body of the response.
    #[must_use]
    pub const fn text(&self) -> &'static str {
        self.text
    }

    /// 400 (RFC 9110 §15.5.1): the request violates the grammar or the framing rules.
    pub(crate) const fn malformed(text: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, CloseReason::BadRequest, text)
    }

    /// 400: the client's stream ended before the request was complete.
    pub(crate) const fn incomplete() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            CloseReason::IncompleteRequest,
            "the stream ended within the request",
        )
    }

    /// 408 (RFC 9110 §15.5.9): the head took longer than `head_timeout`.
    pub(super) const fn late_head() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            CloseReason::HeadTimeout,
            "the head did not arrive in time",
        )
    }

    /// 408: the body arrived below the minimum rate.
    pub(super) const fn slow_body() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            CloseReason::BodyTimeout,
            "the body arrived too slowly",
        )
    }

    /// 413 (RFC 9110 §15.5.14): the body exceeds `max_body`.
    pub(crate) const fn body_too_large() -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            CloseReason::TooLarge,
            "the body is larger than this server accepts",
        )
    }

    /// 414 (RFC 9110 §15.5.15): the request line exceeds `max_request_line`.
    pub(super) const fn uri_too_long() -> Self {
        Self::new(
            StatusCode::URI_TOO_LONG,
            CloseReason::TooLarge,
            "the request line is longer than this server accepts",
        )
    }

    /// 417 (RFC 9110 §15.5.18): an expectation other than `100-continue`.
    pub(super) const fn expectation() -> Self {
        Self::new(
            StatusCode::EXPECTATION_FAILED,
            CloseReason::BadRequest,
            "the only expectation this server meets is 100-continue",
        )
    }

    /// 431 (RFC 6585 §5): the head or trailer section exceeds its limits.
    pub(super) const fn headers_too_large(text: &'static str) -> Self {
        Self::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            CloseReason::TooLarge,
            text,
        )
    }

    /// 500 (RFC 9110 §15.6.1): the handler failed or panicked.
    pub(crate) const fn handler_failed() -> Self {
        Self::failed("the handler failed")
    }

    /// 500: the handler responded with an interim status (1xx).
    pub(crate) const fn no_final_response() -> Self {
        Self::failed("the handler returned no final response")
    }

    /// 500: the handler responded with 101, or 2xx to CONNECT, and the connection can't be upgraded.
    pub(crate) const fn no_upgrade() -> Self {
        Self::failed("the connection can't be upgraded")
    }

    /// 501 (RFC 9110 §15.6.2): valid HTTP that this server does not implement.
    pub(super) const fn not_implemented(text: &'static str) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, CloseReason::BadRequest, text)
    }

    /// 501: CONNECT to a handler that makes no tunnel.
    pub(crate) const fn no_tunnels() -> Self {
        Self::not_implemented("this server makes no tunnels (CONNECT)")
    }

    /// 503 (RFC 9110 §15.6.4): the memory budget is used up.
    pub(super) const fn overloaded() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            CloseReason::Overloaded,
            "no room for this in the memory of all connections (max_held, which limits a body as max_body does); \
             try again later",
        )
    }

    /// 503: the server is stopping.
    pub(super) const fn stopped() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            CloseReason::Stopped,
            "the server is stopping; try again later",
        )
    }

    /// The unwanted rest of a body is too long to be received. There is no response for it.
    pub(super) const fn unread() -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            CloseReason::BodyUnread,
            "the rest of the body is left unread",
        )
    }

    /// 503: the handler did not respond within `handler_timeout`.
    pub(super) const fn late_handler() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            CloseReason::HandlerTimeout,
            "the response was not ready in time; try again later",
        )
    }

    /// 505 (RFC 9110 §15.6.6): a major version other than 1.
    pub(super) const fn version() -> Self {
        Self::new(
            StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            CloseReason::BadRequest,
            "this server speaks HTTP/1.1 and HTTP/1.0",
        )
    }

    /// The same refusal with another text.
    pub(super) const fn with_text(self, text: &'static str) -> Self {
        Self { text, ..self }
    }

    const fn failed(text: &'static str) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            CloseReason::HandlerFailed,
            text,
        )
    }

    const fn new(status: StatusCode, reason: CloseReason, text: &'static str) -> Self {
        Self {
            status,
            reason,
            text,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused with {}: {}", self.status.as_u16(), self.text)
    }
}

impl std::error::Error for Refusal {}
