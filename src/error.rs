//! Errors of making and running a server.

use std::fmt;
use std::io;

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a server could not be made or run.
///
/// A client's mistakes are never an error of [`Server::start`](crate::Server::start). They lead to a
/// [`Refusal`](crate::Refusal): a response to that client, logged, and counted by
/// [`CloseReason`](crate::CloseReason). The text of an error is for people, and may change; match on
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

    /// The kind of error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

/// The text and its cause. A `main` that returns the error prints this; a derived `Debug` would escape
/// the line breaks that some texts have.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

/// The text without its cause, which is the [`source`](std::error::Error::source): so a reporter that
/// prints the chain shows the cause once.
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

/// The kind of an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A call to the operating system or the WASI runtime failed.
    Io,
    /// The address is not of the form `host:port`, its host is not found, or it can't be bound.
    Address,
    /// There is no listening socket: none was passed to the process or module, the given one isn't
    /// one, or the sockets are in use already.
    NoListener,
    /// The platform doesn't support the operation.
    Unsupported,
    /// A setting is out of range or doesn't suit the call, or the server was started before.
    Setting,
    /// A connection wasn't [upgraded](crate::upgrade()).
    Upgrade,
    /// One of several [workers](crate::Server::workers) has ended by a panic outside a handler, or its
    /// thread could not be started.
    Worker,
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
