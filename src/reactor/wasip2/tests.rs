//! Over the runtime's own sockets: these tests run inside it, and are their own clients.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use poll_turns::{BUSY_FOR, Plan};
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::network::IpAddressFamily;
use wasip2::sockets::tcp_create_socket::create_tcp_socket;

use super::*;
use crate::reactor::Readiness;

const SOON: Option<Duration> = Some(Duration::from_secs(5));

/// A reactor with a listener, and its address.
fn reactor() -> (Wasip2Reactor, SocketAddr) {
    let socket = create_tcp_socket(IpAddressFamily::Ipv4).expect("a socket");
    let any = addr::to_wasi("127.0.0.1:0".parse().expect("an address"));
    socket
        .start_bind(&instance_network(), any)
        .expect("a free port");
    socket.finish_bind().expect("a free port");
    socket.start_listen().expect("a listener");
    socket.finish_listen().expect("a listener");
    let address = addr::to_std(socket.local_address().expect("an address"));
    (Wasip2Reactor::new([socket]), address)
}

/// Waits until there are events.
fn wait(reactor: &mut Wasip2Reactor) -> Vec<Event> {
    let mut events = Vec::new();
    while events.is_empty() {
        reactor.wait(&mut events, SOON).expect("a wait");
    }
    events
}

/// A client, and the server's side of its connection.
fn connect(
    reactor: &mut Wasip2Reactor,
    address: SocketAddr,
    key: Key,
) -> (TcpStream, Wasip2Stream) {
    let client = TcpStream::connect(address).expect("a connection");
    assert_eq!(wait(reactor), [Event::Listener(0)]);
    let accepted = reactor.accept(0, key).expect("a connection");
    assert_eq!(accepted.peer, client.local_addr().ok());
    (client, accepted.stream)
}

/// Writes until there is no more room, and tells how much that was.
fn fill(reactor: &mut Wasip2Reactor, stream: &mut Wasip2Stream) -> usize {
    let piece = [b'x'; 64 << 10];
    let mut written = 0;
    let write = true;
    reactor.set_interest(stream, Interest { read: false, write });
    loop {
        match reactor.write(stream, &[IoSlice::new(&piece)]) {
            Ok(taken) => written += taken,
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                let mut events = Vec::new();
                let while_longer = Some(Duration::from_millis(100));
                reactor.wait(&mut events, while_longer).expect("a wait");
                if events.is_empty() {
                    break;
                }
            }
        }
    }
    reactor.set_interest(stream, Interest::READ);
    written
}

/// Whether the system lets a socket have as large a buffer as one that is closed asks for.
fn has_room() -> bool {
    let socket = create_tcp_socket(IpAddressFamily::Ipv4).expect("a socket");
    let _ = calls::set_send_buffer_size(&socket, Source::CLOSED_SEND_BUFFER);
    socket
        .send_buffer_size()
        .is_ok_and(|size| size == Source::CLOSED_SEND_BUFFER)
}

#[test]
fn a_connection_goes_through() {
    let (mut reactor, address) = reactor();
    let key = Key::new(7, 9);
    let (mut client, mut stream) = connect(&mut reactor, address, key);
    let mut buf = [0; 64 << 10];
    let error = reactor.read(&mut stream, &mut buf).expect_err("no bytes");
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);

    client.write_all(&[b'x'; 20_000]).expect("room");
    let readable = Readiness {
        readable: true,
        ..Readiness::default()
    };
    assert_eq!(wait(&mut reactor), [Event::Stream(key, readable)]);
    assert_eq!(reactor.read(&mut stream, &mut buf).expect("bytes"), 20_000);

    let answer = [b"hello ".as_slice(), b"world"].map(IoSlice::new);
    assert_eq!(reactor.write(&mut stream, &answer).expect("room"), 11);
    reactor.shutdown_write(&mut stream).expect("a shutdown");
    let mut answered = String::new();
    client.read_to_string(&mut answered).expect("an answer");
    assert_eq!(answered, "hello world");

    drop(client);
    assert_eq!(wait(&mut reactor), [Event::Stream(key, readable)]);
    // Maybe the end of what was read before is told once more first.
    let end = loop {
        match reactor.read(&mut stream, &mut buf) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait(&mut reactor),
            result => break result,
        };
    };
    assert_eq!(end.expect("the end"), 0);
    reactor.close(stream);
    assert!(reactor.sources.is_empty());
}

#[test]
fn a_client_that_takes_nothing_holds_up_nobody() {
    let (mut reactor, address) = reactor();
    let (mut client, mut stream) = connect(&mut reactor, address, Key::new(0, 0));
    let written = fill(&mut reactor, &mut stream);
    let start = calls::now();
    reactor.close(stream);
    assert!(calls::now() - start < 1_000_000_000, "closing has waited");

    // Meanwhile others are served.
    let other = Key::new(0, 1);
    let (second, stream) = connect(&mut reactor, address, other);
    drop(second);
    assert!(matches!(wait(&mut reactor)[..], [Event::Stream(key, _)] if key == other));
    reactor.close(stream);

    // It is dropped, without an event, when the system has taken the rest: for that the client needn't
    // read if the system may keep so much.
    let has_room = has_room();
    let mut events = Vec::new();
    if has_room && reactor.lingering() > 0 {
        wait_for_the_end(&mut reactor, 1);
    }
    assert!(!has_room || reactor.lingering() == 0, "it has to read");

    // And all arrives that was written.
    let mut received = 0;
    let mut buf = vec![0; 1 << 20];
    loop {
        match client.read(&mut buf).expect("what was written") {
            0 => break,
            length => received += length,
        }
        reactor
            .wait(&mut events, Some(Duration::ZERO))
            .expect("a wait");
        assert_eq!(events, []);
    }
    assert_eq!(received, written);
    assert!(reactor.sources.is_empty());
}

/// Waits until fewer streams linger than these. That ends a wait, and not the time-out does.
fn wait_for_the_end(reactor: &mut Wasip2Reactor, lingering: usize) {
    let start = calls::now();
    let mut events = Vec::new();
    while reactor.lingering() >= lingering {
        reactor.wait(&mut events, SOON).expect("a wait");
        assert_eq!(events, []);
        assert!(calls::now() - start < 4_000_000_000, "nothing ended a wait");
    }
}

/// This one ends when the client has gone, on any system.
#[test]
fn the_end_of_a_stream_that_lingers_ends_a_wait() {
    let (mut reactor, address) = reactor();
    let (client, mut stream) = connect(&mut reactor, address, Key::new(0, 0));
    fill(&mut reactor, &mut stream);
    reactor.set_accepting(0, false);
    reactor.close(stream);
    assert_eq!(reactor.lingering(), 1);
    drop(client);
    wait_for_the_end(&mut reactor, 1);
}

/// While one lingers, a client that comes later can't make another one linger without end.
#[test]
fn those_who_come_while_one_lingers_can_be_dropped() {
    let (mut reactor, address) = reactor();
    let (_first, mut stream) = connect(&mut reactor, address, Key::new(0, 0));
    fill(&mut reactor, &mut stream);
    // All are connected now: a wait would end the first one, where the system has room.
    let later: Vec<_> = (0..3)
        .map(|_| TcpStream::connect(address).expect("a connection"))
        .collect();
    reactor.close(stream);
    assert_eq!(reactor.lingering(), 1);
    let streams: Vec<_> = (1..4)
        .map(|number| reactor.accept(0, Key::new(number, 0)).expect("one").stream)
        .collect();
    reactor.set_accepting(0, false);
    for mut stream in streams {
        fill(&mut reactor, &mut stream);
        let before = reactor.lingering();
        reactor.close(stream);
        wait_for_the_end(&mut reactor, before + 1);
    }
    drop(later);
}

#[test]
fn a_reset_is_an_event_of_its_own() {
    let (mut reactor, address) = reactor();
    let key = Key::new(1, 1);
    let (mut client, mut stream) = connect(&mut reactor, address, key);
    fill(&mut reactor, &mut stream);
    let mut one = [0];
    client.read_exact(&mut one).expect("a byte");
    // What is not read when it closes makes the client reset.
    drop(client);
    assert!(matches!(wait(&mut reactor)[..], [Event::Stream(reported, _)] if reported == key));
    let mut buf = [0; 16];
    let ended = reactor.read(&mut stream, &mut buf);
    assert!(
        matches!(&ended, Ok(0)) || ended.is_err_and(|error| error.kind() == io::ErrorKind::Other)
    );
    reactor.close(stream);
}

#[test]
fn what_is_told_in_vain_keeps_nobody_waiting() {
    let (mut reactor, address) = reactor();
    let (mut client, mut stream) = connect(&mut reactor, address, Key::new(1, 1));
    let (_other, idle) = connect(&mut reactor, address, Key::new(2, 1));
    let mut buf = [0; 16];
    // The two are idle by the time something happens.
    let a_while = Some(Duration::from_nanos(3 * BUSY_FOR));
    let mut events = Vec::new();
    reactor.wait(&mut events, a_while).expect("a wait");
    assert_eq!(events, []);
    client.write_all(b"x").expect("room");
    assert!(matches!(wait(&mut reactor)[..], [Event::Stream(..)]));
    reactor.read(&mut stream, &mut buf).expect("a byte");
    reactor
        .wait(&mut events, Some(Duration::ZERO))
        .expect("a wait");
    // It is, by the host that this is about.
    assert!(matches!(events[..], [Event::Stream(..)]));
    let nothing = reactor.read(&mut stream, &mut buf);
    assert!(nothing.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock));
    // Just after progress: so not because nothing was busy for a while.
    let plan = reactor.planner.plan(reactor.planner.wait_ended(), 1);
    let all = Plan::All { wait: 1 };
    assert_eq!(plan, all, "the other one would have to wait");
    reactor.close(stream);
    reactor.close(idle);
}

#[test]
fn more_than_a_hundred_at_once_all_get_their_turn() {
    let (mut reactor, address) = reactor();
    let mut held = Vec::new();
    for number in 0..200 {
        held.push(connect(&mut reactor, address, Key::new(number, 0)));
    }
    for (client, _) in &mut held {
        client.write_all(b"x").expect("room");
    }
    // Nobody reads what is reported; even so, all are reported in the end.
    let mut missing: Vec<bool> = vec![true; held.len()];
    let start = calls::now();
    while missing.contains(&true) && calls::now() - start < 5_000_000_000 {
        for event in wait(&mut reactor) {
            if let Event::Stream(key, _) = event {
                missing[key.index()] = false;
            }
        }
    }
    let count = missing.iter().filter(|missing| **missing).count();
    assert_eq!(count, 0, "connections that are never reported");
    for (_, stream) in held {
        reactor.close(stream);
    }
}

#[test]
fn a_closed_listener_refuses_and_is_polled_no_more() {
    let (mut reactor, address) = reactor();
    let (mut client, mut stream) = connect(&mut reactor, address, Key::new(0, 0));
    reactor.close_listener(0).expect("it can be closed");
    let error = reactor.accept(0, Key::new(1, 0)).expect_err("no listener");
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    assert!(TcpStream::connect(address).is_err());
    // What was accepted goes on.
    client.write_all(b"hello").expect("room");
    let mut buf = [0; 8];
    assert!(matches!(wait(&mut reactor)[..], [Event::Stream(..)]));
    assert_eq!(reactor.read(&mut stream, &mut buf).expect("bytes"), 5);
    reactor.close(stream);
}
