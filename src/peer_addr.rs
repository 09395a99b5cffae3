//! The client's address, for asynchronous handlers.

use std::net::SocketAddr;

/// The client's address, among the extensions of a request that an asynchronous handler gets.
///
/// It is missing on WASI preview 1, which has no call for it, for connections of Unix domain sockets, and where the
/// system can't report it. Behind a proxy it is the proxy's address: [`TrustedProxies`](crate::TrustedProxies) finds
/// the client's. With the PROXY protocol (`Server::proxy_protocol`) it is the address in the header, in all these
/// cases.
///
/// ```
/// use mini_http::{Incoming, PeerAddr, http::Request};
///
/// fn is_local(request: &Request<Incoming>) -> bool {
///     let peer = request.extensions().get::<PeerAddr>();
///     peer.is_some_and(|peer| peer.0.ip().is_loopback())
/// }
/// # assert!(!is_local(&Request::new(Incoming::empty())));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddr(pub SocketAddr);
