//! An error of a handler or of a response's body, as the loop needs it.

use std::error::Error;

use crate::body::BoxError;
use crate::conn::Refusal;
use crate::into_response::refusal_of;

/// An error of a handler or of a response's body: its text for the log, and the refusal in it. Made while the
/// future is polled, because the text is made by code of the user, which may panic.
pub(super) struct Failure {
    /// The error and its sources.
    pub(super) text: String,
    /// What the error was caused by, if that was the request's body.
    pub(super) refusal: Option<Refusal>,
}

impl Failure {
    pub(super) fn new(error: &BoxError) -> Self {
        let error: &(dyn Error + 'static) = &**error;
        Self {
            text: with_sources(error),
            refusal: refusal_of(error).copied(),
        }
    }
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
