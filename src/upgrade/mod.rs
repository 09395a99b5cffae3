//! Upgrades of connections to other protocols: [`upgrade`], and the connection that it returns.
//!
//! `pipe.rs` has what the two sides share: the loop, and the program that uses the connection.

mod pipe;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};
use http::{Extensions, Method};

use crate::conn::why_no_upgrade;
use crate::error::{Error, ErrorKind, Result};
pub(crate) use pipe::Pipe;
use pipe::{Offer, User};

/// Takes over the connection of a request, to speak another protocol on it: that of `Upgrade` (RFC 9110 §7.8), such as
/// WebSocket, or a tunnel (CONNECT, RFC 9110 §9.3.6).
///
/// The future is ready once the response that upgrades the connection has begun: 101 to a request with `Upgrade` in
/// HTTP/1.1, or 2xx to CONNECT. The handler has to return that response first, so await the future in a task.
///
/// ```
/// use mini_http::http::{Request, StatusCode, header};
/// use mini_http::{Incoming, Response, spawn, upgrade};
/// # use std::{future::poll_fn, pin::Pin};
/// # use futures_io::AsyncWrite;
///
/// async fn handle(mut request: Request<Incoming>) -> Response<String> {
///     let upgrade = upgrade(&mut request);
///     spawn(async move {
///         match upgrade.await {
///             Ok(mut upgraded) => {
///                 // With the crate futures-util: `upgraded.write_all(b"hello").await`
///                 let written = poll_fn(|cx| Pin::new(&mut upgraded).poll_write(cx, b"hello")).await;
///             }
///             Err(error) => log::info!("{error}"),
///         }
///     });
///     let mut response = Response::new(String::new());
///     *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
///     response.headers_mut().insert(header::UPGRADE, "hello".parse().expect("a value"));
///     response
/// }
/// ```
///
/// # The response
/// The server adds `Connection: upgrade` to 101. It adds no field about a body to either response. The handler has to
/// check which protocols the client offers, and name one of them in the response. A response that can't upgrade
/// becomes 500, and a log line says why:
///
/// * the request isn't HTTP/1.1, or lacks `Upgrade` or the option `upgrade` in `Connection`,
/// * `upgrade` wasn't called, or its future was dropped,
/// * the request has a body, and its end wasn't received,
/// * 101 has no `Upgrade` field.
///
/// 2xx to CONNECT becomes 501 if `upgrade` wasn't called: a handler that knows nothing of CONNECT makes no tunnels. The
/// connection is closed after each response to CONNECT that makes none, since bytes for the tunnel may follow.
///
/// # Errors
/// [`ErrorKind::Upgrade`]: the request doesn't ask for an upgrade, `upgrade` was called for it before, the response
/// doesn't upgrade the connection, or the connection ended before that, also because the server stopped. In
/// [`test::run`](crate::test::run), no connection can be upgraded. [`ErrorKind::Unsupported`] in a component that
/// `export!` has made.
pub fn upgrade<B>(request: &mut http::Request<B>) -> Upgrade {
    match take(request.extensions_mut()) {
        Some(user) => Upgrade(State::Waiting(user)),
        #[cfg(feature = "wasi-http")]
        None if crate::__wasi_http::is_component() => {
            let text = "hosts of wasi:http can't upgrade connections";
            Upgrade(State::Failed(Some(Error::new(
                ErrorKind::Unsupported,
                text,
            ))))
        }
        None => {
            let (version, fields) = (request.version(), request.headers());
            let why = match *request.method() {
                Method::CONNECT => None,
                _ => why_no_upgrade(version, fields),
            };
            let text = why
                .unwrap_or("`upgrade` was called twice for the request, or it wasn't received by `serve_async`");
            Upgrade(State::Failed(Some(error(text))))
        }
    }
}

fn take(extensions: &mut Extensions) -> Option<User> {
    extensions.remove::<Offer>().and_then(Offer::take)
}

/// Offers an upgrade to the handler of a request. See [`Pipe`].
pub(crate) fn offer(extensions: &mut Extensions, pipe: &std::sync::Arc<Pipe>) {
    extensions.insert(Offer::new(pipe));
}

fn error(why: &str) -> Error {
    let text = format!("the connection can't be upgraded: {why}");
    Error::new(ErrorKind::Upgrade, text)
}

/// Returned by [`upgrade`].
///
/// It may be awaited in any thread, by any executor. If it is dropped, the connection can't be upgraded; if the
/// connection was upgraded already, it is closed.
#[must_use = "the connection can only be upgraded while the future exists"]
pub struct Upgrade(State);

enum State {
    Waiting(User),
    Failed(Option<Error>),
    /// The future was ready.
    Over,
}

impl Future for Upgrade {
    type Output = Result<Upgraded>;

    /// # Panics
    /// If it is polled after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Upgraded>> {
        if let State::Waiting(user) = &self.0
            && user.poll_open(cx).is_pending()
        {
            return Poll::Pending;
        }
        let result = match std::mem::replace(&mut self.0, State::Over) {
            State::Waiting(user) => match user.why_failed() {
                None => Ok(Upgraded(user)),
                Some(why) => Err(error(why)),
            },
            State::Failed(Some(error)) => Err(error),
            State::Failed(None) | State::Over => panic!("`Upgrade` was polled after it was ready"),
        };
        Poll::Ready(result)
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade").finish_non_exhaustive()
    }
}

/// A connection that was upgraded to another protocol. It is [`AsyncRead`] and [`AsyncWrite`], and belongs to no
/// executor: it works in the server's tasks and in other threads.
///
/// What the client sent after its request is read first.
///
/// # Limits
/// Those of HTTP don't apply any more: the client may be silent for any time, and send at any rate. A protocol that
/// must notice a client that is gone sends something from time to time; natively, TCP keep-alive probes find it, too.
/// Each direction holds up to 64 KiB, which are counted in [`max_held`](crate::Limits::max_held). When it is full, the
/// connection isn't read, or a write waits. While `max_held` is used up, a direction holds 4 KiB.
///
/// The connection counts in [`max_connections`](crate::Limits::max_connections), and is never closed for a new one. It
/// doesn't count in [`max_requests`](crate::Limits::max_requests): its request has ended with the response.
/// [`Handle::stop`](crate::Handle::stop) waits for it until the deadline; a protocol can end earlier by
/// [`Handle::stopping`](crate::Handle::stopping).
///
/// # Writing and closing
/// What is written is sent without a flush; `flush` returns at once. `close` returns when everything was passed to the
/// system and writing was shut down. Reading goes on, until the client ends its stream, too. If the value is dropped,
/// what was written is still sent, then the connection is closed with lingering (RFC 9112 §9.6).
///
/// The connection ends with [`CloseReason::Upgraded`](crate::CloseReason::Upgraded), unless it fails.
///
/// # Errors
/// * [`TimedOut`](io::ErrorKind::TimedOut): the client has taken none of the output for
///   [`rate_window`](crate::Limits::rate_window). The connection is closed.
/// * [`ConnectionReset`](io::ErrorKind::ConnectionReset): the connection has failed.
/// * [`ConnectionAborted`](io::ErrorKind::ConnectionAborted): the server has ended, or its deadline for stopping has
///   passed.
/// * [`BrokenPipe`](io::ErrorKind::BrokenPipe): a write after `close`.
pub struct Upgraded(User);

impl AsyncRead for Upgraded {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_read(cx, buf)
    }
}

impl AsyncWrite for Upgraded {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.flush())
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_close(cx)
    }
}

impl fmt::Debug for Upgraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgraded").finish_non_exhaustive()
    }
}
