//! The listener of these programs: bound natively, handed over by a WASI runtime.

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

/// Takes the first listener that the runtime has opened: preview 1 can't bind one. Its number differs
/// between runtimes, so it is looked for.
#[cfg(target_os = "wasi")]
#[allow(
    unsafe_code,
    reason = "std's only way to a socket that was handed over"
)]
pub(crate) fn listener() -> io::Result<TcpListener> {
    use std::os::fd::FromRawFd;

    use wasip1_poll::{Hints, Preview1, discover};

    let found = discover(&Preview1, None, &Hints::from_env())
        .map_err(|error| io::Error::new(io::ErrorKind::NotFound, error))?;
    let fd = found.listeners[0].fd.cast_signed();
    // SAFETY: the runtime has opened it for this program, and nothing else here uses it.
    let listener = unsafe { TcpListener::from_raw_fd(fd) };
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Doesn't compile unless `mio` is the shim: cargo only warns about a patch that is not used.
#[cfg(target_os = "wasi")]
const _: &str = mio::WASIP1_SHIM;
