//! Free ports for servers.
//!
//! A port is looked for first, and bound later, when the server starts. In between, another server could take it: of a
//! check that runs beside this one, or of another thread. So each process has a range of ports of its own, and goes
//! through it in order.

use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::Outcome;

/// The first port. All are below those that Linux and macOS use for outgoing connections, so that a test's own
/// connections can't use them.
const FIRST: u16 = 20_000;
/// How many ports a range has: more than a check has servers.
const LENGTH: u16 = 600;
/// How many ranges there are.
const RANGES: u16 = 20;
/// The port behind all ranges: a process has the range of the number `n` as long as it listens at this port plus `n`.
const LOCKS: u16 = FIRST + RANGES * LENGTH;

/// The range of this process.
struct Range {
    first: u16,
    next: AtomicU16,
    /// `None` if all ranges were taken. Then another process has the same one.
    _lock: Option<TcpListener>,
}

/// A free port for the next server. A program that knows nothing of the ranges may still take it before the server
/// binds it. So a caller that starts a server must try again.
///
/// # Errors
/// When no port was free in a hundred tries.
pub(super) fn free_port() -> Outcome<u16> {
    static RANGE: OnceLock<Range> = OnceLock::new();
    let range = RANGE.get_or_init(Range::new);
    for _ in 0..100 {
        let port = range.first + range.next.fetch_add(1, Ordering::Relaxed) % LENGTH;
        if is_free(port) {
            return Ok(port);
        }
    }
    Err("no free port in a hundred tries".into())
}

impl Range {
    fn new() -> Self {
        // Tries the ranges from a random one on: the ports of a process that has just ended may be in use for a while.
        let start = random(RANGES);
        let numbers = (0..RANGES).map(|number| (start + number) % RANGES);
        let mut unused = numbers.filter_map(|number| {
            let lock = TcpListener::bind(("127.0.0.1", LOCKS + number));
            Some((number, lock.ok()?))
        });
        let (number, lock) = match unused.next() {
            Some((number, lock)) => (number, Some(lock)),
            None => (start, None),
        };
        Self {
            first: FIRST + number * LENGTH,
            next: AtomicU16::new(random(LENGTH)),
            _lock: lock,
        }
    }
}

/// Whether a port is free over IPv4 and IPv6: some servers bind both addresses.
fn is_free(port: u16) -> bool {
    let is_free = |ip| match TcpListener::bind((ip, port)) {
        Ok(_) => true,
        // Where there is no IPv6, its address can't be taken.
        Err(error) => error.kind() == std::io::ErrorKind::AddrNotAvailable,
    };
    ["127.0.0.1", "::1"].into_iter().all(is_free)
}

/// A number below this one.
fn random(below: u16) -> u16 {
    // `RandomState` is std's only source of randomness.
    let number = RandomState::new().hash_one(0) % u64::from(below);
    u16::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::thread;

    #[test]
    fn threads_get_different_ports() {
        let threads: Vec<_> = (0..4)
            .map(|_| thread::spawn(|| (0..20).map(|_| free_port()).collect::<Vec<_>>()))
            .collect();
        let ports = threads
            .into_iter()
            .flat_map(|it| it.join().expect("no panic"));
        let ports: BTreeSet<u16> = ports.map(|port| port.expect("a free one")).collect();
        assert_eq!(ports.len(), 80);
    }

    #[test]
    fn two_processes_have_different_ranges() {
        let (one, other) = (Range::new(), Range::new());
        assert!(one._lock.is_some() && other._lock.is_some());
        assert_ne!(one.first, other.first);
    }

    #[test]
    fn a_port_that_is_taken_is_not_free() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = taken.local_addr().expect("bound").port();
        assert!(!is_free(port));
    }
}
