use std::io;

use crate::{Registry, Token};

/// Would end a poll from another thread; here it can't be made, because preview 1 has no call that
/// ends another's `poll_oneoff`, and no threads either.
#[derive(Debug)]
pub struct Waker(());

impl Waker {
    /// Always fails.
    ///
    /// # Errors
    /// [`Unsupported`](io::ErrorKind::Unsupported).
    pub fn new(_registry: &Registry, _token: Token) -> io::Result<Self> {
        Err(unsupported())
    }

    /// Can't be called.
    ///
    /// # Errors
    /// [`Unsupported`](io::ErrorKind::Unsupported).
    pub fn wake(&self) -> io::Result<()> {
        Err(unsupported())
    }
}

fn unsupported() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "WASI preview 1 has no call that ends a poll, so there is no Waker",
    )
}
