//! The listening sockets on WASI 0.2, which are bound here: runtimes pass none.

use std::net::{SocketAddr, TcpListener};

use crate::log::info;
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::network::{ErrorCode, IpAddressFamily};
use wasip2::sockets::tcp::TcpSocket;
use wasip2::sockets::tcp_create_socket::create_tcp_socket;

use super::bind::{Cause, Failure, bind_all, resolve};
use super::{TakeOnce, check_syntax};
use crate::error::{Error, ErrorKind, Result};
use crate::reactor::wasip2::{Wasip2Reactor, addr, calls};

/// Listening sockets.
#[derive(Debug)]
pub(crate) struct Listeners {
    sockets: TakeOnce<Vec<TcpSocket>>,
    addresses: std::result::Result<Vec<SocketAddr>, ErrorCode>,
}

impl Listeners {
    /// Binds all addresses of `addr`.
    pub(crate) fn bind(addr: &str) -> Result<Self> {
        let mut listeners = Self {
            sockets: TakeOnce::new(Vec::new()),
            addresses: Ok(Vec::new()),
        };
        listeners.add(addr)?;
        Ok(listeners)
    }

    /// Adds sockets at all addresses of `addr`.
    pub(crate) fn add(&mut self, addr: &str) -> Result<()> {
        let sockets = self.sockets.get_mut()?;
        check_syntax(addr)?;
        let addresses = resolve(addr).map_err(|error| {
            Error::new(
                ErrorKind::Address,
                format!(
                    "can't look up the host of {addr}: {error}. For a host name, the runtime has to \
                     allow that too: wasmtime run -S inherit-network -S allow-ip-name-lookup"
                ),
            )
        })?;
        let bound = bind_all(&addresses, |address| {
            listen(address).map_err(|code| (cause(code), code))
        });
        let explained = |Failure { address, error, .. }| explain(address, error);
        let bound = match bound.map_err(explained) {
            Ok(bound) if bound.is_empty() => {
                Err(format!("can't listen on {addr}: the host has no address"))
            }
            result => result,
        };
        sockets.extend(bound.map_err(|why| Error::new(ErrorKind::Address, why))?);
        let all = sockets.iter();
        self.addresses = all
            .map(|socket| socket.local_address().map(addr::to_std))
            .collect();
        Ok(())
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

    /// The addresses of the sockets.
    pub(crate) fn local_addrs(&self) -> Result<Vec<SocketAddr>> {
        self.addresses.clone().map_err(|code| {
            let error = calls::socket_error(code);
            Error::io("can't get an address", error)
        })
    }

    /// The first socket's address.
    pub(crate) fn local_addr(&self) -> Result<SocketAddr> {
        let first = self.local_addrs()?.into_iter().next();
        first.ok_or_else(|| Error::new(ErrorKind::NoListener, "the server has no socket"))
    }

    /// Makes the reactor, which takes these sockets and closes them. Fails if it was called before.
    pub(crate) fn reactor(&self) -> Result<Wasip2Reactor> {
        for addr in self.local_addrs()? {
            info!(target: "mini_http", "listening on {addr}");
        }
        Ok(Wasip2Reactor::new(self.sockets.take()?))
    }
}

/// The most connections that wait to be accepted. The system reduces it to its own limit. At half, a burst of 1,000
/// clients overflows it, and their connection requests are repeated only after a second; double matters only
/// to larger bursts.
const BACKLOG: u64 = 1024;

/// Binds an address. A socket of IPv6 takes no IPv4 connections here, so it can have the same port as one of IPv4.
fn listen(address: SocketAddr) -> Result<(TcpSocket, u16), ErrorCode> {
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
    let port = addr::to_std(socket.local_address()?).port();
    Ok((socket, port))
}

fn cause(code: ErrorCode) -> Cause {
    match code {
        ErrorCode::AddressNotBindable | ErrorCode::NotSupported => Cause::Missing,
        ErrorCode::AddressInUse => Cause::InUse,
        _ => Cause::Other,
    }
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
                 wasmtime run -S inherit-network hello.wasm. A program that embeds it calls \
                 inherit_network of its WasiCtxBuilder, in C wasi_config_inherit_network.{or_system}",
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
