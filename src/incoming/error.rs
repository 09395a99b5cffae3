//! Why a request's body can't be received.

use std::error::Error;
use std::fmt;

use crate::body::BoxError;
use crate::conn::Refusal;
use crate::failure::refusal_of;

/// Why a request's body can't be received: the server refuses it ([`refusal`](Self::refusal)), or the
/// connection is gone ([`is_gone`](Self::is_gone)).
///
/// A handler that returns it, directly or as a cause of its own error, gives the client the right status:
///
/// | status | cause |
/// |---|---|
/// | 400 | a malformed chunk, or the client's stream ended within the body (RFC 9112 §7.1, §8) |
/// | 408 | the body arrived below [`min_rate`](crate::Limits::min_rate) |
/// | 413 | the body is larger than its [`limit`](crate::Incoming::limit) |
/// | 431 | the trailers exceed [`max_trailers`] or [`max_fields`] |
/// | 503 | [`bytes`](crate::Incoming::bytes) found no room in [`max_held`] |
///
/// [`max_trailers`]: crate::Limits::max_trailers
/// [`max_fields`]: crate::Limits::max_fields
/// [`max_held`]: crate::Limits::max_held
pub struct IncomingError {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Refused(Refusal),
    Gone,
    /// The error of a body from [`Incoming::from_body`](crate::Incoming::from_body).
    Other(BoxError),
}

impl IncomingError {
    /// The refusal, if that is why.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match &self.kind {
            Kind::Refused(refusal) => Some(refusal),
            Kind::Gone => None,
            Kind::Other(error) => refusal_of(&**error),
        }
    }

    /// Whether nothing more can come because the connection is gone: it was reset, failed, or was closed by
    /// the server. A body that is taken outside of its handler has this error, too, if the response ends
    /// before the body does.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self.kind, Kind::Gone)
    }

    pub(crate) fn refused(refusal: Refusal) -> Self {
        let kind = Kind::Refused(refusal);
        Self { kind }
    }

    pub(super) fn gone() -> Self {
        Self { kind: Kind::Gone }
    }

    /// The error of another body, or the same error if that was an `Incoming`.
    pub(super) fn of_body(error: BoxError) -> Self {
        match error.downcast() {
            Ok(error) => *error,
            Err(error) => Self {
                kind: Kind::Other(error),
            },
        }
    }
}

impl fmt::Debug for IncomingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IncomingError").field(&self.kind).finish()
    }
}

/// The text without its cause, which is the [`source`](Error::source).
impl fmt::Display for IncomingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Refused(_) => "the request's body was refused",
            Kind::Gone => "the connection is gone",
            Kind::Other(_) => "the request's body failed",
        })
    }
}

impl Error for IncomingError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            Kind::Refused(refusal) => Some(refusal),
            Kind::Gone => None,
            Kind::Other(error) => Some(&**error),
        }
    }
}
