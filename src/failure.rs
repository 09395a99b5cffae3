//! Errors of handlers and of bodies: their text for the log, and the refusal among their causes.

use std::error::Error;
use std::io;
use std::iter::successors;

use crate::body::BoxError;
use crate::conn::Refusal;

/// An error of a handler or of a response's body: its text for the log, and the refusal in it. Made while the
/// future is polled, because the text is made by code of the user, which may panic.
pub(crate) struct Failure {
    /// The error and its causes.
    pub(crate) text: String,
    /// The refusal that has caused the error, if there is one among its causes.
    pub(crate) refusal: Option<Refusal>,
}

impl Failure {
    pub(crate) fn new(error: &BoxError) -> Self {
        let error: &(dyn Error + 'static) = &**error;
        Self {
            text: with_causes(error),
            refusal: refusal_of(error).copied(),
        }
    }
}

/// The refusal that an error is, or that is among its causes.
pub(crate) fn refusal_of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Refusal> {
    causes(error).find_map(|error| error.downcast_ref())
}

/// The text of an error and of its causes, separated by colons. A cause that the text before it ends with isn't
/// repeated.
fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for error in causes(error) {
        let next = error.to_string();
        if text.is_empty() {
            text = next;
        } else if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
    }
    text
}

/// The most causes that are looked at, with the error itself. An error can be its own cause by mistake. Most
/// errors have up to five causes. With half as many, the refusal in a longer chain could be missed; with twice as
/// many, the log line of an error that is its own cause would be twice as long.
const MAX_CAUSES: usize = 16;

/// An error and its causes.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let all = successors(Some(error), |&error| {
        match error.downcast_ref::<io::Error>().map(io::Error::get_ref) {
            // The `source` of an `io::Error` is that of the error in it, which would be skipped.
            Some(Some(inner)) => Some(inner as &(dyn Error + 'static)),
            _ => error.source(),
        }
    });
    all.take(MAX_CAUSES)
}

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

    /// An error that is its own cause.
    #[derive(Debug)]
    struct Circle;

    impl std::fmt::Display for Circle {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a circle")
        }
    }

    impl Error for Circle {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(self)
        }
    }

    #[test]
    fn an_error_that_is_its_own_cause_has_an_end() {
        let errors: [BoxError; 2] = [Circle.into(), Wrapper(Circle.into()).into()];
        for error in errors {
            assert!(refusal_of(&*error).is_none());
            assert!(Failure::new(&error).refusal.is_none());
        }
    }

    #[test]
    fn the_text_has_all_causes_once() {
        let circle: BoxError = Wrapper(Circle.into()).into();
        let nested: BoxError =
            io::Error::other(Wrapper(io::Error::other("the disk is full").into())).into();
        for (error, text) in [
            (circle, "the upload failed: a circle"),
            (nested, "the upload failed: the disk is full"),
            ("text".into(), "text"),
        ] {
            assert_eq!(Failure::new(&error).text, text);
        }
    }
}
