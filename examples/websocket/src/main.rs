//! WebSockets: `/` sends each message back, `/all` sends it to all clients connected there.
//!
//! In the folder `examples`: `cargo run -p websocket`, then open http://127.0.0.1:3000 in a browser. The
//! same source runs inside a WASI runtime, with `--target wasm32-wasip1` or `--target wasm32-wasip2`.
//!
//! The protocol is that of the crate `async-tungstenite`, on the connection that `mini_http::upgrade` returns. Pings get
//! their pongs while the next message is awaited, and so does a close. A message of more than 4 MiB ends the connection
//! with the code 1009. When the server stops, the code is 1001.

mod handshake;
mod room;
mod socket;

use std::error::Error;
use std::rc::Rc;

use async_tungstenite::tungstenite;
use log::{debug, info};
use mini_http::body::AnyBody;
use mini_http::header::CONTENT_TYPE;
use mini_http::http::{HeaderValue, Request};
use mini_http::{Handle, Incoming, Response, Server, Stopping, spawn, upgrade};

use room::Room;
use socket::{Event, Socket};

const PAGE: &str = include_str!("page.html");

fn main() -> Result<(), Box<dyn Error>> {
    env_logger::init();
    let addr = std::env::var("MINI_HTTP_ADDR").unwrap_or("127.0.0.1:3000".into());
    let server = Server::new(&addr)?;
    let (handle, room) = (server.handle(), Rc::new(Room::default()));
    server.serve_async(move |request| {
        let response = respond(request, &handle, &room);
        async { response }
    })?;
    Ok(())
}

fn respond(mut request: Request<Incoming>, handle: &Handle, room: &Rc<Room>) -> Response<AnyBody> {
    if !handshake::is_asked_for(&request) {
        let mut page = Response::new(PAGE.into());
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        page.headers_mut().insert(CONTENT_TYPE, html);
        return page;
    }
    let Some(response) = handshake::accept(&request) else {
        return handshake::refuse();
    };
    let (upgrade, stopping) = (upgrade(&mut request), handle.stopping());
    let room = (request.uri().path() == "/all").then(|| Rc::clone(room));
    // It goes on when the response has been sent.
    spawn(async move {
        let socket = match upgrade.await {
            Ok(upgraded) => Socket::new(upgraded).await,
            // The client is gone.
            Err(error) => return debug!("{error}"),
        };
        let result = match room {
            Some(room) => room.join(socket, stopping).await,
            None => echo(socket, stopping).await,
        };
        match result {
            Ok(()) => debug!("a WebSocket is closed"),
            Err(error) => info!("a WebSocket has failed: {error}"),
        }
    });
    response
}

/// Sends each message back.
async fn echo(mut socket: Socket, mut stopping: Stopping) -> tungstenite::Result<()> {
    loop {
        match socket.next(&mut stopping, std::future::pending()).await? {
            Event::Message(message) | Event::Other(message) => socket.send(message).await?,
            Event::End => return Ok(()),
        }
    }
}
