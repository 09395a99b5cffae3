//! The listening socket on WASI 0.2, which is bound here: runtimes pass none.

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use log::info;
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::network::{ErrorCode, IpAddressFamily};
use wasip2::sockets::tcp::TcpSocket;
use wasip2::sockets::tcp_create_socket::create_tcp_socket;

use super::{TakeOnce, check_syntax};
use crate::error::{Error, ErrorKind, Result};
use crate::reactor::wasip2::{Wasip2Reactor, addr, calls};

/// A listening socket.
#[derive(Debug)]
pub(crate) struct Listeners {
    socket: TakeOnce<TcpSocket>,
    address: std::result::Result<SocketAddr, ErrorCode>,
}

impl Listeners {
    /// Resolves `addr` and binds the first of its addresses that can be bound.
    pub(crate) fn bind(addr: &str) -> Result<Self> {
        check_syntax(addr)?;
        let addresses = addr.to_socket_addrs().map_err(|error| {
            Error::new(
                ErrorKind::Address,
                format!(
                    "can't look up the host of {addr}: {error}. For a host name, the runtime has to \
                     allow that too: wasmtime run -S inherit-network -S allow-ip-name-lookup"
                ),
            )
        })?;
        let mut failure = None;
        for address in addresses {
            match listen(address) {
                Ok(socket) => {
                    return Ok(Self {
                        address: socket.local_address().map(addr::to_std),
                        socket: TakeOnce::new(socket),
                    });
                }
                Err(code) => failure = failure.or(Some((address, code))),
            }
        }
        Err(Error::new(
            ErrorKind::Address,
            match failure {
                None => format!("can't listen on {addr}: the host has no address"),
                Some((address, code)) => explain(address, code),
            },
        ))
    }

    pub(crate) fn preopened() -> Result<Self> {
        Err(Error::new(
            ErrorKind::Unsupported,
            "WASI 0.2 runtimes don't pass sockets to a component; use Server::new with an address",
        ))
    }

    pub(crate) fn from_fd(_: u32) -> Result<Self> {
        Err(Error::new(
            ErrorKind::Unsupported,
            "WASI 0.2 has no file descriptors; use Server::new with an address",
        ))
    }

    pub(crate) fn from_listener(_: TcpListener) -> Result<Self> {
        Err(Error::new(
            ErrorKind::Unsupported,
            "the WASI 0.2 resources of a std::net::TcpListener are not accessible; use \
             Server::new with an address",
        ))
    }

    pub(crate) fn set_nodelay(&mut self, nodelay: bool) {
        info!(target: "mini_http", "tcp_nodelay({nodelay}) has no effect on WASI 0.2");
    }

    pub(crate) fn local_addr(&self) -> Result<SocketAddr> {
        self.address.map_err(|code| {
            let error = calls::socket_error(code);
            Error::io("can't get the address", error)
        })
    }

    /// Makes the reactor, which takes this socket and closes it. Fails if it was called before.
    pub(crate) fn reactor(&self) -> Result<Wasip2Reactor> {
        info!(target: "mini_http", "listening on {}", self.local_addr()?);
        Ok(Wasip2Reactor::new([self.socket.take()?]))
    }
}

/// The most connections that wait to be accepted. The system reduces it to its own limit.
const BACKLOG: u64 = 1024;

fn listen(address: SocketAddr) -> Result<TcpSocket, ErrorCode> {
    let socket = create_tcp_socket(match address {
        SocketAddr::V4(_) => IpAddressFamily::Ipv4,
        SocketAddr::V6(_) => IpAddressFamily::Ipv6,
    })?;
    socket.start_bind(&instance_network(), addr::to_wasi(address))?;
    finish(&socket, TcpSocket::finish_bind)?;
    // Only a hint, so its failure doesn't matter.
    let _ = socket.set_listen_backlog_size(BACKLOG);
    socket.start_listen()?;
    finish(&socket, TcpSocket::finish_listen)?;
    Ok(socket)
}

/// Waits until the started operation is finished.
fn finish(
    socket: &TcpSocket,
    step: impl Fn(&TcpSocket) -> Result<(), ErrorCode>,
) -> Result<(), ErrorCode> {
    loop {
        match step(socket) {
            Err(ErrorCode::WouldBlock) => socket.subscribe().block(),
            result => return result,
        }
    }
}

fn explain(address: SocketAddr, code: ErrorCode) -> String {
    match code {
        ErrorCode::AccessDenied | ErrorCode::NotSupported => {
            // The refusal may also come from the system: such ports need a privilege.
            let or_system = if address.port() < 1024 && address.port() != 0 {
                " Or the system doesn't permit this user to use ports below 1024."
            } else {
                ""
            };
            format!(
                "can't listen on {address}: the runtime doesn't permit network access ({}). Start it with \
                 -S inherit-network (and without -S tcp=n): \
                 wasmtime run -S inherit-network hello.wasm{or_system}",
                code.name()
            )
        }
        _ => {
            let error = calls::socket_error(code);
            format!("can't listen on {address}: {error}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preopened_sockets_are_unsupported() {
        for result in [Listeners::preopened(), Listeners::from_fd(3)] {
            let error = result.expect_err("no sockets are passed");
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains("Server::new"), "{error}");
        }
    }
}
