//! WebSockets: `/` sends each message back, `/all` sends it to all clients connected there.
//!
//! In the folder `examples`: `cargo run -p websocket`, then open http://127.0.0.1:3000 in a browser. The
//! same source runs inside a WASI runtime, with `--target wasm32-wasip1` or `--target wasm32-wasip2`.
//!
//! The crate `async-tungstenite` speaks the protocol, on the connection that `mini_http::upgrade` returns. It responds
//! to pings and to a close while the next message is awaited. A message of more than 4 MiB ends the connection
//! with the code 1009, at `/all` one of more than 64 KiB; a text that isn't UTF-8 with 1007, other faults of the client
//! with 1002. When the server stops, the code is 1001. A client that is silent for a minute is sent a ping, and has a
//! minute to respond.

mod handshake;
mod room;
mod socket;

use std::error::Error;
use std::rc::Rc;

use async_tungstenite::tungstenite;
use log::{debug, info};
use mini_http::body::AnyBody;
use mini_http::header::CONTENT_TYPE;
use mini_http::http::{HeaderValue, Request, StatusCode};
use mini_http::{Handle, Incoming, Response, Server, Stopping, spawn, upgrade};

use room::Room;
use socket::{Event, Socket};

/// The most open WebSockets; another client gets 503. Each may hold a message that is received, one that is sent, and
/// their buffers, up to 20 MiB in all, which no limit of the server counts. With twice as many, clients could use up
/// the 4 GiB of a WASI module.
const MAX_OPEN: usize = 128;

const PAGE: &str = include_str!("page.html");

fn main() -> Result<(), Box<dyn Error>> {
    env_logger::init();
    let addr = std::env::var("MINI_HTTP_ADDR").unwrap_or("127.0.0.1:3000".into());
    let server = Server::new(&addr)?;
    let app = App {
        handle: server.handle(),
        room: Rc::default(),
        open: Rc::default(),
    };
    server.serve_async(move |request| {
        let response = respond(request, &app);
        async { response }
    })?;
    Ok(())
}

struct App {
    handle: Handle,
    room: Rc<Room>,
    /// Each open WebSocket has a clone of it.
    open: Rc<()>,
}

fn respond(mut request: Request<Incoming>, app: &App) -> Response<AnyBody> {
    if !handshake::is_asked_for(&request) {
        let mut page = Response::new(PAGE.into());
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        page.headers_mut().insert(CONTENT_TYPE, html);
        return page;
    }
    let Some(response) = handshake::accept(&request) else {
        return handshake::refuse();
    };
    if Rc::strong_count(&app.open) > MAX_OPEN {
        let mut response = Response::new("Too many WebSockets are open.\n".into());
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        return response;
    }
    let (upgrade, stopping) = (upgrade(&mut request), app.handle.stopping());
    let room = (request.uri().path() == "/all").then(|| Rc::clone(&app.room));
    let open = Rc::clone(&app.open);
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
        drop(open);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_may_be_open_are_refused() {
        let server = Server::new("127.0.0.1:0").expect("a port");
        let app = App {
            handle: server.handle(),
            room: Rc::default(),
            open: Rc::default(),
        };
        let status = || {
            let request = Request::get("/")
                .header("connection", "upgrade")
                .header("upgrade", "websocket")
                .header("sec-websocket-version", "13")
                .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
            let request = request.body("").expect("a request");
            let handler =
                async |request| Response::new(respond(request, &app).status().to_string());
            mini_http::test::run(handler, request).into_body()
        };
        let mut open = vec![Rc::clone(&app.open); MAX_OPEN];
        assert_eq!(status(), "503 Service Unavailable");
        open.pop();
        assert_eq!(status(), "101 Switching Protocols");
        // In a test nothing is upgraded, so that one is no longer open.
        assert_eq!(status(), "101 Switching Protocols");
    }
}
