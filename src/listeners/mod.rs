//! Opens or takes over a server's listening sockets, on each platform.
//!
//! Each platform's module has a type `Listeners` with the same methods. It also makes the reactor that
//! serves them.

#[cfg(not(all(target_os = "wasi", target_env = "p1")))]
mod bind;

cfg_if::cfg_if! {
    if #[cfg(all(target_os = "wasi", target_env = "p1"))] {
        mod wasip1;
        pub(crate) use self::wasip1::Listeners;
    } else if #[cfg(all(target_os = "wasi", target_env = "p2"))] {
        mod wasip2;
        pub(crate) use self::wasip2::Listeners;
    } else if #[cfg(not(target_os = "wasi"))] {
        mod native;
        mod socket;
        mod split;
        #[cfg(unix)]
        mod unix;
        pub(crate) use self::native::Listeners;
        pub(crate) use self::socket::Socket;
        #[cfg(unix)]
        pub(crate) use self::unix::SocketFile;
    } else {
        compile_error!(
            "mini_http runs natively, on wasm32-wasip1 and on wasm32-wasip2; build for one of these"
        );
    }
}

#[cfg(not(all(target_os = "wasi", target_env = "p1")))]
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, ErrorKind, Result};

/// Listening sockets that can be taken once: by the reactor, which closes them when the server stops.
#[cfg(not(all(target_os = "wasi", target_env = "p1")))]
#[derive(Debug)]
struct TakeOnce<T>(Mutex<Option<T>>);

#[cfg(not(all(target_os = "wasi", target_env = "p1")))]
impl<T> TakeOnce<T> {
    const fn new(sockets: T) -> Self {
        Self(Mutex::new(Some(sockets)))
    }

    fn take(&self) -> Result<T> {
        let mut sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.take().ok_or_else(Self::taken)
    }

    /// The sockets, to change them, while they aren't taken.
    fn get_mut(&mut self) -> Result<&mut T> {
        let sockets = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        sockets.as_mut().ok_or_else(Self::taken)
    }

    /// Calls `inspect` with the sockets, and returns its result. An error if they were taken already.
    #[cfg(unix)]
    fn inspect<R>(&self, inspect: impl FnOnce(&T) -> Result<R>) -> Result<R> {
        let sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inspect(sockets.as_ref().ok_or_else(Self::taken)?)
    }

    fn taken() -> Error {
        Error::new(
            ErrorKind::NoListener,
            "the listening sockets are in use already, because the server was started: change them before",
        )
    }
}

/// How the address of a Unix domain socket begins.
#[cfg(unix)]
const UNIX: &str = "unix:";

/// Checks that an address has the form `host:port`, without looking the host up.
fn check_syntax(addr: &str) -> Result<()> {
    let is_valid = addr.rsplit_once(':').is_some_and(|(host, port)| {
        let is_bracketed = host.starts_with('[') && host.ends_with(']');
        !host.is_empty() && (is_bracketed || !host.contains(':')) && port.parse::<u16>().is_ok()
    });
    if is_valid {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Address,
        format!(
            "{addr:?} is not an address: use host:port, like 127.0.0.1:3000 or [::1]:3000{OR_UNIX}"
        ),
    ))
}

/// The end of an error text about the form of an address: on Unix, Unix domain sockets are possible, too.
const OR_UNIX: &str = if cfg!(unix) { ", or unix:/path" } else { "" };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_host_and_port() {
        for valid in ["127.0.0.1:3000", "localhost:0", "[::1]:80", "0.0.0.0:65535"] {
            assert!(check_syntax(valid).is_ok(), "{valid}");
        }
        for invalid in [
            "",
            "3000",
            ":3000",
            "localhost",
            "localhost:",
            "a:65536",
            "::1:80",
            "a:b",
        ] {
            let error = check_syntax(invalid).expect_err(invalid);
            assert_eq!(error.kind(), ErrorKind::Address);
            assert!(error.to_string().contains("host:port"), "{error}");
        }
    }
}
