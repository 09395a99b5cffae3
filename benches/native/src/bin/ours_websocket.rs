//! `mini_http` with WebSockets, which send each message back.

use std::error::Error;

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::handshake::derive_accept_key;
use async_tungstenite::tungstenite::protocol::Role;
use futures_util::StreamExt;
use mini_http::http::{Request, StatusCode, header};
use mini_http::{Incoming, Response, Server, Upgraded, spawn, upgrade};
use native_servers::listener;

fn main() -> Result<(), Box<dyn Error>> {
    let server = Server::from_listener(listener()?)?;
    server.serve_async(async |request| respond(request))?;
    Ok(())
}

fn respond(
    mut request: Request<Incoming>,
) -> Result<Response<String>, Box<dyn Error + Send + Sync>> {
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY);
    let key = derive_accept_key(key.ok_or("this is no WebSocket")?.as_bytes());
    let upgrade = upgrade(&mut request);
    spawn(async {
        if let Ok(upgraded) = upgrade.await {
            echo(upgraded).await;
        }
    });
    let mut response = Response::new(String::new());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let fields = response.headers_mut();
    fields.insert(header::UPGRADE, "websocket".parse()?);
    fields.insert(header::SEC_WEBSOCKET_ACCEPT, key.parse()?);
    Ok(response)
}

async fn echo(upgraded: Upgraded) {
    let mut socket = WebSocketStream::from_raw_socket(upgraded, Role::Server, None).await;
    while let Some(Ok(message)) = socket.next().await {
        if message.is_binary() && socket.send(message).await.is_err() {
            return;
        }
    }
}
