//! [`ConnectInfo`]: the client's address, as handlers for axum on tokio take it.
//!
//! axum has its own only with its feature `tokio`, which needs sockets that WASI preview 1 doesn't have. This one is
//! used in the same way: `ConnectInfo(address): ConnectInfo<SocketAddr>`.

use axum::extract::{FromRequestParts, OptionalFromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use mini_http::PeerAddr;

use crate::error::Error;

/// What is known of a request's connection.
#[derive(Clone)]
pub(crate) struct ConnectInfo<T>(pub(crate) T);

/// For a layer: takes the address from `PeerAddr`, which the server adds to each request. On preview 1 there is none.
pub(crate) async fn add_connect_info(mut request: Request) -> Request {
    if let Some(&PeerAddr(address)) = request.extensions().get() {
        request.extensions_mut().insert(ConnectInfo(address));
    }
    request
}

impl<T: Clone + Send + Sync + 'static, S: Sync> FromRequestParts<S> for ConnectInfo<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let info = parts.extensions.get().cloned();
        let text = "the client's address is not known";
        info.ok_or_else(|| Error::new(StatusCode::INTERNAL_SERVER_ERROR, text))
    }
}

impl<T: Clone + Send + Sync + 'static, S: Sync> OptionalFromRequestParts<S> for ConnectInfo<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Error> {
        Ok(parts.extensions.get().cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::body::Body;
    use axum::middleware::map_request;
    use axum::routing::get;
    use futures_util::FutureExt;
    use std::net::SocketAddr;
    use tower::ServiceExt;

    /// The body of the response to a request from this address, by a handler that needs one.
    async fn respond(peer: Option<SocketAddr>) -> (StatusCode, String) {
        let show = async |ConnectInfo(address): ConnectInfo<SocketAddr>| address.to_string();
        let app = Router::new().route("/", get(show));
        let app = app.layer(map_request(add_connect_info));
        let mut request = Request::new(Body::empty());
        if let Some(peer) = peer {
            request.extensions_mut().insert(PeerAddr(peer));
        }
        let response = app.oneshot(request).await.expect("a router never fails");
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 1024).await;
        let body = body.expect("a short body").to_vec();
        (status, String::from_utf8(body).expect("a text"))
    }

    #[test]
    fn a_handler_gets_the_address_of_the_connection() {
        let peer = SocketAddr::from(([192, 0, 2, 1], 4711));
        let response = respond(Some(peer)).now_or_never();
        assert_eq!(response, Some((StatusCode::OK, peer.to_string())));
    }

    #[test]
    fn without_an_address_the_handler_is_not_called() {
        let response = respond(None).now_or_never();
        let (status, _) = response.expect("nothing to wait for");
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    }
}
