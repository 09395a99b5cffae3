//! A WebSocket that begins as a request to a server on hyper, and sends back each message.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};

/// The largest message that is taken, in bytes. A client can make the server hold as much: memory for a message is
/// reserved when its head arrives.
const MAX_MESSAGE: usize = 4 << 20;

/// The most open WebSockets; another client gets 503. Each may hold a message that is received, one that is sent, and
/// their buffers. With a thousand, clients could use up the 4 GiB of a WASI module.
const MAX_OPEN: usize = 128;

/// A permit for each WebSocket that may be open.
static PERMITS: Semaphore = Semaphore::const_new(MAX_OPEN);

/// After this time without a message the client is sent a ping, and after the same time again the connection
/// ends. Otherwise the connection of a client that disappeared would be kept.
const MAX_SILENCE: Duration = Duration::from_secs(60);

/// Begins a WebSocket, if the request asks for one. hyper gives up the connection when it has sent this response.
pub(crate) fn begin<B>(request: &mut Request<B>) -> Option<Response<()>> {
    let key = websocket_key(request)?;
    let mut response = Response::new(());
    let Ok(permit) = PERMITS.try_acquire() else {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        return Some(response);
    };
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    // Base64 is always a valid value.
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes())).ok()?;
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        echo(upgrade).await;
        drop(permit);
    });
    Some(response)
}

/// The client's key, if the request asks for a WebSocket (RFC 6455, section 4.2.1).
fn websocket_key<B>(request: &Request<B>) -> Option<HeaderValue> {
    let headers = request.headers();
    let asks = request.method() == Method::GET
        && names(headers, header::UPGRADE, "websocket")
        && names(headers, header::CONNECTION, "upgrade")
        && headers.get(header::SEC_WEBSOCKET_VERSION)? == "13";
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?;
    // The base64 of 16 bytes.
    (asks && key.len() == 24).then(|| key.clone())
}

/// Whether a field lists a name, in any case.
fn names(headers: &HeaderMap, field: HeaderName, name: &str) -> bool {
    let values = headers.get_all(field);
    let mut lists = values.iter().filter_map(|value| value.to_str().ok());
    lists.any(|list| {
        list.split(',')
            .any(|it| it.trim().eq_ignore_ascii_case(name))
    })
}

/// Sends back each message until the client closes.
async fn echo(upgrade: OnUpgrade) {
    let Ok(connection) = upgrade.await else {
        return;
    };
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
        // A message, and pongs: a client may send pings, and take hardly any pongs.
        .max_write_buffer_size(MAX_MESSAGE + (1 << 20));
    let connection = TokioIo::new(connection);
    let mut socket = WebSocketStream::from_raw_socket(connection, Role::Server, Some(config)).await;
    let mut pinged = false;
    loop {
        let reply = match timeout(MAX_SILENCE, socket.next()).await {
            Ok(Some(Ok(message))) => {
                pinged = false;
                // `next` itself responds to a ping and to the close.
                if !message.is_text() && !message.is_binary() {
                    continue;
                }
                message
            }
            Err(_) if !pinged => {
                pinged = true;
                Message::Ping(Bytes::new())
            }
            // An error, the end, or silence after a ping.
            _ => return,
        };
        let sent = timeout(MAX_SILENCE, socket.send(reply)).await;
        if !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}
