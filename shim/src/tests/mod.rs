//! Tests of mio's contracts, on the fake runtime.

mod closing;
mod hostile;

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use wasip1_poll::fake::{Client, Fake, Faults, Personality};

use crate::event::Event;
use crate::net::{TcpListener, TcpStream, UdpSocket};
use crate::sys;
use crate::{Events, Interest, Poll, Token, Waker};

const LISTENER: Token = Token(0);
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

const PERSONALITIES: [Personality; 3] = [
    Personality::WASI_COMMON,
    Personality::WAZERO,
    Personality::STRICT,
];

/// A runtime, a poll, and a registered listener.
struct Lab {
    fake: Fake,
    poll: Poll,
    events: Events,
    listener: TcpListener,
}

impl Lab {
    fn new(personality: Personality) -> Self {
        let fake = Fake::new(personality, 0);
        sys::install(&fake);
        let mut listener = TcpListener::of(sys::TcpListener(fake.preopen_listener()));
        let poll = Poll::new().expect("a poll");
        let registry = poll.registry();
        registry
            .register(&mut listener, LISTENER, Interest::READABLE)
            .expect("a listener");
        Self {
            fake,
            poll,
            events: Events::with_capacity(64),
            listener,
        }
    }

    fn connect(&mut self) -> (Client, TcpStream) {
        let client = self.fake.connect(self.listener_fd());
        for _ in 0..100 {
            self.poll(1);
            if let Ok((stream, _)) = self.listener.accept() {
                assert!(would_block(self.listener.accept().map(drop)));
                return (client, stream);
            }
        }
        panic!("no connection to accept");
    }

    fn register(&mut self, stream: &mut TcpStream, token: usize, interests: Interest) {
        let registry = self.poll.registry();
        let registered = registry.register(stream, Token(token), interests);
        registered.expect("a new source");
    }

    fn listener_fd(&self) -> u32 {
        3
    }

    /// The events of a poll with this timeout, except those of the listener.
    fn poll(&mut self, millis: u64) -> Vec<Event> {
        let timeout = Duration::from_millis(millis);
        let result = self.poll.poll(&mut self.events, Some(timeout));
        result.expect("no fault of a connection is the poll's");
        let events = self.events.iter().cloned();
        events.filter(|event| event.token() != LISTENER).collect()
    }

    /// The first event within 200 ms for which `is` is true.
    fn wait(&mut self, is: impl Fn(&Event) -> bool) -> Option<Event> {
        let end = self.fake.now() + 200_000_000;
        while self.fake.now() < end {
            if let Some(event) = self.poll(10).into_iter().find(&is) {
                return Some(event);
            }
        }
        None
    }
}

fn would_block(result: io::Result<()>) -> bool {
    matches!(result, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// Reads until `WouldBlock`.
fn drain(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buf = [0; 16];
    loop {
        match stream.read(&mut buf) {
            Ok(0) => return all,
            Ok(count) => all.extend_from_slice(&buf[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return all,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_direction_is_reported_once_until_it_would_block() {
    for personality in PERSONALITIES {
        let mut lab = Lab::new(personality);
        let (client, mut stream) = lab.connect();
        lab.register(&mut stream, 1, Interest::READABLE);
        client.send(b"hello");
        assert!(lab.wait(Event::is_readable).is_some());
        client.send(b", again");
        assert!(lab.wait(|_| true).is_none(), "{personality:?}");
        assert_eq!(drain(&mut stream), b"hello, again");
        client.send(b"!");
        assert!(lab.wait(Event::is_readable).is_some());
    }
}

#[test]
fn one_event_reports_both_directions_but_each_is_armed_separately() {
    for personality in PERSONALITIES {
        let mut lab = Lab::new(personality);
        let (client, mut stream) = lab.connect();
        client.send(b"hello");
        lab.register(&mut stream, 1, BOTH);
        let event = lab.wait(Event::is_writable).expect("writable");
        let readable = event.is_readable() || lab.wait(Event::is_readable).is_some();
        assert!(readable && event.token() == Token(1));
        assert_eq!(event.is_readable(), !personality.blind || event.is_readable());
        drain(&mut stream);
        client.send(b"more");
        let event = lab.wait(|_| true).expect("more to read");
        assert!(event.is_readable() && !event.is_writable());
        // When the socket is full, writing is armed, but reading isn't.
        client.set_room(10);
        assert_eq!(stream.write(&[0; 100]).expect("room"), 10);
        assert!(would_block(stream.write(&[0; 90]).map(drop)));
        if !personality.blind {
            assert!(lab.wait(|_| true).is_none(), "{personality:?}");
        }
        drop(client.receive());
        let event = lab.wait(Event::is_writable).expect("room");
        assert!(!event.is_readable());
    }
}

#[test]
fn a_request_costs_no_call_that_would_block() {
    let mut lab = Lab::new(Personality::WASI_COMMON);
    let (client, mut stream) = lab.connect();
    lab.register(&mut stream, 1, BOTH);
    lab.wait(Event::is_writable);
    drain(&mut stream);
    let before = lab.fake.counts().again;
    for _ in 0..10 {
        client.send(b"hello");
        lab.wait(Event::is_readable).expect("a request");
        assert_eq!(drain(&mut stream), b"hello");
    }
    assert_eq!(lab.fake.counts().again, before);
}

#[test]
fn nothing_is_reported_after_deregister() {
    for personality in PERSONALITIES {
        let mut lab = Lab::new(personality);
        let mut streams: Vec<_> = (0..8).map(|_| lab.connect()).collect();
        for (token, (client, stream)) in (1..).zip(&mut streams) {
            client.send(b"hello");
            lab.register(stream, token, BOTH);
        }
        // There is room for one event, so the others stay pending.
        lab.events = Events::with_capacity(1);
        let first = lab.wait(|_| true).expect("an event").token();
        let registry = lab.poll.registry().try_clone().expect("another");
        for (_, stream) in &mut streams {
            registry.deregister(stream).expect("registered");
        }
        assert!(lab.wait(|_| true).is_none(), "{personality:?}");
        // Another stream gets the token.
        let (_, stream) = &mut streams[7];
        lab.register(stream, first.0, BOTH);
        assert_eq!(lab.wait(|_| true).expect("an event").token(), first);
        let again = registry.register(stream, first, BOTH);
        assert_eq!(again.expect_err("is").kind(), ErrorKind::AlreadyExists);
        registry.deregister(stream).expect("registered");
        let gone = registry.deregister(stream).expect_err("isn't");
        assert_eq!(gone.kind(), ErrorKind::NotFound);
        assert_eq!(
            registry
                .reregister(stream, first, BOTH)
                .expect_err("isn't")
                .kind(),
            ErrorKind::NotFound
        );
    }
}

#[test]
fn reregistering_reports_again_with_the_new_token() {
    for personality in PERSONALITIES {
        let mut lab = Lab::new(personality);
        let (client, mut stream) = lab.connect();
        lab.register(&mut stream, 1, Interest::WRITABLE);
        client.send(b"hello");
        let event = lab.wait(|_| true).expect("room");
        assert!(event.is_writable() && !event.is_readable());
        for token in [2, 3] {
            let registry = lab.poll.registry();
            registry
                .reregister(&mut stream, Token(token), Interest::READABLE)
                .expect("registered");
            let event = lab.wait(|_| true).expect("data");
            assert!(event.is_readable() && !event.is_writable());
            assert_eq!(event.token(), Token(token));
        }
        let other = Poll::new().expect("another");
        let error = other.registry().reregister(&mut stream, Token(2), BOTH);
        assert_eq!(error.expect_err("not here").kind(), ErrorKind::AlreadyExists);
    }
}

#[test]
fn a_reset_is_reported_as_an_event() {
    for personality in [Personality::WASI_COMMON, Personality::WAZERO] {
        let mut lab = Lab::new(personality);
        let (client, mut stream) = lab.connect();
        let (other, mut well) = lab.connect();
        lab.register(&mut stream, 1, BOTH);
        lab.register(&mut well, 2, Interest::READABLE);
        lab.wait(|event| event.token() == Token(1));
        drain(&mut stream);
        drain(&mut well);
        client.reset();
        other.send(b"hello");
        let event = lab.wait(|event| event.token() == Token(1)).expect("it");
        assert!(event.is_readable());
        if !personality.blind {
            assert!(event.is_error() && event.is_read_closed() && event.is_write_closed());
        }
        let error = stream.read(&mut [0; 8]).expect_err("a reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(drain(&mut well), b"hello");
    }
}

#[test]
fn a_bad_file_descriptor_is_reported_to_its_owner() {
    let mut lab = Lab::new(Personality::WASI_COMMON);
    let (client, mut stream) = lab.connect();
    lab.register(&mut stream, 1, Interest::READABLE);
    lab.fake.steal(client.fd().expect("accepted"));
    let event = lab.wait(|_| true).expect("it");
    assert!(event.is_error() && event.is_readable());
    assert!(stream.read(&mut [0; 8]).is_err());
    assert!(lab.wait(|_| true).is_none());
}

#[test]
fn after_an_event_with_an_error_no_call_returns_would_block() {
    let mut lab = Lab::new(Personality::WASI_COMMON);
    let (_client, mut stream) = lab.connect();
    lab.register(&mut stream, 1, BOTH);
    lab.wait(Event::is_writable);
    drain(&mut stream);
    let mut faults = Faults::NONE;
    (faults.spurious, faults.event_error) = (1000, 1000);
    lab.fake.set_faults(faults);
    // The runtime reports an error although there is none. A user that remembers this must not spin.
    lab.wait(Event::is_read_closed).expect("a false report");
    lab.fake.set_faults(Faults::NONE);
    let error = stream.read(&mut [0; 8]).expect_err("the reported error");
    assert_ne!(error.kind(), ErrorKind::WouldBlock);
}

/// The runtime reports a hang-up when both ends have shut down writing. What the peer sent before, and the end of its
/// stream, are still to be read.
#[test]
fn after_a_hang_up_a_short_read_is_followed_by_the_end() {
    for reads_early in [false, true] {
        let mut lab = Lab::new(Personality::WASI_COMMON);
        let (client, mut stream) = lab.connect();
        lab.register(&mut stream, 1, Interest::READABLE);
        drain(&mut stream);
        stream.shutdown(Shutdown::Write).expect("connected");
        client.send(b"bye");
        if reads_early {
            assert_eq!(stream.read(&mut [0; 16]).expect("data"), 3);
        }
        client.end();
        lab.wait(Event::is_read_closed).expect("a hang-up");
        if !reads_early {
            assert_eq!(stream.read(&mut [0; 16]).expect("data"), 3);
        }
        assert_eq!(stream.read(&mut [0; 16]).expect("the end"), 0);
    }
}

#[test]
fn try_io_arms_the_direction_that_would_block() {
    for personality in PERSONALITIES {
        let mut lab = Lab::new(personality);
        let (client, mut stream) = lab.connect();
        lab.register(&mut stream, 1, BOTH);
        lab.wait(Event::is_writable);
        drain(&mut stream);
        client.send(b"hello");
        lab.wait(Event::is_readable).expect("data");
        let result = stream.try_io(|| Err::<(), _>(ErrorKind::WouldBlock.into()));
        assert!(would_block(result));
        // There is data, and there is room. Either direction may be the one that would block.
        assert!(lab.wait(Event::is_readable).is_some(), "{personality:?}");
        assert_eq!(stream.try_io(|| Ok(5)).expect("well"), 5);
        drain(&mut stream);
        lab.poll(1);
        drain(&mut stream);
        // Now only reading can block, and a user that tries after each event must not spin.
        let mut woken = 0;
        for _ in 0..100 {
            if lab.poll(1).iter().any(|event| event.token() == Token(1)) {
                woken += 1;
                assert!(would_block(
                    stream.try_io(|| Err::<(), _>(ErrorKind::WouldBlock.into()))
                ));
            }
        }
        assert!(personality.blind || woken < 10, "{woken}, {personality:?}");
        client.send(b"more");
        assert!(lab.wait(Event::is_readable).is_some());
    }
}

#[test]
fn a_poll_lasts_as_long_as_its_timeout() {
    for personality in PERSONALITIES {
        let mut lab = Lab::new(personality);
        let (_client, mut stream) = lab.connect();
        lab.register(&mut stream, 1, Interest::READABLE);
        drain(&mut stream);
        while lab.listener.accept().is_ok() {}
        for millis in [0, 1, 7, 50, 3000] {
            // On a blind runtime, spurious events end polls early. So this tries everything and polls again.
            let before = lab.fake.now();
            let until = before + millis * 1_000_000;
            loop {
                let left = until.saturating_sub(lab.fake.now());
                let timeout = Duration::from_nanos(left);
                lab.poll.poll(&mut lab.events, Some(timeout)).expect("well");
                drain(&mut stream);
                assert!(lab.listener.accept().is_err());
                if lab.events.is_empty() || lab.fake.now() >= until {
                    break;
                }
            }
            let took = lab.fake.now() - before;
            let (least, most) = (millis * 1_000_000, millis * 1_000_000 + 5_000_000);
            assert!((least..most).contains(&took), "{took} instead of {least}");
        }
    }
}

#[test]
fn idle_connections_cost_no_calls() {
    let mut lab = Lab::new(Personality::WASI_COMMON);
    let mut streams: Vec<_> = (0..100).map(|_| lab.connect()).collect();
    for (token, (_, stream)) in (1..).zip(&mut streams) {
        lab.register(stream, token, BOTH);
    }
    let all = |lab: &mut Lab, streams: &mut Vec<(Client, TcpStream)>| {
        for event in lab.poll(100) {
            drain(&mut streams[event.token().0 - 1].1);
        }
        while lab.listener.accept().is_ok() {}
    };
    for _ in 0..20 {
        all(&mut lab, &mut streams);
    }
    let before = lab.fake.counts().all;
    for _ in 0..10 {
        all(&mut lab, &mut streams);
    }
    let calls = lab.fake.counts().all - before;
    // Per poll: the wait, the clock around it, and this test's own accept.
    assert!(calls <= 100, "{calls} calls in a second");
}

#[test]
fn a_listener_keeps_accepted_connections_when_it_is_registered_again() {
    let fake = Fake::new(Personality::WASI_COMMON, 0);
    sys::install(&fake);
    let fd = fake.preopen_listener();
    let client = fake.connect(fd);
    let mut listener = TcpListener::of(sys::TcpListener(fd));
    let mut poll = Poll::new().expect("a poll");
    let registry = poll.registry().try_clone().expect("another");
    for _ in 0..3 {
        // Registering tries to accept.
        registry
            .register(&mut listener, LISTENER, Interest::READABLE)
            .expect("a listener");
        let mut events = Events::with_capacity(4);
        poll.poll(&mut events, Some(Duration::from_secs(1)))
            .expect("well");
        assert!(events.iter().any(Event::is_readable));
        registry.deregister(&mut listener).expect("registered");
    }
    assert!(!client.is_closed());
    let (mut stream, _) = listener.accept().expect("the connection");
    stream.write_all(b"hello").expect("room");
    assert_eq!(client.receive(), b"hello");
    assert!(would_block(listener.accept().map(drop)));
}

#[test]
fn unsupported_calls_fail_with_a_text_that_names_preview_1() {
    let lab = Lab::new(Personality::WASI_COMMON);
    let addr = ([127, 0, 0, 1], 80).into();
    let errors = [
        TcpListener::bind(addr).map(drop),
        TcpStream::connect(addr).map(drop),
        UdpSocket::bind(addr).map(drop),
        Waker::new(lab.poll.registry(), Token(1)).map(drop),
    ];
    for error in errors {
        let error = error.expect_err("not here");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("preview 1"), "{error}");
    }
}

#[test]
fn interests_are_sets() {
    let mut interest = Interest::READABLE;
    interest |= Interest::WRITABLE;
    assert_eq!(interest, BOTH);
    assert_eq!(format!("{interest:?}"), "READABLE | WRITABLE");
    assert_eq!(BOTH.remove(Interest::READABLE), Some(Interest::WRITABLE));
    assert_eq!(Interest::READABLE.remove(BOTH), None);
}
