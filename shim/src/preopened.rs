//! [`preopened_listener`]: returns each listener that the runtime has opened, once, as an owned socket.

use std::{io, vec};

use wasip1_poll::preopens::Directory;
use wasip1_poll::{Fd, Hints, Wasi, discover};

/// Returns the next listener that the runtime has opened for this program: the first call returns the
/// first one, the second call the second one. It is non-blocking. `from_std` of `tokio::net::TcpListener` and of
/// [`net::TcpListener`](crate::net::TcpListener) accept it.
///
/// The mio of crates.io doesn't have this function.
///
/// The first call also registers the preopened directories that libc hasn't found, so that `std::fs`
/// finds them: libc's own scan stops at the first socket.
///
/// Only this function may make sockets from these file descriptors. If a program also does so with `FromRawFd`, two
/// sockets own the same file descriptor, which breaks the contract of that method.
///
/// # Errors
/// [`NotFound`](io::ErrorKind::NotFound): there is no listener (the text says how each runtime
/// opens one), or all have been taken.
#[cfg(not(test))]
pub fn preopened_listener() -> io::Result<std::net::TcpListener> {
    use std::sync::{Mutex, PoisonError};

    use crate::sys;

    static LISTENERS: Mutex<Preopened> = Mutex::new(Preopened::NEW);
    let mut listeners = LISTENERS.lock().unwrap_or_else(PoisonError::into_inner);
    let directories = listeners.find(&sys::system(), &Hints::from_env())?;
    wasip1_poll::preopens::register(&directories)?;
    let listener = sys::preopened(listeners.take()?);
    // If this fails, registering the listener tries it again, and logs the error.
    let _ = listener.set_nonblocking(true);
    Ok(listener)
}

/// The listeners that were found, and which of them have not been taken.
struct Preopened {
    /// How many were found.
    found: usize,
    /// Those that have not been taken. `None` until some were found. There is only one search, because a connection
    /// that is accepted later looks like a listener.
    remaining: Option<vec::IntoIter<Fd>>,
}

impl Preopened {
    const NEW: Self = Self {
        found: 0,
        remaining: None,
    };

    /// Finds the listeners, unless some were found before. Returns the directories to register.
    fn find<W: Wasi>(&mut self, wasi: &W, hints: &Hints) -> io::Result<Vec<Directory>> {
        if self.remaining.is_some() {
            return Ok(Vec::new());
        }
        let discovery = discover(wasi, None, hints)
            .map_err(|error| io::Error::new(io::ErrorKind::NotFound, error))?;
        let fds: Vec<Fd> = discovery.listeners.iter().map(|listener| listener.fd).collect();
        self.found = fds.len();
        self.remaining = Some(fds.into_iter());
        Ok(discovery.directories)
    }

    /// Takes the next listener.
    fn take(&mut self) -> io::Result<Fd> {
        let next = self.remaining.as_mut().and_then(Iterator::next);
        next.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!(
                    "the runtime has opened {} listener(s), and all have been taken",
                    self.found
                ),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use wasip1_poll::FdFlags;
    use wasip1_poll::fake::{Fake, Personality};

    use super::*;

    fn next(listeners: &mut Preopened, fake: &Fake) -> io::Result<Fd> {
        listeners.find(fake, &Hints::default())?;
        listeners.take()
    }

    #[test]
    fn each_listener_is_returned_once() {
        let fake = Fake::new(Personality::WASI_COMMON, 0);
        fake.preopen_listener();
        fake.preopen_listener();
        let mut listeners = Preopened::NEW;
        assert_eq!(next(&mut listeners, &fake).expect("the first"), 3);
        assert_eq!(next(&mut listeners, &fake).expect("the second"), 4);
        let error = next(&mut listeners, &fake).expect_err("no third");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("opened 2 listener(s)"));
    }

    #[test]
    fn a_connection_is_never_returned_as_a_listener() {
        let fake = Fake::new(Personality::WASI_COMMON, 0);
        fake.preopen_listener();
        let mut listeners = Preopened::NEW;
        let listener = next(&mut listeners, &fake).expect("a listener");
        let client = fake.connect(listener);
        let accepted = fake.sock_accept(listener, FdFlags::NONBLOCK);
        accepted.expect("a connection");
        assert!(next(&mut listeners, &fake).is_err());
        drop(client);
        // Nor if it has the number of a listener that was closed.
        fake.fd_close(listener).expect("an open listener");
        assert!(next(&mut listeners, &fake).is_err());
    }

    #[test]
    fn without_a_listener_the_error_says_how_to_open_one() {
        let fake = Fake::new(Personality::WASI_COMMON, 0);
        let mut listeners = Preopened::NEW;
        let error = next(&mut listeners, &fake).expect_err("no listener");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("-S tcplisten="));
    }

    #[test]
    fn directories_that_libc_has_not_found_are_returned_once() {
        let fake = Fake::new(Personality::WASI_COMMON, 0);
        fake.preopen_directory("/data");
        fake.preopen_listener();
        fake.start();
        let mut listeners = Preopened::NEW;
        let mut find = || listeners.find(&fake, &Hints::default());
        let sockets_first = Personality::WASI_COMMON.sockets_first;
        assert_eq!(find().expect("found").len(), usize::from(sockets_first));
        assert!(find().expect("found").is_empty());
    }
}
