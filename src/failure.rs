//! Errors of handlers and of bodies: their text for the log, and the refusal among their causes.

use std::error::Error;
use std::io;

use crate::body::BoxError;
use crate::conn::Refusal;

/// An error of a handler or of a response's body: its text for the log, and the refusal in it. Made while the
/// future is polled, because the text is made by code of the user, which may panic.
pub(crate) struct Failure {
    /// The error and its sources.
    pub(crate) text: String,
    /// What the error was caused by, if that was the request's body.
    pub(crate) refusal: Option<Refusal>,
}

impl Failure {
    pub(crate) fn new(error: &BoxError) -> Self {
        let error: &(dyn Error + 'static) = &**error;
        Self {
            text: with_sources(error),
            refusal: refusal_of(error).copied(),
        }
    }
}

/// The refusal that an error is, or that is among its causes.
pub(crate) fn refusal_of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Refusal> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(refusal) = error.downcast_ref() {
            return Some(refusal);
        }
        next = match error.downcast_ref::<io::Error>().map(io::Error::get_ref) {
            // Its `source` is the source of the error in it, which may itself be the refusal.
            Some(Some(inner)) => Some(inner),
            _ => error.source(),
        };
    }
    None
}

/// The text of an error and of its sources, separated by colons. An error that repeats its source's text at
/// the end isn't followed by it again.
fn with_sources(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    // A source may be a circle, by mistake.
    for _ in 0..MOST_SOURCES {
        let Some(error) = source else {
            break;
        };
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = error.source();
    }
    text
}

/// So many sources of an error are logged. Errors have up to five; at half, some of those would be cut, and at
/// double, a line of an error that is its own source is twice as long.
const MOST_SOURCES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::CloseReason;
    use crate::incoming::{Incoming, IncomingError};

    #[derive(Debug)]
    struct Wrapper(Box<dyn Error + Send + Sync>);

    impl std::fmt::Display for Wrapper {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("the upload failed")
        }
    }

    impl Error for Wrapper {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&*self.0)
        }
    }

    fn refused() -> IncomingError {
        let mut incoming = Incoming::from("abc");
        incoming.limit(1);
        let mut future = std::pin::pin!(incoming.bytes());
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        match future.as_mut().poll(&mut cx) {
            std::task::Poll::Ready(Err(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_refusal_is_found_wherever_it_is() {
        let refusal = Refusal::body_too_large();
        let errors: [BoxError; 7] = [
            refusal.into(),
            refused().into(),
            Wrapper(refused().into()).into(),
            Wrapper(Wrapper(refusal.into()).into()).into(),
            io::Error::other(refusal).into(),
            io::Error::other(Wrapper(io::Error::other(refused()).into())).into(),
            Wrapper(io::Error::other(refusal).into()).into(),
        ];
        for error in errors {
            let found = refusal_of(&*error).map(Refusal::reason);
            assert_eq!(found, Some(CloseReason::TooLarge), "{error:?}");
        }
        let others: [BoxError; 4] = [
            "text".into(),
            io::Error::from(io::ErrorKind::NotFound).into(),
            io::Error::other("text").into(),
            Wrapper("text".into()).into(),
        ];
        for error in others {
            assert!(refusal_of(&*error).is_none(), "{error:?}");
        }
    }
}
