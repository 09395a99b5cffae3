//! Calls on sockets, and the phases of the host.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use super::puppet::{NONBLOCK, Puppet, Sub, ok};
use crate::errno::Errno;
use crate::listeners::Bound;
use crate::phase::Phase;
use crate::settings::Settings;
use crate::socket::Socket;

const AGAIN: u32 = Errno::AGAIN.0 as u32;
const MFILE: u32 = Errno::MFILE.0 as u32;
const CANCELED: u32 = Errno::CANCELED.0 as u32;

#[test]
fn without_nonblock_calls_wait() {
    let mut puppet = Puppet::listening();
    let address = puppet.address.expect("a listener");
    let client = spawn(move || {
        sleep(Duration::from_millis(50));
        let mut client = TcpStream::connect(address).expect("a connection");
        sleep(Duration::from_millis(50));
        client.write_all(b"hello").expect("room");
        let mut all = Vec::new();
        // The guest writes more than there is room for before it is read.
        sleep(Duration::from_millis(50));
        client.read_to_end(&mut all).expect("the response");
        all.len()
    });
    let fd = puppet.accept(3, 0).expect("it has waited for the client");
    assert_eq!(puppet.read(fd, 100), Ok(b"hello".to_vec()));
    let bytes: usize = (0..10)
        .map(|_| {
            puppet
                .write(fd, &[0; 1 << 20])
                .expect("it has waited for room")
        })
        .sum();
    puppet.close(fd).expect("it is open");
    assert_eq!(client.join().expect("the client"), bytes);
}

/// Writes by `sock_send`, with these flags.
fn send(puppet: &mut Puppet, fd: u32, buffers: &[&[u8]], flags: u64) -> Result<u32, u32> {
    let mut at = 0x1_0000;
    for (index, bytes) in (0..).zip(buffers) {
        puppet.put(at, bytes);
        puppet.put(0x200 + 8 * index, &at.to_le_bytes());
        puppet.put(0x204 + 8 * index, &(bytes.len() as u32).to_le_bytes());
        at += bytes.len() as u32;
    }
    let arguments = [u64::from(fd), 0x200, buffers.len() as u64, flags, 0x100];
    puppet.call("sock_send", &arguments)?;
    Ok(puppet.number(0x100))
}

#[test]
fn output_with_the_flag_more_waits_for_what_follows() {
    const MORE: u64 = 0x8000;
    let mut puppet = Puppet::listening();
    let all = |mut client: TcpStream| {
        let mut all = Vec::new();
        client.read_to_end(&mut all).expect("a whole stream");
        all
    };
    for buffers in [&[&b"hello"[..]][..], &[b"he", b"", b"llo"]] {
        // The end of the stream sends it, by a shutdown or by a close.
        for ends in ["sock_shutdown", "fd_close"] {
            let (client, fd) = puppet.connection();
            client.set_nonblocking(true).expect("a client");
            assert_eq!(send(&mut puppet, fd, buffers, MORE), Ok(5));
            let waits = client.peek(&mut [0; 9]).expect_err("nothing has come");
            assert_eq!(waits.kind(), std::io::ErrorKind::WouldBlock);
            client.set_nonblocking(false).expect("a client");
            let arguments = [u64::from(fd), 2];
            let count = if ends == "fd_close" { 1 } else { 2 };
            puppet.call(ends, &arguments[..count]).expect("it is open");
            assert_eq!(all(client), b"hello");
        }
        // More output does, too.
        let (client, fd) = puppet.connection();
        assert_eq!(send(&mut puppet, fd, buffers, MORE), Ok(5));
        assert_eq!(send(&mut puppet, fd, buffers, 0), Ok(5));
        puppet.close(fd).expect("it is open");
        assert_eq!(all(client), b"hellohello");
    }
    let (_client, fd) = puppet.connection();
    for flags in [1, 0x4000, 0xffff, 0x1_8000] {
        let refused = Err(u32::from(Errno::NOTSUP.0));
        assert_eq!(send(&mut puppet, fd, &[b"hello"], flags), refused);
    }
}

#[test]
fn several_buffers_are_one_call() {
    let mut puppet = Puppet::listening();
    let (mut client, fd) = puppet.connection();
    client.write_all(b"12345678").expect("room");
    sleep(Duration::from_millis(100));
    // Three buffers, of 4, 0 and 8 bytes.
    for (index, (at, len)) in [(0x1_0000_u32, 4_u32), (0x1_0100, 0), (0x1_0200, 8)]
        .iter()
        .enumerate()
    {
        let place = 0x200 + 8 * index as u32;
        puppet.put(place, &at.to_le_bytes());
        puppet.put(place + 4, &len.to_le_bytes());
    }
    let arguments = [u64::from(fd), 0x200, 3, 0x100];
    puppet.call("fd_read", &arguments).expect("bytes");
    assert_eq!(puppet.number(0x100), 8);
    assert_eq!(&puppet.bytes()[0x1_0200..0x1_0204], b"5678");
    puppet.call("fd_write", &arguments).expect("room");
    assert_eq!(puppet.number(0x100), 12);
    let mut got = [0; 8];
    client.read_exact(&mut got).expect("the bytes");
    assert_eq!(&got, b"12345678");
}

#[test]
fn a_peek_takes_nothing() {
    let mut puppet = Puppet::listening();
    let (mut client, fd) = puppet.connection();
    client.write_all(b"hello").expect("room");
    assert_eq!(puppet.soon(&[Sub::Read(fd)]), [ok(0, 5)]);
    puppet.put(0x200, &0x1_0000_u32.to_le_bytes());
    puppet.put(0x204, &100_u32.to_le_bytes());
    let arguments = [u64::from(fd), 0x200, 1, 1, 0x100, 0x104];
    puppet.call("sock_recv", &arguments).expect("bytes");
    assert_eq!(puppet.number(0x100), 5);
    assert_eq!(puppet.soon(&[Sub::Read(fd)]), [ok(0, 5)]);
    assert_eq!(puppet.read(fd, 100), Ok(b"hello".to_vec()));
}

#[test]
fn calls_on_what_isnt_a_socket_fail() {
    let mut puppet = Puppet::listening();
    let (_client, fd) = puppet.connection();
    let fd = u64::from(fd);
    let (badf, notsock, inval, notconn, spipe) = (8, 57, 28, 53, 70);
    for (name, arguments, errno) in [
        ("sock_accept", &[99, 0, 0x100][..], badf),
        ("sock_accept", &[1, 0, 0x100], notsock),
        ("sock_accept", &[fd, 0, 0x100], inval),
        ("sock_accept", &[3, 1, 0x100], inval),
        ("sock_recv", &[1, 0x200, 1, 0, 0x100, 0x104], notsock),
        ("fd_read", &[3, 0x200, 1, 0x100], notconn),
        ("fd_write", &[3, 0x200, 1, 0x100], notconn),
        ("sock_shutdown", &[3, 1], notconn),
        ("sock_shutdown", &[1, 1], notsock),
        ("sock_shutdown", &[fd, 4], inval),
        ("fd_seek", &[fd, 0, 0, 0x100], spipe),
        ("fd_prestat_get", &[3, 0x100], badf),
        ("fd_fdstat_set_flags", &[fd, 1], inval),
        ("fd_renumber", &[fd, 99], badf),
        ("fd_renumber", &[99, fd], badf),
    ] {
        puppet.put(0x200, &0x1_0000_u32.to_le_bytes());
        puppet.put(0x204, &100_u32.to_le_bytes());
        assert_eq!(
            puppet.call(name, arguments),
            Err(errno),
            "{name} {arguments:?}"
        );
    }
    assert_eq!(puppet.call("fd_renumber", &[fd, fd]), Ok(()));
    let pointer = puppet.raw("sock_accept", &[3, 0, 0xffff_fffe]);
    assert!(
        pointer
            .expect_err("a trap")
            .to_string()
            .contains("error while executing")
    );
}

#[test]
fn beyond_the_limit_connections_wait() {
    let settings = Settings {
        max_open: Some(2),
        ..Settings::default()
    };
    let mut puppet = Puppet::with(settings, 64);
    puppet.set_nonblock(3);
    let (_first, fd) = puppet.connection();
    let (_second, _) = puppet.connection();
    let address = puppet.address.expect("a listener");
    let _third = TcpStream::connect(address).expect("a connection");
    assert_eq!(puppet.accept(3, 0), Err(MFILE));
    puppet.close(fd).expect("it is open");
    assert_eq!(puppet.accept(3, 0), Ok(fd));
}

#[test]
fn a_drain_ends_idle_connections() {
    let mut puppet = Puppet::listening();
    puppet.set_nonblock(3);
    let (_idle, idle) = puppet.connection();
    let (mut busy, fd) = puppet.connection();
    busy.write_all(b"request").expect("room");
    assert_eq!(puppet.soon(&[Sub::Read(fd)]), [ok(0, 7)]);
    puppet.read(fd, 100).expect("bytes");
    // It is no response to write nothing.
    assert_eq!(puppet.write(fd, b""), Ok(0));
    // A connection that is waiting already is served.
    let address = puppet.address.expect("a listener");
    let _waiting = TcpStream::connect(address).expect("a connection");
    puppet.phase.advance(Phase::Draining);
    let subs = [Sub::Read(3), Sub::Read(idle), Sub::Read(fd)];
    let events = puppet.soon(&subs);
    let reported = |index| events.iter().find(|it| it.index == index);
    assert_eq!(reported(0), Some(&ok(0, 1)));
    assert!(reported(1).is_some_and(|it| it.hangup), "{events:?}");
    assert_eq!(reported(2), None, "a request is in progress");
    assert_eq!(puppet.read(idle, 100), Ok(vec![]));
    assert_eq!(puppet.read(fd, 100), Err(AGAIN));
    puppet.accept(3, 0).expect("the waiting connection");
    // There are no others, so the listener is closed.
    let events = puppet.soon(&subs[..1]);
    assert_eq!((events[0].index, u32::from(events[0].error)), (0, CANCELED));
    assert_eq!(puppet.accept(3, 0), Err(CANCELED));
    assert!(TcpStream::connect(address).is_err());
    // The response ends the request.
    puppet.write(fd, b"response").expect("room");
    assert_eq!(puppet.read(fd, 100), Ok(vec![]));
}

#[test]
fn a_guest_that_waits_for_a_closed_listener_is_ended() {
    let mut puppet = Puppet::listening();
    let (_client, fd) = puppet.connection();
    puppet.phase.advance(Phase::Draining);
    puppet.set_nonblock(3);
    assert_eq!(puppet.accept(3, 0), Err(CANCELED));
    puppet.close(fd).expect("it is open");
    // Waits without sockets go on as usual.
    assert_eq!(puppet.poll(&[Sub::After(1000)]), [ok(0, 0)]);
    puppet.put(0x1000, &super::puppet::encode(0, Sub::Read(3)));
    let waits = puppet.raw("poll_oneoff", &[0x1000, 0x8000, 1, 0x100]);
    assert!(waits.expect_err("a trap").is::<crate::instance::Stopped>());
}

#[test]
fn a_wait_ends_when_the_host_drains() {
    let mut puppet = Puppet::listening();
    let (_client, fd) = puppet.connection();
    let (phase, waker) = (puppet.phase.clone(), puppet.waker.clone());
    let other = spawn(move || {
        sleep(Duration::from_millis(50));
        phase.advance(Phase::Draining);
        waker.wake().expect("a wake-up");
    });
    let start = Instant::now();
    let events = puppet.soon(&[Sub::Read(fd)]);
    assert!(events[0].hangup && start.elapsed() < Duration::from_secs(10));
    other.join().expect("the other thread");
}

/// If the kernel has just reported a listener, a connection is waiting. But if other processes share the listener, one
/// of them may have accepted the connection in the meantime.
#[test]
fn a_shared_listener_is_checked_again_although_it_was_reported() {
    for (inherited, just_reported, reported) in [
        (false, true, true),
        (false, false, false),
        (true, true, false),
        (true, false, false),
    ] {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let bound = Bound {
            number: 0,
            socket,
            inherited,
            name: None,
        };
        let mut listener = Socket::listener(bound, true);
        listener.readable = true;
        let input = listener.input(just_reported).expect("no error");
        assert_eq!(input.is_some(), reported, "{inherited} {just_reported}");
    }
}

#[test]
fn flags_are_kept() {
    let mut puppet = Puppet::listening();
    let (_client, fd) = puppet.connection();
    puppet
        .call("fd_fdstat_get", &[u64::from(fd), 0x100])
        .expect("it is open");
    assert_eq!(&puppet.bytes()[0x100..0x104], &[6, 0, NONBLOCK as u8, 0]);
    puppet
        .call("fd_fdstat_set_flags", &[u64::from(fd), 0])
        .expect("it is open");
    puppet
        .call("fd_fdstat_get", &[u64::from(fd), 0x100])
        .expect("it is open");
    assert_eq!(&puppet.bytes()[0x100..0x104], &[6, 0, 0, 0]);
}
