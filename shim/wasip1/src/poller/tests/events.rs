//! Tests with few connections: what is reported of them, and that faults stay with their connection.

use super::*;

#[test]
fn a_blind_runtime_is_detected() {
    for personality in ALL {
        let mut server = Server::new(personality);
        server.wait(0);
        assert_eq!(server.poller.is_blind(), personality.blind);
    }
}

/// Polls that report nothing, or an error, don't decide it.
#[test]
fn a_blind_runtime_is_detected_despite_faults() {
    for personality in ALL {
        for seed in 0..100 {
            let fake = Fake::new(personality, seed);
            let fd = fake.preopen_listener();
            let mut poller = Poller::new(fake.clone());
            let _listener = poller.register_listener(fd, LISTENER).expect("a listener");
            let mut faults = Faults::NONE;
            (faults.poll_fails, faults.poll_is_empty, faults.event_error) = (100, 300, 100);
            fake.set_faults(faults);
            poller
                .wait(&mut Vec::new(), Some(Duration::ZERO))
                .expect("a wait");
            assert_eq!(poller.is_blind(), personality.blind, "with seed {seed}");
        }
    }
}

#[test]
fn a_connection_before_the_first_wait_is_kept() {
    for personality in ALL {
        let fake = Fake::new(personality, 0);
        let fd = fake.preopen_listener();
        let clients = [fake.connect(fd), fake.connect(fd), fake.connect(fd)];
        let mut poller = Poller::new(fake.clone());
        let listener = poller.register_listener(fd, LISTENER).expect("a listener");
        let mut ready = Vec::new();
        poller
            .wait(&mut ready, None)
            .expect("a wait never fails here");
        assert!(of(&ready, LISTENER).is_some_and(|ready| ready.listener && ready.readable));
        assert_eq!(poller.is_blind(), personality.blind);
        for client in &clients {
            let fd = poller.accept(&listener).expect("a connection");
            assert_eq!(client.fd(), Some(fd));
        }
        assert_eq!(poller.accept(&listener), Err(Errno::AGAIN));
    }
}

#[test]
fn a_kept_connection_that_something_else_closed_is_not_returned() {
    for personality in ALL {
        let fake = Fake::new(personality, 0);
        let fd = fake.preopen_listener();
        let (first, second) = (fake.connect(fd), fake.connect(fd));
        let mut poller = Poller::new(fake.clone());
        let listener = poller.register_listener(fd, LISTENER).expect("a listener");
        let stolen = first.fd().expect("it was accepted");
        fake.steal(stolen);
        assert_eq!(poller.accept(&listener).ok(), second.fd());
        assert_eq!(poller.accept(&listener), Err(Errno::AGAIN));
        assert_eq!(fake.violations(), [""; 0]);
    }
}

#[test]
fn one_event_reports_both_directions() {
    for personality in ALL {
        let mut server = Server::new(personality);
        server.wait(0);
        let (client, stream) = server.accept(1);
        server.poller.set_interest(
            &stream,
            Interest {
                read: true,
                write: true,
            },
        );
        client.send(b"hello");
        let ready = of(&server.wait(100), 1).expect("an event");
        assert!(ready.readable && ready.writable && !ready.listener);
        let mut buf = [0; 16];
        assert_eq!(server.poller.read(&stream, &mut buf), Ok(5));
        assert_eq!(server.poller.read(&stream, &mut buf), Err(Errno::AGAIN));
        assert_eq!(server.poller.write(&stream, &[IoSlice::new(b"hi")]), Ok(2));
        assert_eq!(client.receive(), b"hi");
        server.poller.close(stream);
        assert!(client.is_closed());
        assert_eq!(server.fake.violations(), [""; 0]);
    }
}

#[test]
fn a_wait_ends_at_its_timeout() {
    for personality in [Personality::WASI_COMMON, Personality::STRICT] {
        let mut server = Server::new(personality);
        let (_client, _stream) = server.accept(1);
        server.wait(0);
        let before = server.fake.now();
        assert_eq!(server.wait(250), []);
        let waited = server.fake.now() - before;
        assert!((250_000_000..252_000_000).contains(&waited), "{waited}");
    }
}

/// If the clock fails after the poll, it isn't known how much time is left. The wait must not begin again.
#[test]
fn a_wait_ends_at_its_timeout_even_if_the_clock_fails() {
    for personality in ALL {
        for seed in 0..100 {
            let fake = Fake::new(personality, seed);
            let fd = fake.preopen_listener();
            let mut poller = Poller::new(fake.clone());
            let listener = poller.register_listener(fd, LISTENER).expect("a listener");
            poller
                .wait(&mut Vec::new(), Some(Duration::ZERO))
                .expect("a wait");
            // Nothing is polled, so that only the clock ends the wait.
            poller.set_interest(&listener, Interest::NONE);
            // A quarter of its results are errors, the others are up to 1 ms too low.
            fake.set_faults(Faults {
                clock: 1000,
                ..Faults::NONE
            });
            let before = fake.now();
            let timeout = Duration::from_millis(250);
            poller
                .wait(&mut Vec::new(), Some(timeout))
                .expect("a wait never fails here");
            let waited = fake.now() - before;
            assert!(waited < 253_000_000, "{waited} with seed {seed}");
        }
    }
}

/// Events without progress make waits slower, but not longer than their timeout.
#[test]
fn a_wait_that_is_slowed_down_ends_at_its_timeout() {
    let mut server = Server::new(Personality::STRICT);
    let (_client, stream) = server.accept(1);
    server.wait(0);
    for _ in 0..100 {
        server.fake.set_faults(Faults {
            spurious: 1000,
            ..Faults::NONE
        });
        assert_ne!(server.wait(20), []);
        assert_eq!(server.poller.read(&stream, &mut [0; 1]), Err(Errno::AGAIN));
    }
    server.fake.set_faults(Faults::NONE);
    let before = server.fake.now();
    assert_eq!(server.wait(20), []);
    let waited = server.fake.now() - before;
    assert!((20_000_000..20_100_000).contains(&waited), "{waited}");
}

#[test]
fn a_bad_fd_is_reported_to_its_owner_only() {
    for personality in [Personality::WASI_COMMON, Personality::STRICT] {
        let mut server = Server::new(personality);
        server.wait(0);
        let (_one, first) = server.accept(1);
        let (two, second) = server.accept(2);
        server.fake.steal(first.fd());
        let bad = of(&server.wait(100), 1).expect("an event");
        assert!(bad.readable && bad.read_closed);
        assert_eq!(bad.error, Some(Errno::BADF));
        let mut buf = [0; 16];
        assert_eq!(server.poller.read(&first, &mut buf), Err(Errno::BADF));
        two.send(b"hello");
        let ready = server.wait(100);
        assert_eq!(of(&ready, 1), None);
        assert!(of(&ready, 2).is_some_and(|ready| ready.readable));
        // Another connection gets the number. Closing the evicted registration must not close it.
        let (three, third) = server.accept(3);
        assert_eq!(third.fd(), first.fd());
        server.poller.close(first);
        assert!(!three.is_closed());
        server.poller.close(second);
        server.poller.close(third);
        assert_eq!(server.fake.open_streams(), 0);
        assert_eq!(server.fake.violations(), [""; 0]);
    }
}

#[test]
fn a_reset_is_reported_as_an_event() {
    let mut server = Server::new(Personality::WASI_COMMON);
    server.wait(0);
    let (client, stream) = server.accept(1);
    client.reset();
    let ready = of(&server.wait(100), 1).expect("an event");
    assert!(ready.readable && ready.read_closed);
    assert_eq!(ready.error, Some(Errno::IO));
    assert_eq!(
        server.poller.read(&stream, &mut [0; 1]),
        Err(Errno::CONNRESET)
    );
    server.poller.close(stream);
}

#[test]
fn a_closed_stream_has_no_events_even_if_its_number_is_used_again() {
    for personality in ALL {
        let mut server = Server::new(personality);
        server.wait(0);
        let (one, first) = server.accept(1);
        one.send(b"hello");
        let fd = first.fd();
        server.poller.close(first);
        let (two, second) = server.accept(2);
        assert_eq!(second.fd(), fd);
        two.send(b"hello");
        let ready = server.wait(10);
        assert_eq!(of(&ready, 1), None);
        assert!(of(&ready, 2).is_some());
    }
}

#[test]
fn a_directory_is_no_listener() {
    let fake = Fake::new(Personality::WASI_COMMON, 0);
    let fd = fake.preopen_directory("/");
    let mut poller = Poller::new(fake);
    let error = poller
        .register_listener(fd, LISTENER)
        .expect_err("no listener");
    assert!(
        error.to_string().contains("fd 3 is not a listening socket"),
        "{error}"
    );
}

#[test]
fn a_blind_runtime_gets_few_calls_when_nothing_happens() {
    let mut server = Server::new(Personality::WAZERO);
    server.wait(0);
    let streams: Vec<_> = (0..40).map(|token| server.accept(token)).collect();
    let rest = |server: &mut Server| {
        let until = server.fake.now() + 1_000_000_000;
        let mut tried = 0;
        while server.fake.now() < until {
            for ready in server.wait(1000) {
                tried += 1;
                if ready.listener {
                    assert_eq!(server.poller.accept(&server.listener), Err(Errno::AGAIN));
                } else {
                    let stream = &streams[ready.token as usize].1;
                    assert_eq!(server.poller.read(stream, &mut [0; 8]), Err(Errno::AGAIN));
                }
            }
        }
        tried
    };
    rest(&mut server);
    let tried = rest(&mut server);
    // At 1.6 µs each, 2 % of a second are 12,500 tries.
    assert!((8_000..12_500).contains(&tried), "{tried}");
}

#[test]
fn a_list_that_is_too_long_for_the_host_is_polled_in_parts() {
    for most_subscriptions in [8, 20, 99] {
        for personality in [Personality::WASI_COMMON, Personality::STRICT] {
            let mut server = Server::new(Personality {
                most_subscriptions,
                ..personality
            });
            server.wait(0);
            let both = Interest {
                read: true,
                write: true,
            };
            let connections: Vec<_> = (0..50).map(|token| server.accept(token)).collect();
            for (client, registration) in &connections {
                client.set_room(0);
                server.poller.set_interest(registration, both);
            }
            for (token, (client, registration)) in (0..).zip(&connections) {
                client.send(b"ab");
                let found = (0..100).any(|_| of(&server.wait(20), token).is_some());
                assert!(found, "{token} is found");
                let mut buf = [0; 8];
                assert_eq!(server.poller.read(registration, &mut buf), Ok(2));
            }
            assert_eq!(server.fake.violations(), [""; 0]);
        }
    }
}

/// An owner that only waits for room to write must get the event, too.
#[test]
fn an_eviction_is_reported_in_the_direction_of_interest() {
    for personality in ALL {
        let mut server = Server::new(personality);
        let (_client, stream) = server.accept(1);
        let interest = Interest {
            read: false,
            write: true,
        };
        server.poller.set_interest(&stream, interest);
        server.fake.steal(stream.fd());
        let reported = (0..10).find_map(|_| {
            let found = of(&server.wait(10), 1);
            // On a blind runtime, only a call finds the bad file descriptor.
            if personality.blind && found.is_some() {
                let _ = server.poller.write(&stream, &[IoSlice::new(b"x")]);
            }
            found.filter(|ready| ready.error.is_some())
        });
        assert!(reported.is_some_and(|ready| ready.writable), "{reported:?}");
        server.poller.close(stream);
    }
}

/// A wait doesn't report them: a poll for writing would always end at once.
#[test]
fn failures_of_streams_without_interest_are_found() {
    for personality in ALL {
        let mut server = Server::new(personality);
        server.wait(0);
        let mut failed = Vec::new();
        let streams: Vec<_> = (1..100).map(|token| server.accept(token)).collect();
        assert!(!server.poller.find_failed(&mut failed));
        for (token, (client, stream)) in (1..).zip(&streams) {
            server.poller.set_interest(stream, Interest::NONE);
            client.send(b"more");
            match token % 4 {
                0 => client.reset(),
                1 => client.end(),
                2 => client.set_room(0),
                _ => {}
            }
        }
        server.wait(20);
        assert!(server.poller.find_failed(&mut failed));
        let found: Vec<u64> = failed.iter().map(|ready| ready.token).collect();
        let expected: Vec<u64> = match personality.blind {
            true => Vec::new(),
            false => (1..25).map(|number| number * 4).collect(),
        };
        assert_eq!(found, expected);
        assert!(
            failed
                .iter()
                .all(|it| it.error.is_some() && !it.readable && !it.writable)
        );
        assert_eq!(server.fake.violations(), [""; 0]);
    }
}

/// Writes a response that is the last, and ends the stream. Returns what the client has before the end, and how many
/// calls it took.
fn write_last(server: &mut Server) -> (usize, u64) {
    let (client, stream) = server.accept(1);
    let before = server.fake.counts().all;
    let bufs = [IoSlice::new(b"hello"), IoSlice::new(b" there")];
    assert_eq!(server.poller.write_last(&stream, &bufs), Ok(11));
    let calls = server.fake.counts().all - before;
    let mut got = client.receive();
    let early = got.len();
    server
        .poller
        .shutdown(&stream, Shutdown::Write)
        .expect("it is open");
    got.extend(client.receive());
    assert_eq!(got, b"hello there");
    server.poller.close(stream);
    (early, calls)
}

#[test]
fn the_last_output_leaves_with_the_end_where_the_runtime_can_do_that() {
    for (send_more, early) in [
        (SendMore::Held, 0),
        (SendMore::Ignored, 11),
        (SendMore::Refused, 11),
    ] {
        let personality = Personality {
            send_more,
            ..Personality::STRICT
        };
        let mut server = Server::new(personality);
        server.wait(0);
        let refused = u64::from(send_more == SendMore::Refused);
        assert_eq!(write_last(&mut server), (early, 1 + refused));
        // A refusal is remembered.
        assert_eq!(write_last(&mut server), (early, 1));
        assert_eq!(server.fake.violations(), [""; 0]);
    }
}

/// In such a runtime each slice is a call, and none has flags.
#[test]
fn in_a_blind_runtime_the_last_output_is_written_like_any() {
    let mut server = Server::new(Personality::WAZERO);
    server.wait(0);
    assert_eq!(write_last(&mut server), (11, 2));
}
