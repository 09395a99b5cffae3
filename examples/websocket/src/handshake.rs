//! The opening handshake (RFC 6455, section 4.2).

use async_tungstenite::tungstenite::handshake::derive_accept_key;
use mini_http::body::AnyBody;
use mini_http::header::{
    CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use mini_http::http::{Method, Request, StatusCode, Version};
use mini_http::http_body::Body;
use mini_http::{Incoming, Response};

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// Whether the client wants another protocol.
pub(crate) fn is_asked_for(request: &Request<Incoming>) -> bool {
    request.headers().contains_key(UPGRADE) || request.headers().contains_key(SEC_WEBSOCKET_KEY)
}

/// The response that opens a WebSocket; `None` if the request is not a valid handshake.
pub(crate) fn accept(request: &Request<Incoming>) -> Option<Response<AnyBody>> {
    let is_valid = request.method() == Method::GET
        && request.version() == Version::HTTP_11
        // What follows belongs to the WebSocket.
        && request.body().is_end_stream()
        && has(request, &UPGRADE, "websocket")
        && has(request, &CONNECTION, "upgrade")
        && has(request, &SEC_WEBSOCKET_VERSION, "13");
    let key = request.headers().get(SEC_WEBSOCKET_KEY)?.as_bytes();
    // Sixteen bytes in base64.
    if !is_valid || key.len() != 24 {
        return None;
    }
    let accept = HeaderValue::try_from(derive_accept_key(key)).ok()?;
    let mut response = Response::new(AnyBody::from(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(UPGRADE, WEBSOCKET);
    response.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, accept);
    Some(response)
}

/// The response to another handshake: it says which one is wanted.
pub(crate) fn refuse() -> Response<AnyBody> {
    let mut response = Response::new(AnyBody::from("This is a WebSocket.\n"));
    *response.status_mut() = StatusCode::UPGRADE_REQUIRED;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, WEBSOCKET);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    response
}

/// Whether a field has this element, in any case.
fn has(request: &Request<Incoming>, name: &HeaderName, wanted: &str) -> bool {
    let values = request.headers().get_all(name).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|element| element.trim().eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
mod tests {
    use mini_http::http::request::Builder;

    use super::*;

    /// Whether this request opens a WebSocket.
    fn opens(change: impl FnOnce(Builder) -> Builder, body: &'static str) -> bool {
        let request = Request::get("/")
            .header(CONNECTION, "keep-alive, Upgrade")
            .header(UPGRADE, "WebSocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==");
        let request = change(request).body(body).expect("a request");
        let handler = async |request: Request<Incoming>| {
            Response::new(accept(&request).is_some().to_string())
        };
        mini_http::test::run(handler, request).body() == "true"
    }

    #[test]
    fn other_handshakes_are_refused() {
        assert!(opens(|request| request, ""));
        assert!(!opens(|request| request.version(Version::HTTP_10), ""));
        assert!(!opens(|request| request.method("POST"), ""));
        // Otherwise the upgrade would fail later, with 500.
        assert!(!opens(|request| request, "a body"));
    }
}
