//! Shared by all servers: the listening socket and the body of the response.
//!
//! Each server responds to `GET /` with [`BODY`], and to `POST /echo` with the request's body. Those of the
//! scenarios `async-...` respond to `GET /stream` with [`Pieces`]; `ours_async` sends the body of `/echo` back while
//! it receives it. Those of `fan-out` respond to `GET /events` with a stream of [`MESSAGE`]s, one for each request for
//! `/publish`. All use a listening socket from here, except those that can only bind one themselves. So they
//! have the same backlog and the same `TCP_NODELAY`.

pub mod busy;
pub mod floor;

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use http_body::{Body, Frame};
use socket2::{Domain, Protocol, Socket, Type};

/// The body of the response to `GET /`.
pub const BODY: &str = "Hello, world!";

/// The length of a piece of a stream, and how many there are: 64 MiB.
pub const PIECE: usize = 64 << 10;
/// See [`PIECE`].
pub const PIECES: usize = 1024;

/// A body of 64 MiB in shared pieces, each ready at once. Its length isn't announced, so it is chunked.
#[derive(Debug)]
pub struct Pieces {
    piece: Bytes,
    left: usize,
}

impl Pieces {
    /// All pieces are this one, of [`PIECE`] bytes.
    #[must_use]
    pub fn new(piece: &Bytes) -> Self {
        Self {
            piece: piece.clone(),
            left: PIECES,
        }
    }

    /// The piece that streams consist of.
    #[must_use]
    pub fn piece() -> Bytes {
        Bytes::from(vec![b'x'; PIECE])
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(left) = self.left.checked_sub(1) else {
            return Poll::Ready(None);
        };
        self.left = left;
        Poll::Ready(Some(Ok(Frame::data(self.piece.clone()))))
    }
}

/// What each stream of `fan-out` gets when something is published: a server-sent event.
pub const MESSAGE: &[u8] =
    b"data: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n\n";

/// The app of the servers on axum. Its state is set here, as `axum::serve` would do: otherwise that is done for each
/// request.
pub fn app() -> Router {
    Router::new()
        .route("/", get(hello).post(hello_after))
        .route("/echo", post(echo))
        .with_state(())
}

async fn hello() -> Response {
    Response::new(axum::body::Body::from(BODY))
}

/// Returns the same, but takes a body.
async fn hello_after(_body: Bytes) -> Response {
    hello().await
}

async fn echo(body: Bytes) -> Response {
    Response::new(axum::body::Body::from(body))
}

/// The address to listen at, from the environment variable `MINI_HTTP_ADDR`.
///
/// # Errors
/// It isn't set, or isn't an IP address with a port.
pub fn address() -> io::Result<SocketAddr> {
    let address = std::env::var("MINI_HTTP_ADDR").map_err(io::Error::other)?;
    address
        .parse()
        .map_err(|e| io::Error::other(format!("MINI_HTTP_ADDR is {address}: {e}")))
}

/// A non-blocking socket that listens there.
///
/// # Errors
/// Those of [`address`] and of the system.
pub fn listener() -> io::Result<TcpListener> {
    listen(address()?, false)
}

/// The same, this number of times: the system spreads the connections over them (`SO_REUSEPORT`).
///
/// # Errors
/// Those of [`listener`].
pub fn listeners(count: usize) -> io::Result<Vec<TcpListener>> {
    let address = address()?;
    (0..count).map(|_| listen(address, count > 1)).collect()
}

fn listen(address: SocketAddr, is_one_of_several: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(is_one_of_several)?;
    // On Linux the accepted sockets inherit it.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}
