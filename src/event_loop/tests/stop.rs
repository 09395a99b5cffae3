//! Tests of stopping: which requests must be served, how long it takes, and which connections are too late.

use super::*;

const STOP: &[u8] = b"GET /stop HTTP/1.1\r\nHost: h\r\n\r\n";
const LARGE: &[u8] = b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n";
const TICK: u64 = 1 << 26;

/// A server that a request for `/stop` stops, after the handler has worked for this long.
fn bench(personality: Personality, work: Duration) -> Bench {
    let mut bench = Bench::new(personality);
    let handle = bench.handle.clone();
    bench.on_request = Rc::new(move |fake, target| {
        if target == "/stop" {
            fake.work(work);
            handle.stop();
        }
    });
    bench
}

/// The responses that a client has received: the status, and whether the connection closes after the response.
fn responses(client: &Client) -> Vec<(u16, bool)> {
    let bytes = client.receive();
    let text = String::from_utf8_lossy(&bytes);
    let heads = text.split("HTTP/1.1 ").skip(1);
    heads
        .map(|head| {
            let status = head[..3].parse().expect("a status");
            (status, head.contains("connection: close\r\n"))
        })
        .collect()
}

const SERVED: (u16, bool) = (200, false);
const SERVED_LAST: (u16, bool) = (200, true);
const REFUSED: (u16, bool) = (503, true);

#[test]
fn requests_that_arrive_while_the_handler_stops_the_server_are_served() {
    for personality in ALL {
        let bench = bench(personality, Duration::from_secs(1));
        let stopper = bench.client();
        let kept: Vec<Client> = (0..3).map(|_| bench.client()).collect();
        for client in &kept {
            client.send(GET);
        }
        let begins = stopper.clone();
        bench.at(100, move |_| begins.send(STOP));
        let asks = kept.clone();
        bench.at(600, move |_| {
            asks.iter().for_each(|client| client.send(GET))
        });
        let (listener, new) = (bench.listener, Rc::new(RefCell::new(Vec::new())));
        let keep = Rc::clone(&new);
        bench.at(700, move |fake| {
            for _ in 0..4 {
                let client = fake.connect(listener);
                client.send(GET);
                keep.borrow_mut().push(client);
            }
        });
        let counters = bench.run();
        assert_eq!(responses(&stopper), [SERVED_LAST]);
        for client in &kept {
            assert_eq!(responses(client), [SERVED, SERVED_LAST]);
        }
        for client in new.borrow().iter() {
            assert_eq!(responses(client), [SERVED_LAST]);
        }
        assert_eq!(counters.closed(CloseReason::Stopped), 8);
    }
}

#[test]
fn new_connections_are_reset_at_once_while_a_slow_download_goes_on() {
    for personality in ALL {
        let bench = bench(personality, Duration::ZERO);
        let slow = bench.client();
        slow.set_room(100_000);
        slow.send(LARGE);
        let received = Rc::new(RefCell::new(0));
        for step in 1..40 {
            let (slow, received) = (slow.clone(), Rc::clone(&received));
            bench.at(step * 500, move |_| {
                *received.borrow_mut() += slow.receive_at_most(40_000).len();
            });
        }
        let stopper = bench.client();
        bench.at(1_000, move |_| stopper.send(STOP));
        let listener = bench.listener;
        let open = slow.clone();
        bench.at(1_100, move |fake| {
            assert!(
                fake.connect(listener).is_reset(),
                "the new connection should be reset"
            );
            assert!(!open.is_closed());
        });
        bench.run();
        let rest = slow.receive().len();
        let all = *received.borrow() + rest;
        assert!(all > 1 << 20, "{all} bytes of the download");
    }
}

#[test]
fn a_stop_waits_a_second_for_a_client_that_does_not_close() {
    for personality in ALL {
        let bench = bench(personality, Duration::ZERO);
        let (stopper, lingering) = (bench.client(), bench.client());
        lingering.send(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        bench.at(100, move |_| stopper.send(STOP));
        bench.run();
        let ended = bench.fake.now();
        let most = 1_100_000_000 + 2 * TICK;
        assert!(ended <= most, "it has taken until {ended} ns");
    }
}

/// Each complete request is served, and the last response contains `Connection: close`.
#[test]
fn a_pipeline_is_served_up_to_its_last_complete_request() {
    let part = &GET[..GET.len() - 5];
    for personality in ALL {
        let bench = bench(personality, Duration::ZERO);
        let (stopper, whole, cut) = (bench.client(), bench.client(), bench.client());
        for client in [&whole, &cut] {
            client.set_room(1 << 30);
        }
        let (sends, sends_part) = (whole.clone(), cut.clone());
        bench.at(100, move |_| {
            stopper.send(&[STOP, GET, GET].concat());
            // Too many for one read.
            sends.send(&GET.repeat(5_000));
            sends_part.send(&[&GET.repeat(200), part].concat());
        });
        bench.run();
        let got = responses(&whole);
        assert_eq!(got.len(), 5_000);
        assert_eq!(got.iter().rposition(|it| *it == SERVED), Some(4_998));
        assert_eq!(got[4_999], SERVED_LAST);
        let got = responses(&cut);
        assert_eq!(got[..200], [SERVED; 200]);
        assert_eq!(got[200..], [REFUSED]);
    }
}

#[test]
fn within_the_grace_an_idle_connection_is_still_served() {
    for personality in ALL {
        let bench = bench(personality, Duration::ZERO);
        let clients: Vec<Client> = (0..4).map(|_| bench.client()).collect();
        for client in &clients[..3] {
            client.send(GET);
        }
        let [stops, early, late, fresh] = [0, 1, 2, 3].map(|at: usize| clients[at].clone());
        bench.at(1_000, move |_| stops.send(STOP));
        bench.at(1_400, move |_| {
            early.send(GET);
            // This client has connected, but sent nothing before.
            fresh.send(GET);
        });
        let open = late.clone();
        bench.at(1_490, move |_| assert!(!open.is_closed()));
        bench.at(1_600, move |_| {
            assert!(late.is_closed());
            late.send(GET);
        });
        bench.run();
        assert_eq!(responses(&clients[1]), [SERVED, SERVED_LAST]);
        assert_eq!(responses(&clients[3]), [SERVED_LAST]);
        // The server closed the connection before this request arrived, so it is lost.
        assert!(clients[2].is_reset());
    }
}

#[test]
fn connections_that_wait_at_the_limit_are_served_at_a_stop() {
    for personality in ALL {
        let mut bench = bench(personality, Duration::ZERO);
        bench.settings.limits.max_connections = 2;
        let busy = bench.client();
        busy.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n");
        let stopper = bench.client();
        stopper.send(&GET[..5]);
        let waiting: Vec<Client> = (0..20).map(|_| bench.client()).collect();
        waiting.iter().for_each(|client| client.send(GET));
        bench.at(100, move |_| {
            stopper.send(&GET[5..]);
            stopper.send(STOP);
        });
        bench.run();
        for client in &waiting {
            assert_eq!(responses(client).len(), 1);
        }
        assert_eq!(responses(&busy), [REFUSED]);
    }
}

#[test]
fn no_more_than_a_backlog_is_accepted() {
    let bench = bench(Personality::STRICT, Duration::from_millis(100));
    let stopper = bench.client();
    stopper.send(STOP);
    let (listener, crowd) = (bench.listener, Rc::new(RefCell::new(Vec::new())));
    let keep = Rc::clone(&crowd);
    bench.at(50, move |fake| {
        for _ in 0..5_000 {
            let client = fake.connect(listener);
            client.send(GET);
            keep.borrow_mut().push(client);
        }
    });
    bench.run();
    let crowd = crowd.borrow();
    let served = crowd
        .iter()
        .filter(|client| responses(client) == [SERVED_LAST]);
    assert_eq!(served.count(), 4_096);
    let reset = crowd.iter().filter(|client| client.is_reset());
    assert_eq!(reset.count(), 5_000 - 4_096);
}

/// If resources ran out, they are mostly available again when other connections have closed.
#[test]
fn accepting_that_fails_is_tried_again_within_the_grace() {
    for personality in ALL {
        let bench = bench(personality, Duration::from_millis(100));
        let (stopper, listener) = (bench.client(), bench.listener);
        bench.at(10, move |_| stopper.send(STOP));
        let late = Rc::new(RefCell::new(None));
        let keep = Rc::clone(&late);
        bench.at(50, move |fake| {
            let mut faults = Faults::NONE;
            faults.accept_fails = 1_000;
            fake.set_faults(faults);
            let client = fake.connect(listener);
            client.send(GET);
            *keep.borrow_mut() = Some(client);
        });
        bench.at(400, |fake| fake.set_faults(Faults::NONE));
        bench.run();
        let late = late.borrow_mut().take().expect("it has connected");
        assert_eq!(responses(&late), [SERVED_LAST]);
    }
}

#[test]
fn accepting_that_goes_on_failing_doesnt_keep_the_server_from_stopping() {
    let bench = bench(Personality::WASI_COMMON, Duration::ZERO);
    let (stopper, listener) = (bench.client(), bench.listener);
    bench.at(10, move |fake| {
        stopper.send(STOP);
        stopper.end();
        let mut faults = Faults::NONE;
        faults.accept_fails = 1_000;
        fake.set_faults(faults);
        let _ = fake.connect(listener);
    });
    bench.run();
    let ended = bench.fake.now();
    assert!(ended <= 600_000_000, "it has taken until {ended} ns");
}

#[test]
fn if_a_listener_cant_be_closed_new_connections_get_503() {
    for personality in ALL {
        let bench = bench(personality, Duration::ZERO);
        bench.fake.keep_listeners();
        let slow = bench.client();
        slow.set_room(100_000);
        slow.send(LARGE);
        for step in 1..40 {
            let slow = slow.clone();
            bench.at(step * 500, move |_| drop(slow.receive_at_most(40_000)));
        }
        let stopper = bench.client();
        bench.at(1_000, move |_| stopper.send(STOP));
        let (listener, new_clients) = (bench.listener, Rc::new(RefCell::new(Vec::new())));
        for at in [1_100, 3_000, 10_000] {
            let keep = Rc::clone(&new_clients);
            bench.at(at, move |fake| {
                let client = fake.connect(listener);
                client.send(GET);
                keep.borrow_mut().push(client);
            });
            let newest = Rc::clone(&new_clients);
            bench.at(at + 100, move |_| {
                let newest = newest.borrow();
                let newest = newest.last().expect("it has connected");
                assert_eq!(responses(newest), [REFUSED]);
            });
        }
        // In a time with few events.
        if !personality.blind {
            bench.waits_at_most(19, 11_500, 12_400);
        }
        bench.run();
        assert_eq!(new_clients.borrow().len(), 3);
    }
}

/// A client that sends requests without a pause can't prevent the stop.
#[test]
fn a_client_that_never_pauses_does_not_keep_the_server_from_stopping() {
    let mut bench = Bench::new(Personality::STRICT);
    let greedy = bench.client();
    greedy.set_room(1 << 40);
    greedy.send(&GET.repeat(5_000));
    let (handle, sends) = (bench.handle.clone(), greedy.clone());
    bench.on_request = Rc::new(move |fake, _| {
        if fake.now() > 100_000_000 {
            handle.stop();
        }
        fake.work(Duration::from_micros(50));
        if sends.unread() < 1 << 17 {
            sends.send(&GET.repeat(5_000));
        }
    });
    bench.run();
    let ended = bench.fake.now();
    assert!(ended <= 60_000_000_000, "it has taken until {ended} ns");
    assert!(
        responses(&greedy)
            .last()
            .is_some_and(|(_, is_last)| *is_last)
    );
}

/// A client that has sent thousands of slow requests can't delay the stop for long. A client with a single request is
/// served, however late its turn is.
#[test]
fn a_pipeline_for_a_slow_handler_is_not_served_for_long() {
    for personality in ALL {
        let mut bench = bench(personality, Duration::ZERO);
        let (stopper, greedy) = (bench.client(), bench.client());
        let singles: Vec<Client> = (0..20).map(|_| bench.client()).collect();
        let handle = bench.handle.clone();
        bench.on_request = Rc::new(move |fake, target| match target {
            "/stop" => handle.stop(),
            _ => fake.work(Duration::from_millis(200)),
        });
        let (sends, others) = (greedy.clone(), singles.clone());
        bench.at(10, move |_| {
            stopper.send(STOP);
            sends.send(&GET.repeat(3_000));
            others.iter().for_each(|client| client.send(GET));
        });
        bench.run();
        let ended = bench.fake.now();
        // The grace, the time for pipelines after it, up to 8 requests until the clock is read, the 20 single requests,
        // a last response, and the lingering.
        assert!(ended <= 14_000_000_000, "it has taken until {ended} ns");
        let got = responses(&greedy);
        let (last, others) = got.split_last().expect("some are served");
        assert_eq!(*last, SERVED_LAST);
        assert!(others.iter().all(|it| *it == SERVED) && others.len() >= 10);
        for client in &singles {
            assert_eq!(responses(client).len(), 1);
        }
    }
}

/// A client that sends a body without a pause can't delay the stop for long, even if reading is slow.
#[test]
fn an_endless_body_is_not_read_for_long() {
    let mut slow = Personality::SLOW;
    slow.costs.call = 20_000_000;
    let bench = bench(slow, Duration::ZERO);
    let (stopper, endless) = (bench.client(), bench.client());
    endless.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    endless.send(&b"1\r\nx\r\n".repeat(8 << 20));
    bench.at(10, move |_| stopper.send(STOP));
    bench.run();
    let ended = bench.fake.now();
    assert!(ended <= 4_000_000_000, "it has taken until {ended} ns");
}

/// A client that reads the responses to its pipeline slowly can't delay the stop for long, even if it reads each
/// response within one rate window.
#[test]
fn a_pipeline_whose_responses_are_read_slowly_is_not_served_for_long() {
    for personality in ALL {
        let mut bench = bench(personality, Duration::ZERO);
        bench.settings.limits.max_pending_output = 1;
        let (stopper, slow) = (bench.client(), bench.client());
        slow.set_room(40);
        slow.send(&GET.repeat(200));
        let received = Rc::new(RefCell::new(Vec::new()));
        for step in 1..2_000 {
            let (slow, received) = (slow.clone(), Rc::clone(&received));
            bench.at(step * 100, move |_| {
                received.borrow_mut().extend(slow.receive_at_most(13));
            });
        }
        bench.at(1_000, move |_| stopper.send(STOP));
        let counters = bench.run();
        let ended = bench.fake.now();
        // Each response takes a second.
        assert!(ended <= 9_000_000_000, "it has taken until {ended} ns");
        assert_eq!(counters.closed(CloseReason::WriteTimeout), 0);
        received.borrow_mut().extend(slow.receive());
        let text = String::from_utf8_lossy(&received.borrow()).into_owned();
        let last = text.rsplit("HTTP/1.1 ").next().expect("a response");
        assert!(
            last.contains("connection: close\r\n") && last.ends_with("hello!"),
            "{text}"
        );
    }
}

#[test]
fn with_whole_bodies_a_stop_has_a_deadline_too() {
    let bench = Bench::new(Personality::WASI_COMMON);
    let client = bench.client();
    client.set_room(1_000);
    client.send(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n");
    for step in 1..100 {
        let client = client.clone();
        bench.at(step * 1_000, move |_| drop(client.receive_at_most(900)));
    }
    let handle = bench.handle.clone();
    let (listener, closed) = (bench.listener, client.clone());
    bench.at(1_500, move |fake| {
        handle.stop();
        let _ = fake.connect(listener);
    });
    bench.at(31_000, move |_| assert!(!closed.is_closed()));
    bench.run();
    assert!(
        (31_500_000_000..32_000_000_000).contains(&bench.fake.now()),
        "{}",
        bench.fake.now()
    );
}

/// Each of many connections has a request for a slow handler. What the deadline leaves no time for is dropped, whether
/// the connections wait at the listener or are open.
#[test]
fn slow_requests_on_many_connections_do_not_delay_the_deadline() {
    for are_open in [false, true] {
        let mut bench = Bench::new(Personality::WASI_COMMON);
        bench.on_request = Rc::new(|fake, _| fake.work(Duration::from_secs(1)));
        let clients = Rc::new(RefCell::new(Vec::new()));
        let (handle, listener, all) = (bench.handle.clone(), bench.listener, Rc::clone(&clients));
        if are_open {
            clients.borrow_mut().extend((0..60).map(|_| bench.client()));
        }
        bench.at(1_000, move |fake| {
            let new = (all.borrow().len()..60).map(|_| fake.connect(listener));
            all.borrow_mut().extend(new);
            let _ = fake.connect(listener);
            handle.stop_within(Duration::from_secs(5));
        });
        let late = Rc::clone(&clients);
        bench.at(if are_open { 1_100 } else { 1_000 }, move |_| {
            late.borrow().iter().for_each(|client| client.send(GET));
        });
        let counters = bench.run();
        let ended = bench.fake.now();
        let most = Duration::from_millis(1_100 + 5_000 + 1_000).as_nanos() as u64 + 2 * TICK;
        assert!(ended <= most, "{are_open}: it has taken until {ended} ns");
        assert!((4..=6).contains(&bench.seen.borrow().len()));
        assert_eq!(counters.closed(CloseReason::Stopped), 61);
    }
}
