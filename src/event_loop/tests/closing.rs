//! Runtimes in which closing a socket takes effect later, and in which file descriptors become free later still.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

const LATE: [Personality; 2] = [Personality::WAZERO, Personality::SILENT];

/// Within this time a client must see the end of its connection, in milliseconds: a pause of the poller and some calls.
/// (SILENT collects garbage only every 300 ms.)
const PROMPTLY: u64 = 20;

fn bench(personality: Personality, limits: impl FnOnce(&mut Limits)) -> Bench {
    let mut bench = Bench::new(personality);
    limits(&mut bench.settings.limits);
    bench
}

#[test]
fn after_a_half_close_or_a_last_request_the_client_sees_the_end() {
    for personality in LATE {
        let bench = Bench::new(personality);
        let (half, last) = (bench.client(), bench.client());
        half.send(GET);
        half.end();
        last.send(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        bench.at(PROMPTLY, move |_| {
            for client in [&half, &last] {
                assert_eq!(count_ok(client), 1);
                assert!(client.is_at_end());
            }
            assert!(half.is_closed());
            last.end();
            last.fake().after(Duration::from_millis(PROMPTLY), {
                let last = last.clone();
                move |_| assert!(last.is_closed())
            });
        });
        bench.run_until(200);
    }
}

#[test]
fn the_client_of_an_idle_connection_sees_the_end_and_a_late_request_is_reset() {
    for personality in LATE {
        let bench = bench(personality, |limits| {
            limits.idle_timeout = Duration::from_millis(1_000);
        });
        let client = bench.client();
        client.send(GET);
        // Deadlines are rounded up to multiples of 67 ms.
        bench.at(1_070 + PROMPTLY, move |_| {
            assert_eq!(count_ok(&client), 1);
            assert!(client.is_at_end() && client.is_closed());
            client.send(GET);
            assert!(client.is_reset());
        });
        let counters = bench.run_until(1_200);
        assert_eq!(counters.closed(CloseReason::IdleTimeout), 1);
    }
}

#[test]
fn the_client_of_an_evicted_connection_sees_the_end() {
    for personality in LATE {
        let bench = bench(personality, |limits| limits.max_connections = 1);
        let (client, listener) = (bench.client(), bench.listener);
        client.send(GET);
        bench.at(310, move |fake| fake.connect(listener).send(GET));
        bench.at(310 + PROMPTLY, move |_| {
            assert_eq!(count_ok(&client), 1);
            assert!(client.is_at_end() && client.is_closed());
        });
        let counters = bench.run_until(400);
        assert_eq!(counters.closed(CloseReason::Evicted), 1);
    }
}

#[test]
fn the_client_sees_the_end_after_a_write_timeout() {
    for personality in LATE {
        let bench = bench(personality, |limits| {
            limits.rate_window = Duration::from_millis(1_000);
        });
        let client = bench.client();
        client.set_room(1_000);
        client.send(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n");
        bench.at(2_200, move |_| {
            assert!(client.is_closed());
            assert!(!client.receive().is_empty());
            assert!(client.is_at_end());
        });
        let counters = bench.run_until(2_300);
        assert_eq!(counters.closed(CloseReason::WriteTimeout), 1);
    }
}

/// Two clients request a close and receive the beginning of the response. One stops reading, the other resets the
/// connection. A third client resets the connection when the server has sent everything.
#[test]
fn a_planned_close_that_fails_is_counted_as_the_failure() {
    const LARGE: &[u8] = b"GET /large HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    const OLD: &[u8] = b"GET /large HTTP/1.0\r\n\r\n";
    for personality in ALL {
        for request in [LARGE, OLD] {
            let bench = bench(personality, |limits| {
                limits.rate_window = Duration::from_millis(1_000);
            });
            let [late, resets, resets_after] = [1_000, 1_000, 2 << 20].map(|room| {
                let client = bench.client();
                client.set_room(room);
                client.send(request);
                client
            });
            bench.at(500, move |_| {
                resets.reset();
                resets_after.reset();
            });
            let counters = bench.run_until(2_300);
            assert!(late.is_closed());
            let planned = match request {
                LARGE => CloseReason::ClientAskedClose,
                _ => CloseReason::Http10,
            };
            for reason in [planned, CloseReason::WriteTimeout, CloseReason::IoError] {
                assert_eq!(counters.closed(reason), 1, "{reason:?}");
            }
        }
    }
}

/// If panics aren't caught, a panic of the handler ends the server. At that time one connection is idle, one lingers,
/// and one has output to send.
#[test]
fn connections_that_a_panic_leaves_open_are_counted_as_server_failed() {
    const LAST: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    for personality in ALL {
        let mut bench = Bench::new(personality);
        bench.settings.catch_panics = false;
        let [idle, lingers, unread, panics] = [0; 4].map(|_| bench.client());
        unread.set_room(10);
        idle.send(GET);
        lingers.send(LAST);
        unread.send(LAST);
        bench.at(500, move |_| {
            panics.send(b"GET /panic HTTP/1.1\r\nHost: h\r\n\r\n");
        });
        let ended = catch_unwind(AssertUnwindSafe(|| bench.run()));
        assert!(ended.is_err());
        assert_eq!(bench.fake.open_streams(), 0);
        let counters = bench.handle.counters();
        assert_eq!(counters.active, 0);
        assert_eq!(counters.closed(CloseReason::ServerFailed), 3);
        assert_eq!(counters.closed(CloseReason::ClientAskedClose), 1);
    }
}

/// Closed connections still hold all descriptors. To close the open ones as well would not help.
#[test]
fn the_loop_waits_for_descriptors_that_become_free_later() {
    let bench = bench(Personality::WAZERO, |limits| {
        limits.idle_timeout = Duration::from_secs(300);
    });
    bench.fake.set_most_descriptors(20);
    let listener = bench.listener;
    let live: Vec<Client> = (0..3).map(|_| bench.client()).collect();
    live.iter().for_each(|client| client.send(GET));
    let short = Rc::new(RefCell::new(Vec::new()));
    for number in 0..30 {
        let short = Rc::clone(&short);
        bench.at(200 + 10 * number, move |fake| {
            let client = fake.connect(listener);
            client.send(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
            client.end();
            short.borrow_mut().push(client);
        });
    }
    let accepts = Rc::new(Cell::new(0));
    let before = Rc::clone(&accepts);
    bench.at(10_000, move |fake| before.set(fake.counts().accepts));
    bench.at(110_000, move |fake| {
        let tries = fake.counts().accepts - accepts.get();
        assert!((1_000..=2_000).contains(&tries), "{tries} in 100 s");
    });
    let still = live.clone();
    bench.at(119_000, move |_| {
        for client in still {
            assert!(!client.is_closed());
            client.send(GET);
        }
    });
    let served = Rc::clone(&short);
    // Go collects garbage at least every two minutes.
    bench.at(121_000, move |_| {
        assert!(served.borrow().iter().all(|client| count_ok(client) == 1));
    });
    let counters = bench.run_until(122_000);
    assert_eq!(counters.closed(CloseReason::Evicted), 0);
    assert!(live.iter().all(|client| count_ok(client) == 2));
}

/// Idle connections hold all descriptors. A new connection can be accepted only if one of them is closed.
#[test]
fn idle_connections_that_hold_all_descriptors_are_closed_for_new_ones() {
    let bench = Bench::new(Personality::SILENT);
    bench.fake.set_most_descriptors(20);
    let crowd: Vec<Client> = (0..60).map(|_| bench.client()).collect();
    let new_client = bench.client();
    new_client.send(GET);
    let late = new_client.clone();
    bench.at(5_000, move |_| assert_eq!(count_ok(&late), 1));
    let counters = bench.run_until(5_100);
    assert!(counters.closed(CloseReason::Evicted) >= 41);
    assert!(crowd.iter().all(|client| client.accepted_at().is_some()));
}

/// Between two requests of a pipeline, a connection has no request and no output. If it is in the backlog, it isn't
/// idle, however long it waits for its turn.
#[test]
fn a_connection_in_the_backlog_is_not_evicted() {
    for personality in ALL {
        let mut bench = Bench::new(personality);
        bench.settings.limits.max_connections = 3;
        let pipelines: Vec<Client> = (0..3).map(|_| bench.client()).collect();
        for client in &pipelines {
            client.send(&GET.repeat(100));
        }
        let (fake, listener) = (bench.fake.clone(), bench.listener);
        let new_client = Rc::new(RefCell::new(None));
        let keep = Rc::clone(&new_client);
        bench.on_request = Rc::new(move |_, _| {
            fake.work(Duration::from_millis(30));
            keep.borrow_mut().get_or_insert_with(|| {
                let client = fake.connect(listener);
                client.send(GET);
                client
            });
        });
        let counters = bench.run_until(60_000);
        assert_eq!(counters.closed(CloseReason::Evicted), 1, "when it is done");
        for client in &pipelines {
            assert_eq!(count_ok(client), 100);
        }
        let new_client = new_client.borrow_mut().take().expect("it has connected");
        assert_eq!(count_ok(&new_client), 1);
    }
}
