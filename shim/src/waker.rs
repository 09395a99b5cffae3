//! [`Waker`]: exists only so that code which names it compiles. It can't be created.

use std::io;

use crate::{Registry, Token, unsupported};

/// In mio, ends a poll from another thread. Here it can't be created: preview 1 has no threads, and no call that
/// ends a `poll_oneoff`.
#[derive(Debug)]
pub struct Waker(());

impl Waker {
    /// Always fails.
    ///
    /// # Errors
    /// [`Unsupported`](io::ErrorKind::Unsupported).
    pub fn new(_registry: &Registry, _token: Token) -> io::Result<Self> {
        Err(unsupported(NO_WAKER))
    }

    /// Can't be called.
    ///
    /// # Errors
    /// [`Unsupported`](io::ErrorKind::Unsupported).
    pub fn wake(&self) -> io::Result<()> {
        Err(unsupported(NO_WAKER))
    }
}

const NO_WAKER: &str = "WASI preview 1 has no call that ends a poll, so there is no Waker";
