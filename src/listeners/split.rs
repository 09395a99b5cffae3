//! The listening sockets of several workers: one for each of them at the same address (`SO_REUSEPORT`), or one that
//! they share.

use std::io;
use std::net::TcpListener;

use crate::log::{debug, info, warn};
use socket2::{Domain, SockRef, Type};

use super::native::Listeners;
use super::socket::{Socket, listen};
use crate::error::{Error, Result};

/// Whether the system spreads the connections of an address over the sockets that listen at it (`SO_REUSEPORT`).
/// Elsewhere the option gives all of them to one socket, or doesn't exist.
const SPREADS: bool = cfg!(any(target_os = "android", target_os = "linux"));

impl Listeners {
    /// Makes as many sockets for each address as there will be workers, where the system spreads connections over
    /// them. So connections are spread even if they come before the server runs.
    pub(crate) fn spread(&mut self, count: usize) {
        let (Ok(sockets), Ok(beside)) = (self.sockets.get_mut(), self.beside.get_mut()) else {
            return;
        };
        for socket in sockets {
            let known = beside.iter().filter(|it| it.is_at_address_of(socket));
            let missing = count.saturating_sub(1 + known.count());
            match listen_beside(socket, missing) {
                Ok(more) => beside.extend(more),
                // The server says so when it starts, if it still has several workers.
                Err(error) => debug!(target: "mini_http", "SO_REUSEPORT: {error}"),
            }
        }
    }

    /// Takes these sockets, and makes as many sets of them: one for each worker. Fails if they were taken before.
    pub(crate) fn split(&self, count: usize) -> Result<Vec<Self>> {
        #[cfg(all(feature = "systemd", unix))]
        if let Some(service) = &self.service {
            service.expect(count);
        }
        let mut sets: Vec<_> = (0..count).map(|_| Vec::new()).collect();
        let mut beside = self.beside.take()?;
        for socket in self.sockets.take()? {
            let known = beside.extract_if(.., |it| it.is_at_address_of(&socket));
            let known: Vec<_> = known.collect();
            let sockets = split_one(socket, known, count);
            let sockets =
                sockets.map_err(|error| Error::io("can't share a listening socket", error))?;
            for (number, socket) in sockets.into_iter().enumerate() {
                // More were made if the number of workers was higher before.
                sets[number % count].push(socket);
            }
        }
        let sets = sets.into_iter().enumerate();
        Ok(sets
            .map(|(number, set)| self.part(set, number == 0))
            .collect())
    }
}

/// At least one socket for each worker: this one, the known ones at its address, and those that are missing.
fn split_one(socket: Socket, known: Vec<Socket>, count: usize) -> io::Result<Vec<Socket>> {
    let missing = count.saturating_sub(1 + known.len());
    let more = match listen_beside(&socket, missing) {
        Ok(more) => more,
        Err(error) => {
            warn!(
                target: "mini_http",
                "SO_REUSEPORT can't be used, so workers may have very different numbers of connections: {error}"
            );
            Vec::new()
        }
    };
    let shared = missing - more.len();
    if shared > 0 {
        info!(target: "mini_http", "{} workers share a listening socket", shared + 1);
    }
    let shared: io::Result<Vec<_>> = (0..shared).map(|_| socket.try_clone()).collect();
    let mut sockets = vec![socket];
    sockets.extend(known);
    sockets.extend(more);
    sockets.extend(shared?);
    Ok(sockets)
}

/// Makes `count` more sockets that listen at the address of this one, or none where connections aren't spread: then
/// the workers share this socket.
///
/// This socket was bound without `SO_REUSEPORT`, so no other socket had the address: otherwise binding would have
/// failed. It stays bound, gets the option now, and then the others are bound. So a program of another user can't take
/// the address at any time, and a program of the same user only if it sets the option, too.
fn listen_beside(socket: &Socket, count: usize) -> io::Result<Vec<Socket>> {
    let Socket::Tcp {
        listener,
        is_bound_here: true,
    } = socket
    else {
        return Ok(Vec::new());
    };
    if !SPREADS || count == 0 {
        return Ok(Vec::new());
    }
    set_reuse_port(&SockRef::from(listener))?;
    (0..count).map(|_| listen_at_address_of(listener)).collect()
}

fn listen_at_address_of(listener: &TcpListener) -> io::Result<Socket> {
    let address = listener.local_addr()?;
    let only_v6 = address.is_ipv6() && SockRef::from(listener).only_v6()?;
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    set_reuse_port(&socket)?;
    Ok(Socket::Tcp {
        listener: listen(socket, address, only_v6)?,
        is_bound_here: true,
    })
}

#[cfg(unix)]
fn set_reuse_port(socket: &socket2::Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(not(unix))]
fn set_reuse_port(_: &socket2::Socket) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Socket {
    fn is_at_address_of(&self, other: &Self) -> bool {
        match (self.local_addr(), other.local_addr()) {
            (Some(Ok(address)), Some(Ok(others))) => address == others,
            _ => false,
        }
    }

    /// The same socket once more: both accept from one queue.
    fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp {
                listener,
                is_bound_here,
            } => Self::Tcp {
                listener: listener.try_clone()?,
                is_bound_here: *is_bound_here,
            },
            #[cfg(unix)]
            Self::Unix { file, listener } => Self::Unix {
                file: file.clone(),
                listener: listener.try_clone()?,
            },
        })
    }
}
