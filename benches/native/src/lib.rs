//! Shared by all servers: the listening socket and the body of the response.
//!
//! Each server responds to `GET /` with [`BODY`], and to `POST /echo` with the request's body. All use a listening
//! socket from here, except those that can only bind one themselves. So they have the same backlog and the same
//! `TCP_NODELAY`.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// The body of the response to `GET /`.
pub const BODY: &str = "Hello, world!";

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
