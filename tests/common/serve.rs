//! Servers with the handlers of the cases.

use super::cases::Handler;
use super::machine;
use mini_http::body::AnyBody;
use mini_http::http::Request;
use mini_http::{Incoming, IncomingError, Response, Server};

/// How the handler is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// With a complete request, by `start`.
    Whole,
    /// As a future, by `serve_async`. It receives the body and then does the same.
    Async,
}

/// The mode of this name; `whole` if it is empty.
pub(crate) fn mode(name: &str) -> Result<Mode, String> {
    match name {
        "" | "whole" => Ok(Mode::Whole),
        "async" => Ok(Mode::Async),
        other => Err(format!("no such mode: {other}")),
    }
}

/// Serves until the server is stopped.
pub(crate) fn serve(server: &Server, handler: Handler, mode: Mode) -> mini_http::Result<()> {
    match mode {
        Mode::Whole => server.start(move |request| {
            let query = request.uri().query().unwrap_or_default();
            machine::answer(handler, query, request.body()).expect("a good query")
        }),
        Mode::Async => server.serve_async(move |request| receive_and_answer(handler, request)),
    }
}

async fn receive_and_answer(
    handler: Handler,
    request: Request<Incoming>,
) -> Result<Response<AnyBody>, IncomingError> {
    let (head, body) = request.into_parts();
    let body = body.bytes().await?;
    let query = head.uri.query().unwrap_or_default();
    let response = machine::answer(handler, query, &body).expect("a good query");
    Ok(response.map(AnyBody::from))
}
