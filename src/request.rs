//! The request type that handlers receive.

use std::cell::RefCell;
use std::fmt;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};

use http::{Extensions, HeaderMap, Uri};

use crate::connection_id::ConnectionId;
use crate::log_text::is_secret;

/// A complete request, with its body.
///
/// It derefs to [`http::Request<Vec<u8>>`](http::Request), for method, URI, version, fields and
/// extensions. The form of the target suits the method (RFC 9112 §3.2). `uri()` has an authority only
/// if the client sent one; otherwise take the host from `Host`.
///
/// `Debug` masks secrets and omits the body; the `Debug` of the inner `http::Request` does not.
///
/// Field values share one buffer with the whole head, and with other small heads: a handler that
/// keeps a value for long should copy it. The memory of a dropped request is reused for later ones.
pub struct Request {
    /// `None` only while it is dropped.
    parts: Option<Box<Parts>>,
}

struct Parts {
    inner: http::Request<Vec<u8>>,
    peer: Option<SocketAddr>,
    local: Option<SocketAddr>,
    connection: ConnectionId,
}

impl Request {
    /// An empty request, which reuses the memory of a dropped one if possible.
    pub(crate) fn new() -> Self {
        let pooled = POOL.try_with(|pool| pool.borrow_mut().pop());
        let parts = pooled.ok().flatten().unwrap_or_default();
        Self { parts: Some(parts) }
    }

    /// Sets the number and the addresses of its connection.
    pub(crate) fn set_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<SocketAddr>,
        local: Option<SocketAddr>,
    ) {
        let parts = self.parts_mut();
        (parts.connection, parts.peer, parts.local) = (id, peer, local);
    }

    /// The body, decoded from its transfer coding; empty if there is none.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.parts().inner.body()
    }

    /// The client's address. `None` on WASI preview 1, which has no call for it, and for connections of Unix domain
    /// sockets. Behind a proxy it is the proxy's address: [`TrustedProxies`](crate::TrustedProxies) finds the client's.
    /// With the PROXY protocol (`Server::proxy_protocol`) it is the address in the header, also in the first two cases.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.parts().peer
    }

    /// The number of the client's connection, as in the log. 0 if the request doesn't come from a server.
    #[must_use]
    pub fn connection_id(&self) -> ConnectionId {
        self.parts().connection
    }

    /// The server's address to which the client has connected. `None` on WASI preview 1, which has no call for it, and
    /// for a Unix domain socket.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.parts().local
    }

    /// The same request with another [`local_addr`](Self::local_addr), for tests of handlers.
    #[must_use]
    pub fn with_local_addr(mut self, local: SocketAddr) -> Self {
        self.parts_mut().local = Some(local);
        self
    }

    /// The same request with another [`peer_addr`](Self::peer_addr), for tests of handlers.
    #[must_use]
    pub fn with_peer_addr(mut self, peer: SocketAddr) -> Self {
        self.parts_mut().peer = Some(peer);
        self
    }

    /// Converts it into the `http` crate's type.
    #[must_use]
    pub fn into_inner(mut self) -> http::Request<Vec<u8>> {
        std::mem::take(self.parts_mut()).inner
    }

    /// Converts it into the `http` crate's type, with another body. The next request reuses the memory of this one,
    /// except that of its fields and extensions.
    pub(crate) fn with_body<B>(mut self, body: B) -> http::Request<B> {
        let mut parts = self.parts.take().expect(PRESENT);
        let inner = &mut parts.inner;
        let (mut head, ()) = http::Request::new(()).into_parts();
        std::mem::swap(&mut head.method, inner.method_mut());
        std::mem::swap(&mut head.uri, inner.uri_mut());
        head.version = inner.version();
        std::mem::swap(&mut head.headers, inner.headers_mut());
        std::mem::swap(&mut head.extensions, inner.extensions_mut());
        // Only the body is left here: it wasn't used, and is cleared for the next request.
        inner.body_mut().clear();
        parts.give_back();
        http::Request::from_parts(head, body)
    }

    /// Returns the body, and drops the rest.
    #[must_use]
    pub fn into_body(mut self) -> Vec<u8> {
        std::mem::take(self.parts_mut().inner.body_mut())
    }

    fn parts(&self) -> &Parts {
        self.parts.as_deref().expect(PRESENT)
    }

    fn parts_mut(&mut self) -> &mut Parts {
        self.parts.as_deref_mut().expect(PRESENT)
    }
}

/// Why `expect` can't fail: only `drop` and what consumes the request take the parts.
const PRESENT: &str = "a request has its parts until it is dropped";

/// For tests of handlers. The request has no peer address; set one with
/// [`with_peer_addr`](Request::with_peer_addr).
impl From<http::Request<Vec<u8>>> for Request {
    fn from(inner: http::Request<Vec<u8>>) -> Self {
        let parts = Parts {
            inner,
            ..Parts::default()
        };
        Self {
            parts: Some(Box::new(parts)),
        }
    }
}

impl Deref for Request {
    type Target = http::Request<Vec<u8>>;

    fn deref(&self) -> &Self::Target {
        &self.parts().inner
    }
}

impl DerefMut for Request {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.parts_mut().inner
    }
}

/// Suitable for logs: secret fields are masked as in this crate's own log, and only the length of the
/// body is shown.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts {
            inner,
            peer,
            local,
            connection,
        } = self.parts();
        f.debug_struct("Request")
            .field("method", inner.method())
            .field("uri", inner.uri())
            .field("version", &inner.version())
            .field("headers", &MaskedFields(inner.headers()))
            .field("body_length", &inner.body().len())
            .field("peer_addr", peer)
            .field("local_addr", local)
            .field("connection_id", connection)
            .finish_non_exhaustive()
    }
}

struct MaskedFields<'a>(&'a HeaderMap);

impl fmt::Debug for MaskedFields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (name, value) in self.0 {
            if is_secret(name.as_str().as_bytes()) {
                map.entry(name, &format_args!("***"));
            } else {
                map.entry(name, value);
            }
        }
        map.finish()
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let Some(mut parts) = self.parts.take() else {
            return;
        };
        if parts.is_worth_keeping() {
            parts.clear();
            parts.give_back();
        }
    }
}

/// Dropped requests kept per thread. An event loop has one request at a time with the handler, and
/// more while bodies are received. At half, a few uploads side by side allocate; at double, a thread keeps
/// up to 0.5 MiB more.
const MAX_POOLED: usize = 8;

thread_local! {
    #[expect(clippy::vec_box, reason = "the boxes are reused: a request is moved often")]
    static POOL: RefCell<Vec<Box<Parts>>> = const { RefCell::new(Vec::new()) };
}

/// Reuses the memory of a response's fields for the next request, whose own went to a handler. So a handler that sets
/// a field costs no allocation for the fields of requests.
pub(crate) fn reuse_fields(fields: &mut HeaderMap) {
    if !(1..=Parts::MAX_FIELDS).contains(&fields.capacity()) {
        return;
    }
    // Before the pool is borrowed: the drop of a value may run code of the user, which may use the pool.
    fields.clear();
    let _ = POOL.try_with(|pool| {
        if let Some(next) = pool.borrow_mut().last_mut()
            && next.inner.headers().capacity() == 0
        {
            std::mem::swap(next.inner.headers_mut(), fields);
        }
    });
}

impl Parts {
    /// Parts with memory for more fields than this are freed, not reused. Requests rarely have more
    /// than [`Limits::max_fields`](crate::Limits::max_fields), 100 by default.
    const MAX_FIELDS: usize = 128;
    /// The same for the body's capacity in bytes: the pool is not counted in the memory budget.
    const MAX_BODY: usize = 64 << 10;

    fn is_worth_keeping(&self) -> bool {
        self.inner.headers().capacity() <= Self::MAX_FIELDS
            && self.inner.body().capacity() <= Self::MAX_BODY
    }

    /// Puts them into the pool. They contain nothing.
    fn give_back(self: Box<Self>) {
        // On a thread that is ending, the pool may be gone; then the memory is freed.
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < MAX_POOLED {
                pool.push(self);
            }
        });
    }

    /// Removes everything that the client sent or the handler added; keeps the memory.
    fn clear(&mut self) {
        self.inner.headers_mut().clear();
        self.inner.body_mut().clear();
        if !self.inner.extensions().is_empty() {
            *self.inner.extensions_mut() = Extensions::new();
        }
        // The URI shares the head's buffer, which can't be reused before the URI is dropped.
        *self.inner.uri_mut() = Uri::default();
    }
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            inner: http::Request::new(Vec::new()),
            peer: None,
            local: None,
            connection: ConnectionId::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_reused_request_contains_nothing_of_the_dropped_one() {
        let mut request = Request::new();
        request
            .headers_mut()
            .insert("cookie", HeaderValue::from_static("secret"));
        request.extensions_mut().insert(7_u32);
        request.body_mut().extend_from_slice(b"secret");
        *request.uri_mut() = Uri::from_static("/secret");
        drop(request);
        let next = Request::new();
        assert!(next.headers().is_empty() && next.body().is_empty());
        assert!(next.extensions().get::<u32>().is_none());
        assert_eq!(next.uri(), "/");
        assert!(next.headers().capacity() > 0, "the memory is reused");
    }

    #[test]
    fn the_fields_of_a_response_leave_their_memory_to_the_next_request() {
        drop(Request::new().with_body(()));
        let mut fields = HeaderMap::new();
        fields.insert("set-cookie", HeaderValue::from_static("secret"));
        let capacity = fields.capacity();
        reuse_fields(&mut fields);
        assert_eq!((fields.len(), fields.capacity()), (0, 0));
        let next = Request::new();
        assert!(next.headers().is_empty());
        assert_eq!(next.headers().capacity(), capacity);
        // A handler may add thousands of fields.
        let mut many = HeaderMap::with_capacity(1000);
        drop(next.with_body(()));
        reuse_fields(&mut many);
        assert_eq!(Request::new().headers().capacity(), 0);
    }

    /// A value may be memory that a handler made, and its drop code of the handler.
    #[test]
    fn a_field_whose_drop_uses_a_request_does_no_harm() {
        struct DropsARequest;
        impl AsRef<[u8]> for DropsARequest {
            fn as_ref(&self) -> &[u8] {
                b"value"
            }
        }
        impl Drop for DropsARequest {
            fn drop(&mut self) {
                drop(Request::new());
            }
        }
        drop(Request::new().with_body(()));
        let value = bytes::Bytes::from_owner(DropsARequest);
        let mut fields = HeaderMap::new();
        fields.insert("x", HeaderValue::from_maybe_shared(value).expect("a value"));
        reuse_fields(&mut fields);
        assert!(fields.is_empty());
    }

    #[test]
    fn debug_shows_no_secret_and_no_body() {
        let request = http::Request::builder()
            .uri("/path?query")
            .header("Host", "h")
            .header("Authorization", "Basic secret")
            .header("Proxy-Authorization", "secret")
            .header("Cookie", "a=secret")
            .header("Cookie", "b=secret")
            .header("Set-Cookie", "secret")
            .body(b"secret".to_vec());
        let request = Request::from(request.expect("a valid request"));
        for text in [format!("{request:?}"), format!("{request:#?}")] {
            // Also not as numbers.
            assert!(!text.contains("secret") && !text.contains("115"), "{text}");
            assert!(
                text.contains("/path?query") && text.contains("\"h\""),
                "{text}"
            );
            assert!(text.contains("body_length: 6"), "{text}");
            assert_eq!(text.matches("***").count(), 5, "{text}");
        }
    }

    #[test]
    fn a_request_is_send_and_can_be_converted() {
        fn is_send<T: Send>(_: &T) {}
        let mut request = Request::new();
        is_send(&request);
        request.body_mut().extend_from_slice(b"body");
        assert_eq!(request.body(), b"body");
        assert_eq!(request.into_inner().into_body(), b"body");
    }
}
