//! Servers with the handlers of the cases.

use super::cases::Handler;
use super::machine;
use futures_io::{AsyncRead, AsyncWrite};
use mini_http::body::AnyBody;
use mini_http::http::Request;
use mini_http::{
    Bytes, Incoming, IncomingError, PeerAddr, Response, Server, Upgraded, spawn, upgrade,
};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;

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

/// Whether this handler can be called in this way.
pub(crate) fn can_serve(mode: Mode, handler: Handler) -> bool {
    match handler {
        Handler::Echo | Handler::Respond => true,
        Handler::Complete => mode == Mode::Whole,
        Handler::Upgrade => mode == Mode::Async,
    }
}

/// Serves until the server is stopped.
pub(crate) fn serve(server: &Server, handler: Handler, mode: Mode) -> mini_http::Result<()> {
    match mode {
        Mode::Whole => server.start(move |request| {
            let query = request.uri().query().unwrap_or_default();
            let peer = request.peer_addr();
            machine::response(handler, query, request.body(), peer).expect("a good query")
        }),
        Mode::Async => server.serve_async(move |request| receive_and_respond(handler, request)),
    }
}

async fn receive_and_respond(
    handler: Handler,
    mut request: Request<Incoming>,
) -> Result<Response<AnyBody>, IncomingError> {
    let query = machine::query(handler, &request).to_owned();
    let peer = request.extensions().get::<PeerAddr>().map(|peer| peer.0);
    let leaves_body = machine::leaves_body(handler, &request);
    if machine::takes_upgrade(handler, &query) {
        let upgrade = upgrade(&mut request);
        spawn(async {
            if let Ok(upgraded) = upgrade.await {
                // The connection may have failed.
                let _ = send_back(upgraded).await;
            }
        });
    }
    let body = match leaves_body {
        true => Bytes::new(),
        false => request.into_body().bytes().await?,
    };
    let response = machine::response(handler, &query, &body, peer).expect("a good query");
    Ok(response.map(AnyBody::from))
}

/// What the handler `upgrade` does with an upgraded connection.
async fn send_back(mut upgraded: Upgraded) -> io::Result<()> {
    let mut buffer = [0; 1024];
    loop {
        let length = poll_fn(|cx| Pin::new(&mut upgraded).poll_read(cx, &mut buffer)).await?;
        let (mut data, is_last) = machine::until_end(&buffer[..length]);
        while !data.is_empty() {
            let written = poll_fn(|cx| Pin::new(&mut upgraded).poll_write(cx, data)).await?;
            data = &data[written..];
        }
        if is_last || length == 0 {
            return Ok(());
        }
    }
}
