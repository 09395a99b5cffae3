//! Tests of the reactor with real sockets. They run inside the runtime, and each test is its own client.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use poll_turns::{BUSY_FOR, Plan};
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::network::IpAddressFamily;
use wasip2::sockets::tcp_create_socket::create_tcp_socket;

use super::*;
use crate::reactor::Readiness;

const SOON: Option<Duration> = Some(Duration::from_secs(5));

/// A reactor with one listener, and the listener's address.
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
    assert_eq!(accepted.peer.address(), client.local_addr().ok());
    (client, accepted.stream)
}

/// Writes until there is no more room. Returns how many bytes were written.
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

/// Whether the system permits the buffer that a closed stream asks for.
fn has_room() -> bool {
    let socket = create_tcp_socket(IpAddressFamily::Ipv4).expect("a socket");
    let _ = calls::set_send_buffer_size(&socket, Source::CLOSED_SEND_BUFFER);
    socket
        .send_buffer_size()
        .is_ok_and(|size| size == Source::CLOSED_SEND_BUFFER)
}

#[test]
fn a_connection_is_accepted_read_written_and_closed() {
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

    let output = [b"hello ".as_slice(), b"world"].map(IoSlice::new);
    assert_eq!(reactor.write(&mut stream, &output).expect("room"), 11);
    reactor.shutdown_write(&mut stream).expect("a shutdown");
    let mut received = String::new();
    client.read_to_string(&mut received).expect("the output");
    assert_eq!(received, "hello world");

    drop(client);
    assert_eq!(wait(&mut reactor), [Event::Stream(key, readable)]);
    // The first read may still be `WouldBlock`: the bytes that were read before may be reported once more.
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
fn closing_a_stream_whose_client_doesnt_read_blocks_no_other() {
    let (mut reactor, address) = reactor();
    let (mut client, mut stream) = connect(&mut reactor, address, Key::new(0, 0));
    let written = fill(&mut reactor, &mut stream);
    let start = calls::now();
    reactor.close(stream);
    assert!(calls::now() - start < 1_000_000_000, "closing has blocked");

    // Meanwhile other connections are served.
    let other = Key::new(0, 1);
    let (second, stream) = connect(&mut reactor, address, other);
    drop(second);
    assert!(matches!(wait(&mut reactor)[..], [Event::Stream(key, _)] if key == other));
    reactor.close(stream);

    // The stream is dropped, without an event, when the system has taken the rest. If the system's buffer is
    // large enough for it, the client needn't read for that.
    let has_room = has_room();
    let mut events = Vec::new();
    if has_room && reactor.lingering() > 0 {
        wait_for_the_end(&mut reactor, 1);
    }
    assert!(
        !has_room || reactor.lingering() == 0,
        "it lingers until the client reads"
    );

    // And the client receives everything that was written.
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

/// Waits until fewer than `lingering` streams linger. Fails if a wait ends with its timeout instead.
fn wait_for_the_end(reactor: &mut Wasip2Reactor, lingering: usize) {
    let start = calls::now();
    let mut events = Vec::new();
    while reactor.lingering() >= lingering {
        reactor.wait(&mut events, SOON).expect("a wait");
        assert_eq!(events, []);
        assert!(calls::now() - start < 4_000_000_000, "nothing ended a wait");
    }
}

/// The stream can be dropped when the client has gone, on any system.
#[test]
fn wait_returns_when_a_lingering_stream_can_be_dropped() {
    let (mut reactor, address) = reactor();
    let (client, mut stream) = connect(&mut reactor, address, Key::new(0, 0));
    fill(&mut reactor, &mut stream);
    reactor.set_accepting(0, false);
    reactor.close(stream);
    assert_eq!(reactor.lingering(), 1);
    drop(client);
    wait_for_the_end(&mut reactor, 1);
}

/// While one stream lingers, a client that connects later can't make its own linger without end.
#[test]
fn streams_accepted_while_one_lingers_can_be_dropped() {
    let (mut reactor, address) = reactor();
    let (_first, mut stream) = connect(&mut reactor, address, Key::new(0, 0));
    fill(&mut reactor, &mut stream);
    // These clients connect before the close: a wait after it would drop the first stream if the system has room.
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
fn a_reset_is_reported_as_an_event() {
    let (mut reactor, address) = reactor();
    let key = Key::new(1, 1);
    let (mut client, mut stream) = connect(&mut reactor, address, key);
    fill(&mut reactor, &mut stream);
    let mut one = [0];
    client.read_exact(&mut one).expect("a byte");
    // The client has unread input, so closing its socket resets the connection.
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
fn a_spurious_report_does_not_delay_idle_connections() {
    let (mut reactor, address) = reactor();
    let (mut client, mut stream) = connect(&mut reactor, address, Key::new(1, 1));
    let (_other, idle) = connect(&mut reactor, address, Key::new(2, 1));
    let mut buf = [0; 16];
    // After this wait both connections are idle.
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
    // The host reports the drained stream once more.
    assert!(matches!(events[..], [Event::Stream(..)]));
    let nothing = reactor.read(&mut stream, &mut buf);
    assert!(nothing.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock));
    // There was progress just now. So if the plan is `All`, that isn't because nothing was busy for a while.
    let plan = reactor.planner.plan(reactor.planner.wait_ended(), 1);
    let all = Plan::All { wait: 1 };
    assert_eq!(plan, all, "the idle connection would have to wait");
    reactor.close(stream);
    reactor.close(idle);
}

#[test]
fn more_ready_streams_than_one_poll_reports_are_all_reported() {
    let (mut reactor, address) = reactor();
    let mut held = Vec::new();
    for number in 0..200 {
        held.push(connect(&mut reactor, address, Key::new(number, 0)));
    }
    for (client, _) in &mut held {
        client.write_all(b"x").expect("room");
    }
    // Even though none of them is read, all are reported in the end.
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
fn a_closed_listener_refuses_connections_and_is_not_polled() {
    let (mut reactor, address) = reactor();
    let (mut client, mut stream) = connect(&mut reactor, address, Key::new(0, 0));
    reactor.close_listener(0).expect("it can be closed");
    let error = reactor.accept(0, Key::new(1, 0)).expect_err("no listener");
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    assert!(TcpStream::connect(address).is_err());
    // A connection that was accepted before goes on.
    client.write_all(b"hello").expect("room");
    let mut buf = [0; 8];
    assert!(matches!(wait(&mut reactor)[..], [Event::Stream(..)]));
    assert_eq!(reactor.read(&mut stream, &mut buf).expect("bytes"), 5);
    reactor.close(stream);
}
