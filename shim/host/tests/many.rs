//! A guest that keeps all connections it can get. It is a process of its own, because it needs a hundred thousand
//! file descriptors.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use wasip1_host::Host;

/// The error `MFILE`.
const MFILE: u8 = 33;
/// What the guest may have open, where the system allows it.
const MOST: usize = 100_000;
/// File descriptors for everything else in this process.
const OTHERS: usize = 200;

/// How many sockets the guest gets: `MOST`, or what the system allows.
fn count() -> usize {
    let wanted = Some((MOST + OTHERS) as u64);
    let raised = Rlimit {
        current: wanted,
        maximum: wanted,
    };
    let hard = getrlimit(Resource::Nofile).maximum;
    if hard.is_none_or(|hard| Some(hard) >= wanted) || setrlimit(Resource::Nofile, raised).is_err()
    {
        let soft = Rlimit {
            current: hard,
            maximum: hard,
        };
        setrlimit(Resource::Nofile, soft).unwrap();
    }
    let allowed = getrlimit(Resource::Nofile).current;
    allowed.map_or(MOST, |it| it as usize - OTHERS).min(MOST)
}

/// Connects and resets again and again. A connection that was reset can still be accepted, and costs no port.
fn connect(address: SocketAddr, end: &AtomicBool) {
    while !end.load(Ordering::Relaxed) {
        let Ok(client) = TcpStream::connect_timeout(&address, Duration::from_secs(2)) else {
            continue;
        };
        rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
    }
}

#[test]
fn a_guest_gets_no_more_sockets_than_it_may() {
    let count = count();
    let module = include_str!("many.wat").replace("COUNT", &count.to_string());
    let host = Host::from_bytes("guest", wat::parse_str(module).unwrap());
    let running = host
        .listen("127.0.0.1:0")
        .max_open(count)
        .cache(false)
        .start()
        .unwrap();
    println!("{count} sockets");
    let (address, end) = (running.addresses()[0], AtomicBool::new(false));
    let code = thread::scope(|scope| {
        scope.spawn(|| connect(address, &end));
        let code = running.wait();
        end.store(true, Ordering::Relaxed);
        code
    });
    assert_eq!(code, MFILE, "of {count} sockets");
}
