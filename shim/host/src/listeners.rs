//! Listeners, bound here or inherited.

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use listenfd::ListenFd;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

use crate::error::Error;

/// A listening socket, not blocking.
#[derive(Debug)]
pub(crate) struct Bound {
    /// Its place among the listeners of its instance. It stays the same when another one is closed.
    pub(crate) number: usize,
    pub(crate) socket: TcpListener,
    /// Another process, such as systemd, keeps it open too.
    pub(crate) inherited: bool,
    /// For `LISTEN_FDNAMES`.
    pub(crate) name: Option<String>,
}

/// How many connections may wait to be accepted. The system has a limit of its own, and takes the lower.
const BACKLOG: i32 = 4096;

/// An address to listen on, with the name for `LISTEN_FDNAMES`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) name: Option<String>,
    pub(crate) address: String,
}

impl Address {
    /// From `ADDRESS`, or `NAME=ADDRESS`.
    pub(crate) fn parse(text: &str) -> Self {
        match text.split_once('=') {
            Some((name, address)) => Self {
                name: Some(name.to_owned()),
                address: address.to_owned(),
            },
            None => Self {
                name: None,
                address: text.to_owned(),
            },
        }
    }

    /// Binds it once for each instance, as the listener with this number. With more than one instance, or with
    /// `reuse_port`, the kernel distributes connections among all sockets of the address (`SO_REUSEPORT`).
    pub(crate) fn bind(
        &self,
        number: usize,
        instances: usize,
        reuse_port: bool,
    ) -> Result<Vec<Bound>, Error> {
        self.check_name()?;
        let mut address = self.resolve()?;
        if instances > 1 && !reuse_port {
            // With SO_REUSEPORT another server could share the address unnoticed. Binding without it first fails then.
            address = self.bind_one(address, false)?.1;
        }
        let mut bound = Vec::new();
        for _ in 0..instances {
            let (socket, actual) = self.bind_one(address, instances > 1 || reuse_port)?;
            // With port 0, the others get the port of the first one.
            address = actual;
            bound.push(Bound {
                number,
                socket,
                inherited: false,
                name: self.name.clone(),
            });
        }
        Ok(bound)
    }

    /// Checks that the name can stand in a list of names, by the rules of systemd.
    fn check_name(&self) -> Result<(), Error> {
        let is_good = |c: char| c.is_ascii() && !c.is_ascii_control() && c != ':';
        match &self.name {
            Some(name) if name.is_empty() || !name.chars().all(is_good) => {
                Err(Error::new(format!(
                    "{name:?} is not a name for a listener: it should be ASCII without control characters and colons"
                )))
            }
            _ => Ok(()),
        }
    }

    fn resolve(&self) -> Result<SocketAddr, Error> {
        let address = &self.address;
        let found = address.to_socket_addrs();
        let mut found = found.map_err(|error| {
            Error::from_io(
                format!("{address} is not an address like 127.0.0.1:3000"),
                error,
            )
        })?;
        let first = found.next();
        first.ok_or_else(|| Error::new(format!("there is no address for {address}")))
    }

    fn bind_one(
        &self,
        address: SocketAddr,
        reuse_port: bool,
    ) -> Result<(TcpListener, SocketAddr), Error> {
        let attempt = || {
            let family = match address {
                SocketAddr::V4(_) => AddressFamily::INET,
                SocketAddr::V6(_) => AddressFamily::INET6,
            };
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = socket_with(family, SocketType::STREAM, flags, None)?;
            // Otherwise the connections of a server that has just ended would occupy the address.
            sockopt::set_socket_reuseaddr(&socket, true)?;
            // Accepted connections inherit it. Responses are written whole, and shouldn't wait for more.
            sockopt::set_tcp_nodelay(&socket, true)?;
            if reuse_port {
                sockopt::set_socket_reuseport(&socket, true)?;
            }
            bind(&socket, &address)?;
            listen(&socket, BACKLOG)?;
            let socket = TcpListener::from(socket);
            let actual = socket.local_addr()?;
            Ok((socket, actual))
        };
        attempt().map_err(|error| Error::from_io(format!("can't listen on {address}"), error))
    }
}

/// The sockets that this process was started with, as systemd does it (`LISTEN_FDS`, `LISTEN_PID`,
/// `LISTEN_FDNAMES`).
pub(crate) fn inherited() -> Result<Vec<Bound>, Error> {
    let mut all = ListenFd::from_env();
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':').map(str::to_owned);
    let mut found = Vec::new();
    for index in 0..all.len() {
        let failed = |error| Error::from_io(format!("inherited socket {index}"), error);
        let name = names.next().filter(|name| !name.is_empty());
        let Some(socket) = all.take_tcp_listener(index).map_err(failed)? else {
            continue;
        };
        if !sockopt::socket_acceptconn(&socket).map_err(|errno| failed(errno.into()))? {
            return Err(Error::new(format!(
                "inherited socket {index} doesn't listen: it may be a connection"
            )));
        }
        socket.set_nonblocking(true).map_err(failed)?;
        // Without it, responses are just slower.
        let _ = sockopt::set_tcp_nodelay(&socket, true);
        found.push(Bound {
            number: found.len(),
            socket,
            inherited: true,
            name,
        });
    }
    Ok(found)
}

impl Bound {
    /// Another descriptor of the same socket.
    pub(crate) fn try_clone(&self) -> std::io::Result<Self> {
        Ok(Self {
            number: self.number,
            socket: self.socket.try_clone()?,
            inherited: self.inherited,
            name: self.name.clone(),
        })
    }

    /// Lets no more connections wait than there are. A new one gets no response until the listener is closed, or
    /// a successor listens on the address.
    pub(crate) fn take_no_more(&self) {
        if !self.inherited {
            // If it fails, new connections are accepted until the guest has found none waiting.
            let _ = listen(&self.socket, 0);
        }
    }
}

/// What systemd calls a socket without a name.
const NO_NAME: &str = "unknown";

/// The value of `LISTEN_FDNAMES` for these listeners.
pub(crate) fn names(listeners: &[Bound]) -> String {
    let name = |it: &Bound| it.name.clone().unwrap_or_else(|| NO_NAME.to_owned());
    listeners.iter().map(name).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn accepted_connections_inherit_nodelay() {
        let address = Address::parse("a=127.0.0.1:0");
        let bound = address.bind(0, 1, false).expect("a listener").remove(0);
        let at = bound.socket.local_addr().expect("an address");
        let _client = TcpStream::connect(at).expect("a connection");
        bound.socket.set_nonblocking(false).expect("a listener");
        let (accepted, _) = bound.socket.accept().expect("a connection");
        assert!(accepted.nodelay().expect("a connection"));
    }
}
