//! [`Socket`]: a WebSocket of the server.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::error::ProtocolError;
use async_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use async_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use async_tungstenite::tungstenite::{Error, Message, Result};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::{FutureExt, StreamExt};
use mini_http::{Bytes, Stopping, Upgraded, sleep};

/// The most bytes of a message, and of each of its frames.
const LARGEST: usize = 4 << 20;

/// How much is read at once. Each connection has a buffer of this size.
const READ: usize = 8 << 10;

/// The most bytes that wait to be sent: a message, and pongs. Without a bound, a client that sends pings and takes hardly
/// anything fills the memory with pongs. When 1 MiB of them is left untaken, a message may fail to be sent.
const MAX_WAITING: usize = LARGEST + (1 << 20);

/// After this time without anything from the client it is sent a ping, and after the same time again the WebSocket ends.
/// Otherwise it would stay open without end after its client has disappeared: on preview 1, only a write finds that.
const SILENCE: Duration = Duration::from_secs(60);

pub(crate) struct Socket<S = Upgraded> {
    stream: WebSocketStream<S>,
    /// A ping was sent, and nothing has come since.
    is_pinged: bool,
}

/// What has happened first.
pub(crate) enum Event<T> {
    /// The client has sent a text, or bytes.
    Message(Message),
    /// The other future is ready.
    Other(T),
    /// The WebSocket is closed.
    End,
}

/// What [`Socket::next`] waits for.
enum First<T> {
    Stop,
    Other(T),
    Received(Option<Result<Message>>),
    Silence,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    pub(crate) async fn new(upgraded: S) -> Self {
        let config = Some(config());
        Self {
            stream: WebSocketStream::from_raw_socket(upgraded, Role::Server, config).await,
            is_pinged: false,
        }
    }

    /// Waits for something else, or for a message. When the server stops, it closes the WebSocket.
    pub(crate) async fn next<T>(
        &mut self,
        stopping: &mut Stopping,
        other: impl Future<Output = T>,
    ) -> Result<Event<T>> {
        let mut other = pin!(other);
        loop {
            let received = match self.first(stopping, other.as_mut()).await {
                First::Stop => return self.close(CloseCode::Away).await,
                First::Other(value) => return Ok(Event::Other(value)),
                First::Silence if self.is_pinged => return Ok(Event::End),
                First::Silence => {
                    self.is_pinged = true;
                    self.send(Message::Ping(Bytes::new())).await?;
                    continue;
                }
                First::Received(received) => received,
            };
            self.is_pinged = false;
            match received {
                Some(Ok(message)) if message.is_text() || message.is_binary() => {
                    return Ok(Event::Message(message));
                }
                // A ping, a pong or a close. The library has responded to it.
                Some(Ok(_)) => {}
                Some(Err(Error::ConnectionClosed)) | None => return Ok(Event::End),
                Some(Err(error)) => match code(&error) {
                    Some(code) => return self.close(code).await,
                    None => return Err(error),
                },
            }
        }
    }

    /// The stop comes first, so that a client that sends without a pause doesn't hold it up.
    async fn first<T>(
        &mut self,
        stopping: &mut Stopping,
        mut other: Pin<&mut impl Future<Output = T>>,
    ) -> First<T> {
        let mut silence = sleep(SILENCE);
        poll_fn(|cx| {
            if stopping.poll_unpin(cx).is_ready() {
                return Poll::Ready(First::Stop);
            }
            if let Poll::Ready(value) = other.as_mut().poll(cx) {
                return Poll::Ready(First::Other(value));
            }
            if let Poll::Ready(received) = self.stream.poll_next_unpin(cx) {
                return Poll::Ready(First::Received(received));
            }
            silence.poll_unpin(cx).map(|()| First::Silence)
        })
        .await
    }

    pub(crate) async fn send(&mut self, message: Message) -> Result<()> {
        self.stream.send(message).await
    }

    /// Sends a close with this code. The connection is closed when the socket is dropped.
    pub(crate) async fn close<T>(&mut self, code: CloseCode) -> Result<Event<T>> {
        let reason = CloseFrame {
            code,
            reason: "".into(),
        };
        self.stream.close(Some(reason)).await?;
        Ok(Event::End)
    }
}

/// The code that tells the client what was wrong with its frames (RFC 6455, section 7.4.1). `None` if the connection has
/// failed.
fn code(error: &Error) -> Option<CloseCode> {
    match error {
        Error::Capacity(_) => Some(CloseCode::Size),
        Error::Utf8(_) => Some(CloseCode::Invalid),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(_) => Some(CloseCode::Protocol),
        _ => None,
    }
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(LARGEST))
        .max_frame_size(Some(LARGEST))
        .read_buffer_size(READ)
        .max_write_buffer_size(MAX_WAITING)
}

#[cfg(test)]
mod tests;
