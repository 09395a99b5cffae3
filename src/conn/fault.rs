//! What a client did wrong, and the answer it gets.

use http::StatusCode;

use super::close_reason::CloseReason;
use crate::error::ErrorKind;

/// A request that is refused: the status of the answer, and what the answer's body and the log
/// say about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    status: StatusCode,
    kind: ErrorKind,
    why: &'static str,
}

impl Fault {
    /// 400: the request breaks a rule of the grammar or of framing.
    pub(super) const fn malformed(why: &'static str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: ErrorKind::MalformedRequest,
            why,
        }
    }

    /// 400: the stream ended within the request.
    pub(super) const fn incomplete() -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: ErrorKind::IncompleteRequest,
            why: "the stream ended within the request",
        }
    }

    /// 408 (RFC 9110 §15.5.9).
    pub(super) const fn timeout(why: &'static str) -> Self {
        Self {
            status: StatusCode::REQUEST_TIMEOUT,
            kind: ErrorKind::RequestTimeout,
            why,
        }
    }

    /// 413 (RFC 9110 §15.5.14).
    pub(super) const fn body_too_large() -> Self {
        Self {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            kind: ErrorKind::BodyTooLarge,
            why: "the body is larger than this server accepts",
        }
    }

    /// 414 (RFC 9110 §15.5.15).
    pub(super) const fn uri_too_long() -> Self {
        Self {
            status: StatusCode::URI_TOO_LONG,
            kind: ErrorKind::UriTooLong,
            why: "the request line is longer than this server accepts",
        }
    }

    /// 417 (RFC 9110 §15.5.18).
    pub(super) const fn expectation() -> Self {
        Self {
            status: StatusCode::EXPECTATION_FAILED,
            kind: ErrorKind::UnsupportedRequest,
            why: "the only expectation this server meets is 100-continue",
        }
    }

    /// 431 (RFC 6585 §5).
    pub(super) const fn headers_too_large(why: &'static str) -> Self {
        Self {
            status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            kind: ErrorKind::HeadersTooLarge,
            why,
        }
    }

    /// 501 (RFC 9110 §15.6.2).
    pub(super) const fn not_implemented(why: &'static str) -> Self {
        Self {
            status: StatusCode::NOT_IMPLEMENTED,
            kind: ErrorKind::UnsupportedRequest,
            why,
        }
    }

    /// 503 (RFC 9110 §15.6.4).
    pub(super) const fn overloaded() -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            kind: ErrorKind::Overloaded,
            why: "the server holds as many bytes as it may; try again later",
        }
    }

    /// 503, because the server stops.
    pub(super) const fn stopped() -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            kind: ErrorKind::Overloaded,
            why: "the server is stopping; try again later",
        }
    }

    /// 505 (RFC 9110 §15.6.6).
    pub(super) const fn version() -> Self {
        Self {
            status: StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            kind: ErrorKind::UnsupportedRequest,
            why: "this server speaks HTTP/1.1 and HTTP/1.0",
        }
    }

    /// The same fault in other words.
    pub(super) const fn in_words(self, why: &'static str) -> Self {
        Self { why, ..self }
    }

    /// The status of the answer.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// What sort of fault this is.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The fault in words.
    #[must_use]
    pub const fn why(&self) -> &'static str {
        self.why
    }

    /// The reason to close that goes with it: every fault ends its connection.
    pub(super) fn close_reason(&self) -> CloseReason {
        match self.kind {
            ErrorKind::IncompleteRequest => CloseReason::IncompleteRequest,
            ErrorKind::UriTooLong | ErrorKind::HeadersTooLarge | ErrorKind::BodyTooLarge => {
                CloseReason::TooLarge
            }
            ErrorKind::Overloaded => CloseReason::Overloaded,
            ErrorKind::MalformedRequest
            | ErrorKind::RequestTimeout
            | ErrorKind::UnsupportedRequest
            | ErrorKind::Io
            | ErrorKind::Address
            | ErrorKind::NoListener
            | ErrorKind::Unsupported
            | ErrorKind::Setting => CloseReason::BadRequest,
        }
    }
}
