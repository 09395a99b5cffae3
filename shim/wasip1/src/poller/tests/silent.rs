//! Tests on runtimes where calls return success and do nothing.

use super::*;

/// Runtimes where `fd_close` has no effect until later.
const LATE: [Personality; 3] = [
    Personality::WAZERO,
    Personality::HOSTILE_BLIND,
    Personality::SILENT,
];

#[test]
fn a_peer_sees_the_end_at_once_even_if_closing_does_nothing() {
    for personality in LATE {
        let mut server = Server::new(personality);
        server.fake.set_faults(Faults::NONE);
        // First before the runtime is known to be blind, then afterwards.
        let (first, stream) = server.accept(1);
        server.poller.close(stream);
        assert!(first.is_at_end() && first.is_closed());
        server.wait(0);
        assert!(server.poller.is_blind());
        let (second, stream) = server.accept(2);
        server.poller.close(stream);
        assert!(second.is_at_end() && second.is_closed());
        // What the client sends now resets the connection.
        second.send(b"more");
        assert!(second.is_reset());
        assert_eq!(server.fake.violations(), [""; 0]);
    }
}

#[test]
fn a_kept_connection_sees_the_end_too() {
    for personality in LATE {
        let fake = Fake::new(personality, 0);
        fake.set_faults(Faults::NONE);
        let fd = fake.preopen_listener();
        let client = fake.connect(fd);
        let mut poller = Poller::new(fake.clone());
        let listener = poller.register_listener(fd, LISTENER).expect("a listener");
        assert!(client.accepted_at().is_some());
        // A listener is only closed and not shut down, because another process may share it.
        poller.close(listener);
        assert!(client.is_at_end() && client.is_closed());
        assert_eq!(fake.violations(), [""; 0]);
    }
}

#[test]
fn a_runtime_that_checks_sockets_gets_no_shutdown_before_close() {
    for personality in [Personality::WASI_COMMON, Personality::STRICT] {
        let mut server = Server::new(personality);
        server.wait(0);
        let (client, stream) = server.accept(1);
        let before = server.fake.counts().all;
        server.poller.close(stream);
        assert_eq!(server.fake.counts().all - before, 1);
        assert!(client.is_closed());
    }
}

#[test]
fn a_listener_that_stays_blocking_is_not_tried_before_it_was_reported() {
    let fake = Fake::new(Personality::STRICT, 0);
    fake.set_silence(Silence {
        listener_flags: true,
        ..Silence::NONE
    });
    let fd = fake.preopen_listener();
    fake.make_blocking(fd);
    let mut poller = Poller::new(fake.clone());
    let listener = poller.register_listener(fd, LISTENER).expect("a listener");
    let mut ready = Vec::new();
    poller
        .wait(&mut ready, Some(Duration::from_millis(10)))
        .expect("a wait never fails here");
    assert_eq!(ready, []);
    let client = fake.connect(fd);
    poller
        .wait(&mut ready, None)
        .expect("a wait never fails here");
    assert!(of(&ready, LISTENER).is_some());
    assert_eq!(poller.accept(&listener).ok(), client.fd());
}

#[test]
fn connections_are_made_non_blocking_even_if_sock_accept_ignores_the_flag() {
    for personality in ALL {
        let mut server = Server::new(personality);
        server.fake.set_silence(Silence {
            accept_flags: true,
            ..Silence::NONE
        });
        let mut buf = [0; 16];
        for token in 0..3 {
            let (_client, stream) = server.accept(token);
            assert_eq!(server.poller.read(&stream, &mut buf), Err(Errno::AGAIN));
        }
    }
}

#[test]
fn a_write_that_returns_0_becomes_again() {
    for personality in ALL {
        let mut server = Server::new(personality);
        server.fake.set_silence(Silence {
            write: true,
            ..Silence::NONE
        });
        let (client, stream) = server.accept(1);
        client.set_room(2);
        let mut write = |bytes: &[u8]| server.poller.write(&stream, &[IoSlice::new(bytes)]);
        assert_eq!(write(b"hello"), Ok(2));
        assert_eq!(write(b"llo"), Err(Errno::AGAIN));
        assert_eq!(write(b""), Ok(0));
        assert_eq!(client.receive(), b"he");
        assert_eq!(write(b"llo"), Ok(2));
    }
}

#[test]
fn on_a_blind_runtime_each_slice_is_a_write_of_its_own() {
    for personality in ALL {
        let mut server = Server::new(personality);
        server.wait(0);
        let (client, stream) = server.accept(1);
        let slices = [b"".as_slice(), b"ab", b"cd"].map(IoSlice::new);
        assert_eq!(server.poller.write(&stream, &slices), Ok(4));
        assert_eq!(client.receive(), b"abcd");
        let writes = server.fake.counts().writes;
        assert_eq!(writes, if personality.blind { 2 } else { 1 });
        server.poller.close(stream);
    }
}

#[test]
fn ready_now_polls_each_direction_separately() {
    for personality in ALL {
        let mut server = Server::new(personality);
        server.wait(0);
        let (client, stream) = server.accept(1);
        let write = !personality.blind;
        let expected = Interest { read: false, write };
        assert_eq!(server.poller.ready_now(&stream), expected);
        client.send(b"x");
        let expected = Interest { read: write, write };
        assert_eq!(server.poller.ready_now(&stream), expected);
        server.poller.close(stream);
    }
}
