//! The listener of these programs: bound natively, passed by a WASI runtime.

use std::io;
use std::net::TcpListener;

/// Binds `MINI_HTTP_ADDR`, or 127.0.0.1:3000.
#[cfg(not(target_os = "wasi"))]
pub(crate) fn listener() -> io::Result<TcpListener> {
    let addr = std::env::var("MINI_HTTP_ADDR").unwrap_or("127.0.0.1:3000".into());
    let listener = TcpListener::bind(addr)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Takes the listener that the runtime has opened: preview 1 can't bind one. Only the shim has this
/// function, so a program doesn't compile when cargo has not used the patch.
#[cfg(target_os = "wasi")]
pub(crate) fn listener() -> io::Result<TcpListener> {
    mio::preopened_listener()
}
