//! Looks up all addresses of a name, and binds them on one port.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use crate::log::warn;

/// The addresses of `host:port`, each once.
///
/// `localhost` is the loopback address of both families (RFC 6761 §6.3). It isn't looked up: a system's list may have
/// one of them only, and some WASI runtimes permit no lookup.
pub(super) fn resolve(addr: &str) -> io::Result<Vec<SocketAddr>> {
    if let Some((host, port)) = addr.rsplit_once(':')
        && host.eq_ignore_ascii_case("localhost")
        && let Ok(port) = port.parse::<u16>()
    {
        return Ok(vec![
            (Ipv4Addr::LOCALHOST, port).into(),
            (Ipv6Addr::LOCALHOST, port).into(),
        ]);
    }
    let mut addresses = Vec::new();
    for address in addr.to_socket_addrs()? {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

/// Why an address was not bound.
#[derive(Debug)]
pub(super) struct Failure<E> {
    pub(super) address: SocketAddr,
    pub(super) cause: Cause,
    pub(super) error: E,
}

/// What a failure to bind an address means for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The system doesn't have the address, or not its family: the others are enough.
    Missing,
    /// Another socket has the address and port.
    InUse,
    Other,
}

/// How many ports are tried until one is free in all families. Even if other programs used half of all ports of the
/// second family, all tries would fail only once in 65,000 times.
const TRIES: usize = 16;

/// Binds all addresses with `bind`, which returns a socket and its port. Those with port 0 get the port that the
/// system chooses for the first of them. Addresses that the system doesn't have are left out.
///
/// Returns no sockets if there is no address.
pub(super) fn bind_all<S, E>(
    addresses: &[SocketAddr],
    mut bind: impl FnMut(SocketAddr) -> Result<(S, u16), (Cause, E)>,
) -> Result<Vec<S>, Failure<E>> {
    let mut tries = 0;
    loop {
        tries += 1;
        match bind_once(addresses, &mut bind) {
            Err((failure, true)) if tries < TRIES && failure.cause == Cause::InUse => {}
            Err((failure, _)) => return Err(failure),
            Ok(sockets) => return Ok(sockets),
        }
    }
}

/// [`bind_all`] with one choice of a port. An error also says if another port may be free.
fn bind_once<S, E>(
    addresses: &[SocketAddr],
    bind: &mut impl FnMut(SocketAddr) -> Result<(S, u16), (Cause, E)>,
) -> Result<Vec<S>, (Failure<E>, bool)> {
    let mut sockets = Vec::with_capacity(addresses.len());
    let mut chosen = None;
    let mut missing = None;
    for &(mut address) in addresses {
        let had_choice = address.port() == 0;
        if had_choice {
            address.set_port(chosen.unwrap_or(0));
        }
        match bind(address) {
            Ok((socket, port)) => {
                sockets.push(socket);
                if had_choice {
                    chosen = Some(port);
                }
            }
            Err((cause, error)) => {
                let failure = Failure {
                    address,
                    cause,
                    error,
                };
                match cause {
                    Cause::Missing if missing.is_none() => missing = Some(failure),
                    Cause::Missing => {}
                    Cause::InUse | Cause::Other => return Err((failure, chosen.is_some())),
                }
            }
        }
    }
    match missing {
        Some(failure) if sockets.is_empty() => Err((failure, false)),
        Some(failure) => {
            let address = failure.address;
            warn!(target: "mini_http", "not listening on {address}: the system doesn't have this address");
            Ok(sockets)
        }
        None => Ok(sockets),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        let parsed = texts.iter().map(|text| text.parse().expect("an address"));
        parsed.collect()
    }

    #[test]
    fn localhost_is_both_families() {
        for name in ["localhost:80", "LocalHost:80"] {
            let resolved = resolve(name).expect("no lookup");
            assert_eq!(resolved, addresses(&["127.0.0.1:80", "[::1]:80"]));
        }
        let literal = resolve("[::1]:80").expect("no lookup");
        assert_eq!(literal, addresses(&["[::1]:80"]));
    }

    #[test]
    fn all_get_the_port_of_the_first() {
        let mut seen = Vec::new();
        let sockets = bind_all(&addresses(&BOTH), |address| {
            seen.push(address.to_string());
            Ok::<_, (Cause, ())>((address.is_ipv6(), 4711))
        });
        assert_eq!(sockets.expect("both are free"), [false, true]);
        assert_eq!(seen, ["127.0.0.1:0", "[::1]:4711"]);
    }

    #[test]
    fn another_port_is_chosen_if_the_second_family_has_it_in_use() {
        let mut ports = [4711, 4712, 4713].into_iter();
        let sockets = bind_all(&addresses(&BOTH), |address| match address.port() {
            0 => Ok((0, ports.next().expect("no more tries than needed"))),
            4713 => Ok((4713, 4713)),
            _ => Err((Cause::InUse, ())),
        });
        assert_eq!(sockets.expect("the third is free"), [0, 4713]);
    }

    #[test]
    fn the_number_of_attempts_has_a_bound() {
        let mut calls = 0;
        let failed = bind_all(&addresses(&BOTH), |address| {
            calls += 1;
            match address.port() {
                0 => Ok(((), 4711)),
                _ => Err((Cause::InUse, "in use")),
            }
        });
        let failure = failed.expect_err("none is free");
        assert_eq!((failure.error, calls), ("in use", 2 * TRIES));
    }

    /// Nothing else could be chosen for a port that the user has named.
    #[test]
    fn a_port_that_is_named_is_tried_once() {
        let mut calls = 0;
        let failed = bind_all(&addresses(&["127.0.0.1:80", "[::1]:80"]), |address| {
            calls += 1;
            match address {
                SocketAddr::V4(_) => Ok(((), 80)),
                SocketAddr::V6(_) => Err((Cause::InUse, ())),
            }
        });
        let failure = failed.expect_err("it is in use");
        assert_eq!((failure.address.to_string(), calls), ("[::1]:80".into(), 2));
    }

    #[test]
    fn a_family_that_the_system_lacks_is_left_out() {
        for lacks_v6 in [true, false] {
            let sockets = bind_all(&addresses(&BOTH), |address| {
                if address.is_ipv6() == lacks_v6 {
                    return Err((Cause::Missing, ()));
                }
                Ok((address, 4711))
            });
            assert_eq!(sockets.expect("one is enough").len(), 1);
        }
        let failed = bind_all(&addresses(&BOTH), |address| {
            Err::<((), u16), _>((Cause::Missing, address))
        });
        let failure = failed.expect_err("there is none");
        assert_eq!(failure.error, "127.0.0.1:0".parse().expect("an address"));
    }
}
