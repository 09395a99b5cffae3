//! Guests that keep all connections they can get, and what goes on beside them. This test is a process of its own,
//! because it needs a hundred thousand file descriptors.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use wasip1_host::Host;

/// The error `MFILE`.
const MFILE: u8 = 33;
/// What the guest may have open, where the system allows it.
const MAX_CONNECTIONS: usize = 100_000;
/// File descriptors for everything else in this process.
const OTHERS: usize = 200;

/// How many sockets the guest gets: `MAX_CONNECTIONS`, or what the system allows.
fn count() -> usize {
    let wanted = Some((MAX_CONNECTIONS + OTHERS) as u64);
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
    allowed
        .map_or(MAX_CONNECTIONS, |it| it as usize - OTHERS)
        .min(MAX_CONNECTIONS)
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

/// What another guest in the same process sends back meanwhile. It gets file descriptors as long as the hostile ones
/// have no more than they may.
fn is_served(address: SocketAddr) -> bool {
    let ask = || {
        let mut client = TcpStream::connect(address)?;
        client.set_read_timeout(Some(Duration::from_secs(10)))?;
        client.write_all(b"hello")?;
        let mut response = String::new();
        client.read_to_string(&mut response)?;
        std::io::Result::Ok(response == "hello")
    };
    ask().unwrap_or(false)
}

/// Starts this many instances that may have `each` sockets, and returns the exit code of the host. Meanwhile it sends
/// requests to another host, which must respond each time.
fn take_all(instances: usize, each: usize) -> u8 {
    let module = include_str!("many.wat").replace("COUNT", &each.to_string());
    let hostile = Host::from_bytes("guest", wat::parse_str(module).unwrap())
        .listen("127.0.0.1:0")
        .instances(instances)
        .max_open(each)
        .cache(false);
    let guest = wat::parse_str(include_str!("guest.wat")).unwrap();
    let neighbour = Host::from_bytes("guest", guest)
        .listen("127.0.0.1:0")
        .cache(false);
    let neighbour = neighbour.start().unwrap();
    let beside = neighbour.addresses()[0];
    let running = hostile.start().unwrap();
    let (address, end) = (running.addresses()[0], AtomicBool::new(false));
    let code = thread::scope(|scope| {
        scope.spawn(|| connect(address, &end));
        let asked = scope.spawn(|| {
            let mut asked = 0;
            while !end.load(Ordering::Relaxed) {
                assert!(is_served(beside), "after {asked}");
                asked += 1;
                thread::sleep(Duration::from_millis(10));
            }
            asked
        });
        let code = running.wait();
        end.store(true, Ordering::Relaxed);
        assert!(asked.join().unwrap() > 0);
        code
    });
    neighbour.stop();
    assert_eq!(neighbour.wait(), 0);
    code
}

#[test]
fn a_guest_gets_no_more_sockets_than_it_may() {
    let count = count();
    println!("{count} sockets");
    assert_eq!(take_all(1, count), MFILE, "of {count} sockets");
    // Neither takes what the other may have.
    let each = (count / 2).min(2000);
    assert_eq!(take_all(2, each), MFILE, "of {each} sockets each");
}
