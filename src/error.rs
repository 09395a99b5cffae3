//! Errors: what went wrong, and what to do about it.

use std::fmt;
use std::io;

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a server could not be made or run.
///
/// What a client does wrong never comes out of [`Server::start`](crate::Server::start): it is a
/// [`Refusal`](crate::Refusal), the response to that client, logged, and counted by its
/// [`CloseReason`](crate::CloseReason). The text of an error is for people; match on
/// [`kind`](Error::kind).
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<io::Error>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    pub(crate) fn io(message: impl Into<String>, source: io::Error) -> Self {
        Self {
            kind: ErrorKind::Io,
            message: message.into(),
            source: Some(source),
        }
    }

    #[cfg(not(target_os = "wasi"))]
    pub(crate) fn with_source(kind: ErrorKind, message: String, source: io::Error) -> Self {
        Self {
            kind,
            message,
            source: Some(source),
        }
    }

    /// What sort of error this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

/// The text and its cause, for a `main` that returns the error: several of the texts have more than
/// one line, which a derived `Debug` would escape.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

/// The text without its cause, which is the [`source`](std::error::Error::source): a report that
/// walks the chain shows it once.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

impl From<io::Error> for Error {
    fn from(source: io::Error) -> Self {
        Self::io("input/output error", source)
    }
}

/// The sort of an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A call to the operating system or the WASI runtime failed.
    Io,
    /// The address is not `host:port`, has no such host, or can't be bound.
    Address,
    /// No listening socket was handed to the process or module.
    NoListener,
    /// This platform can't do what was asked.
    Unsupported,
    /// A setting is out of its range.
    Setting,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn the_cause_is_shown_once() {
        let error = Error::io("can't listen", io::Error::other("in use"));
        assert_eq!(error.to_string(), "can't listen");
        assert_eq!(error.source().expect("a cause").to_string(), "in use");
        assert_eq!(format!("{error:?}"), "can't listen: in use");
    }
}
