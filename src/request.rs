//! The request that a handler is given.

use std::fmt;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};

/// A whole request, with its body.
///
/// It derefs to [`http::Request<Vec<u8>>`](http::Request), for method, URI, version, fields and
/// extensions. The target was checked to be right for the method (RFC 9112 §3.2); `uri()` has an
/// authority only when the client sent one, so take the host from `Host` otherwise.
///
/// Field values share one buffer with the request's whole head (up to 64 KiB); a handler that
/// keeps one for long should copy it.
pub struct Request {
    inner: http::Request<Vec<u8>>,
    peer: Option<SocketAddr>,
}

impl Request {
    pub(crate) fn new(inner: http::Request<Vec<u8>>, peer: Option<SocketAddr>) -> Self {
        Self { inner, peer }
    }

    /// The body, decoded from its transfer coding; empty if there is none.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.inner.body()
    }

    /// The address of the client's end of the connection. `None` on WASI preview 1, which has no
    /// call to tell it.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// The request as the `http` crate's own, to be taken apart or kept.
    #[must_use]
    pub fn into_inner(self) -> http::Request<Vec<u8>> {
        self.inner
    }

    /// The body alone.
    #[must_use]
    pub fn into_body(self) -> Vec<u8> {
        self.inner.into_body()
    }
}

impl Deref for Request {
    type Target = http::Request<Vec<u8>>;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}

impl DerefMut for Request {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.inner
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
