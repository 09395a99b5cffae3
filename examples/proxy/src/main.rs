//! A reverse proxy: passes each request on to another server, and its response back. Bodies stream in both
//! directions, so that neither is ever in memory as a whole.
//!
//! `cd examples && UPSTREAM=127.0.0.1:8000 cargo run --package proxy`, with a server at that address, such as
//! `python3 -m http.server 8000`; then `curl -i http://127.0.0.1:3000`. On WASI 0.2: the same with
//! `--target wasm32-wasip2`, and `-- --env UPSTREAM=127.0.0.1:8000` at the end. Preview 1 has no outgoing connections.
//!
//! HTTP to the other server is spoken by the client of hyper, which needs no runtime: its task runs beside the requests
//! (`mini_http::spawn`), on a socket of `socket/`. What this costs:
//!
//! * Each request has a connection of its own to the other server. A pool would save a round trip.
//! * Natively, a thread of the crate `async-io` waits for the sockets, and wakes the server.
//! * On WASI 0.2, std can't wait for a socket without blocking the whole program. So the socket is tried again after
//!   1 ms, then 2, up to 16 ms. That adds up to 16 ms to a response, and costs processor time while the other server is
//!   slow. Connecting blocks the program, for at most `CONNECT_TIMEOUT`.

mod fields;
mod io;
mod max_forwards;
mod silence;
#[cfg_attr(not(target_os = "wasi"), path = "socket/native.rs")]
#[cfg_attr(target_os = "wasi", path = "socket/wasip2.rs")]
mod socket;

use std::error::Error;
use std::io::ErrorKind;
use std::iter::successors;
use std::net::SocketAddr;
use std::time::Duration;

use hyper::client::conn::http1::handshake;
use log::{debug, warn};
use mini_http::body::AnyBody;
use mini_http::http::{Method, Request, StatusCode};
use mini_http::{Incoming, IncomingError, Response, Server, spawn};

use crate::io::Io;
use crate::max_forwards::Malformed;
use crate::silence::Timed;
use crate::socket::Socket;

/// How long connecting to the other server may take: one lost packet is sent again after a second.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the other server may take until it begins to respond.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

type BoxError = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), BoxError> {
    env_logger::init();
    let addr = std::env::var("MINI_HTTP_ADDR").unwrap_or("127.0.0.1:3000".into());
    let upstream = std::env::var("UPSTREAM").map_err(|_| "UPSTREAM=127.0.0.1:8000 is missing")?;
    let upstream: SocketAddr = upstream.parse()?;
    let mut server = Server::new(&addr)?;
    server.limits(|limits| {
        limits.handler_timeout = Some(RESPONSE_TIMEOUT);
        // Bodies are passed on as they come: how large they may be is up to the other server.
        limits.max_body = u64::MAX;
    });
    server.serve_async(move |request| proxy(upstream, request))?;
    Ok(())
}

/// The response of the other server, or 502; 504 if no connection to it can be made in time.
async fn proxy(
    upstream: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<AnyBody>, BoxError> {
    // A tunnel has no path that could be passed on.
    if request.method() == Method::CONNECT {
        return Ok(text(StatusCode::NOT_IMPLEMENTED, "no tunnels here\n"));
    }
    match max_forwards::limit(&request) {
        Ok(Some(0)) => return Ok(max_forwards::respond(&request)),
        Ok(_) => {}
        Err(Malformed) => {
            return Ok(text(
                StatusCode::BAD_REQUEST,
                "Max-Forwards must be one number\n",
            ));
        }
    }
    match forward(upstream, request).await {
        Ok(response) => Ok(response),
        // Then the fault is the client's, and the error has the status for it.
        Err(error) if is_of_client(&*error) => Err(error),
        Err(error) => {
            warn!("{upstream}: {error}");
            let why = "the other server doesn't respond\n";
            Ok(text(status(&*error), why))
        }
    }
}

/// RFC 9110 §15.6.3 and §15.6.5.
fn status(error: &(dyn Error + 'static)) -> StatusCode {
    let io = causes(error).find_map(|error| error.downcast_ref::<std::io::Error>());
    match io.map(std::io::Error::kind) {
        Some(ErrorKind::TimedOut) => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_GATEWAY,
    }
}

fn text(status: StatusCode, text: &'static str) -> Response<AnyBody> {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response
}

async fn forward(
    upstream: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<AnyBody>, BoxError> {
    let request = fields::to_upstream(upstream, request)?;
    let socket = Socket::connect(upstream, CONNECT_TIMEOUT).await?;
    let (mut sender, connection) = handshake(Io(socket)).await?;
    // It ends with the response's body, or when the client is gone: then `sender` and the body are dropped.
    spawn(async move {
        if let Err(error) = connection.await {
            debug!("the connection to {upstream}: {error}");
        }
    });
    let response = sender.send_request(request).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err("it has changed the protocol, which wasn't asked for".into());
    }
    Ok(fields::to_client(response).map(|body| AnyBody::new(Timed::new(body))))
}

/// Whether the client's body has failed.
fn is_of_client(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|error| error.is::<IncomingError>())
}

/// The error, its cause, the cause of that, and so on.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |&error| error.source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_that_is_late_is_told_from_one_that_fails() {
        for (kind, expected) in [
            (ErrorKind::TimedOut, StatusCode::GATEWAY_TIMEOUT),
            (ErrorKind::ConnectionRefused, StatusCode::BAD_GATEWAY),
            (ErrorKind::ConnectionReset, StatusCode::BAD_GATEWAY),
        ] {
            assert_eq!(status(&std::io::Error::from(kind)), expected);
        }
        let other = BoxError::from("it has changed the protocol");
        assert_eq!(status(&*other), StatusCode::BAD_GATEWAY);
    }
}
