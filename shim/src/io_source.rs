//! [`IoSource`]: a socket and its registration, which end in the right order when it is dropped.
//!
//! Calls on a registered socket go through the selector, which needs their results. Others go to the runtime
//! directly.

use std::fmt;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;

use wasip1_poll::{Fd, Shutdown, Wasi, accept, shut_down, write_each};

use crate::selector::{Key, Selector, Subject};
use crate::sys::{self, Socket, System};
use crate::{Interest, Registry, Token};

/// A socket that may be registered.
pub(crate) struct IoSource<T> {
    /// Dropped first, because a closed socket must not be polled.
    registered: Option<Registered>,
    /// Dropped next, while the socket is still open. A listener has none, because another process may share it.
    shutdown_on_drop: Option<ShutdownOnDrop>,
    socket: T,
}

/// A registration. It ends when this is dropped, and connections that the listener had accepted already are closed.
struct Registered {
    selector: Arc<Selector<System>>,
    key: Key,
}

impl Drop for Registered {
    fn drop(&mut self) {
        for fd in self.selector.deregister(self.key) {
            let mut leftover = IoSource::stream(sys::accepted(fd));
            leftover.remember_selector(&self.selector);
        }
    }
}

/// Shuts down a stream when this is dropped, if closing it may have no effect until later.
struct ShutdownOnDrop {
    /// `None` if the stream is to stay open.
    fd: Option<Fd>,
    /// The selector that the stream was last registered with. It knows whether the runtime closes late.
    selector: Option<Arc<Selector<System>>>,
}

impl Drop for ShutdownOnDrop {
    fn drop(&mut self) {
        let closes_late = |it: &Arc<Selector<System>>| it.closes_late();
        if let Some(fd) = self.fd
            && self.selector.as_ref().is_none_or(closes_late)
        {
            // An error means that the peer has gone already.
            let _ = shut_down(&sys::system(), fd);
        }
    }
}

impl<T: Socket> IoSource<T> {
    pub(crate) const fn listener(socket: T) -> Self {
        Self {
            registered: None,
            shutdown_on_drop: None,
            socket,
        }
    }

    pub(crate) fn stream(socket: T) -> Self {
        let shutdown_on_drop = ShutdownOnDrop {
            fd: Some(socket.fd()),
            selector: None,
        };
        Self {
            registered: None,
            shutdown_on_drop: Some(shutdown_on_drop),
            socket,
        }
    }

    pub(crate) const fn socket(&self) -> &T {
        &self.socket
    }

    /// Ends the registration, if there is one. Returns the socket, which stays open.
    pub(crate) fn into_socket(self) -> T {
        drop(self.registered);
        if let Some(mut shutdown_on_drop) = self.shutdown_on_drop {
            shutdown_on_drop.fd = None;
        }
        self.socket
    }

    pub(crate) fn register(
        &mut self,
        registry: &Registry,
        subject: Subject,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        if self.registered.is_some() {
            let text = "the source is registered already";
            return Err(io::Error::new(ErrorKind::AlreadyExists, text));
        }
        let selector = Arc::clone(&registry.selector);
        let key = selector.register(self.socket.fd(), subject, token, interests)?;
        self.remember_selector(&selector);
        self.registered = Some(Registered { selector, key });
        Ok(())
    }

    /// Remembers the selector, for [`ShutdownOnDrop`].
    fn remember_selector(&mut self, selector: &Arc<Selector<System>>) {
        if let Some(shutdown_on_drop) = &mut self.shutdown_on_drop {
            shutdown_on_drop.selector = Some(Arc::clone(selector));
        }
    }

    pub(crate) fn reregister(
        &self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        let registered = self.registered.as_ref().ok_or_else(not_registered)?;
        if !Arc::ptr_eq(&registered.selector, &registry.selector) {
            let text = "the source is registered with another Poll";
            return Err(io::Error::new(ErrorKind::AlreadyExists, text));
        }
        registered
            .selector
            .reregister(registered.key, token, interests);
        Ok(())
    }

    /// See [`Selector::report_accepted`].
    pub(crate) fn report_accepted(&self) {
        if let Some(it) = &self.registered {
            it.selector.report_accepted(it.key);
        }
    }

    /// Ends the registration. Returns the connections that a listener has accepted before the user did.
    pub(crate) fn deregister(&mut self, registry: &Registry) -> io::Result<Vec<sys::TcpStream>> {
        let here = |it: &mut Registered| Arc::ptr_eq(&it.selector, &registry.selector);
        let registered = self.registered.take_if(here).ok_or_else(not_registered)?;
        let accepted = registered.selector.deregister(registered.key);
        Ok(accepted.into_iter().map(sys::accepted).collect())
    }

    pub(crate) fn accept(&self) -> io::Result<sys::TcpStream> {
        let fd = match &self.registered {
            Some(it) => it.selector.accept(it.key)?,
            None => accept(&sys::system(), self.socket.fd(), &mut None)?,
        };
        Ok(sys::accepted(fd))
    }

    pub(crate) fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        match &self.registered {
            Some(it) => it.selector.read(it.key, buf),
            None => Ok(sys::system().fd_read(self.socket.fd(), buf)?),
        }
    }

    pub(crate) fn write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        match &self.registered {
            Some(it) => it.selector.write(it.key, bufs),
            // Only a poller knows whether several slices in one call are safe in this runtime.
            None => Ok(write_each(&sys::system(), self.socket.fd(), bufs)?),
        }
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match &self.registered {
            Some(it) => it.selector.shutdown(it.key, how),
            // Only a poller knows whether shutting down both in one call does anything in this runtime.
            None if how == Shutdown::Both => Ok(shut_down(&sys::system(), self.socket.fd())?),
            None => Ok(sys::system().sock_shutdown(self.socket.fd(), how)?),
        }
    }

    pub(crate) fn try_io<R>(&self, call: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        let result = call();
        if let Some(it) = &self.registered {
            let kind = result.as_ref().err().map(io::Error::kind);
            if let Some(error) = it.selector.record_call(it.key, kind) {
                return Err(error);
            }
        }
        result
    }
}

impl<T: fmt::Debug> fmt::Debug for IoSource<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.fmt(f)
    }
}

fn not_registered() -> io::Error {
    let text = "the source is not registered with this Poll";
    io::Error::new(ErrorKind::NotFound, text)
}
