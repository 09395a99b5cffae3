//! [`ConnectionId`] and [`LocalAddr`]: the number of a request's connection, and its address at the server.

use std::fmt;
use std::net::SocketAddr;

/// The number of a connection, as in the log. Numbers begin with 1, and no two connections of a server have the same.
///
/// [`Request::connection_id`](crate::Request::connection_id) returns it. If
/// [`Server::connection_extensions`](crate::Server::connection_extensions) is on, an asynchronous handler finds it
/// among the extensions of the request:
///
/// ```
/// use mini_http::{ConnectionId, Incoming, http::Request};
///
/// fn is_first(request: &Request<Incoming>) -> bool {
///     request.extensions().get::<ConnectionId>() == Some(&ConnectionId(1))
/// }
/// # assert!(!is_first(&Request::new(Incoming::empty())));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The address of the server to which a client has connected, among the extensions of a request that an asynchronous
/// handler gets if [`Server::connection_extensions`](crate::Server::connection_extensions) is on.
///
/// It is missing on WASI preview 1, which has no call for it, and for Unix domain sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LocalAddr(pub SocketAddr);
