//! What all servers share: where they listen, and what they answer.
//!
//! Each answers `GET /` with [`BODY`] and `POST /echo` with the request's body. They get their listening
//! socket from here, so that all have the same backlog and the same `TCP_NODELAY`, but for those that
//! can't be given one.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// The answer to `GET /`.
pub const BODY: &str = "Hello, world!";

/// Where to listen: the environment's `MINI_HTTP_ADDR`.
///
/// # Errors
/// When it isn't there, or is no IP address with a port.
pub fn address() -> io::Result<SocketAddr> {
    let address = std::env::var("MINI_HTTP_ADDR").map_err(io::Error::other)?;
    address
        .parse()
        .map_err(|e| io::Error::other(format!("MINI_HTTP_ADDR is {address}: {e}")))
}

/// A non-blocking listening socket there.
///
/// # Errors
/// Those of [`address`], and what the system says.
pub fn listener() -> io::Result<TcpListener> {
    let address = address()?;
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    // On Linux the accepted sockets inherit it.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}
