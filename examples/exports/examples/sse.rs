//! The example `sse` as a component. A job needs an instance that lives longer than a request; the clock doesn't.

#[expect(dead_code, reason = "its main function is for sockets")]
#[path = "../../sse/src/main.rs"]
mod sse;

mini_http::export!(serve_async: sse::app(None));
