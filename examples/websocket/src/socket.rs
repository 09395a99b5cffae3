//! [`Socket`]: a WebSocket of the server.

use std::future::Future;
use std::pin::pin;

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use async_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use async_tungstenite::tungstenite::{Error, Message, Result};
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use mini_http::{Stopping, Upgraded};

/// The most bytes of a message, and of each of its frames.
const LARGEST: usize = 4 << 20;

/// How much is read at once. Each connection has a buffer of this size.
const READ: usize = 8 << 10;

pub(crate) struct Socket(WebSocketStream<Upgraded>);

/// What has happened first.
pub(crate) enum Event<T> {
    /// The client has sent a text, or bytes.
    Message(Message),
    /// The other future is ready.
    Other(T),
    /// The WebSocket is closed.
    End,
}

impl Socket {
    pub(crate) async fn new(upgraded: Upgraded) -> Self {
        let config = WebSocketConfig::default()
            .max_message_size(Some(LARGEST))
            .max_frame_size(Some(LARGEST))
            .read_buffer_size(READ);
        let role = Role::Server;
        Self(WebSocketStream::from_raw_socket(upgraded, role, Some(config)).await)
    }

    /// Waits for something else, or for a message. When the server stops, it closes the WebSocket.
    pub(crate) async fn next<T>(
        &mut self,
        stopping: &mut Stopping,
        other: impl Future<Output = T>,
    ) -> Result<Event<T>> {
        let mut other = pin!(other);
        loop {
            let first = select(other.as_mut(), self.0.next());
            let received = match select(first, &mut *stopping).await {
                Either::Left((Either::Left((value, _)), _)) => return Ok(Event::Other(value)),
                Either::Left((Either::Right((received, _)), _)) => received,
                Either::Right(((), _)) => return self.close(CloseCode::Away).await,
            };
            match received {
                Some(Ok(message)) if message.is_text() || message.is_binary() => {
                    return Ok(Event::Message(message));
                }
                // A ping, a pong or a close. The library has responded to it.
                Some(Ok(_)) => {}
                Some(Err(Error::Capacity(_))) => return self.close(CloseCode::Size).await,
                Some(Err(Error::ConnectionClosed)) | None => return Ok(Event::End),
                Some(Err(error)) => return Err(error),
            }
        }
    }

    pub(crate) async fn send(&mut self, message: Message) -> Result<()> {
        self.0.send(message).await
    }

    /// Sends a close with this code. The connection is closed when the socket is dropped.
    pub(crate) async fn close<T>(&mut self, code: CloseCode) -> Result<Event<T>> {
        let reason = CloseFrame {
            code,
            reason: "".into(),
        };
        self.0.close(Some(reason)).await?;
        Ok(Event::End)
    }
}
