//! Tests of the loop in the fake runtime, which follows a script. Time is virtual, clients are in memory, and the
//! runtime can misbehave on purpose. Everything runs natively, and takes no real time.

mod closing;
mod fairness;
mod new_connections;
mod observed;
mod stop;
mod streaming;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use http::Response;
use wasip1_poll::Fd;
use wasip1_poll::fake::{Client, Fake, Faults, Personality};

use super::*;
use crate::counters::Counters;
use crate::limits::Limits;
use crate::reactor::wasip1::Wasip1Reactor;

const ALL: [Personality; 3] = [
    Personality::WASI_COMMON,
    Personality::WAZERO,
    Personality::STRICT,
];

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";

type OnRequest = Rc<dyn Fn(&Fake, &str)>;

/// A server in a fake runtime.
struct Bench {
    fake: Fake,
    listener: Fd,
    settings: Settings,
    handle: Handle,
    /// The targets of the requests, in the order in which the handler saw them.
    seen: Rc<RefCell<Vec<String>>>,
    /// For each request, how many polls there had been when the handler saw it.
    polls: Rc<RefCell<Vec<u64>>>,
    /// Called first by the handler, with the target of the request.
    on_request: OnRequest,
}

impl Bench {
    fn new(personality: Personality) -> Self {
        let fake = Fake::new(personality, 0);
        let listener = fake.preopen_listener();
        fake.start();
        let settings = Settings::default();
        let (handle, seen) = (Handle::new(), Rc::default());
        Self {
            fake,
            listener,
            settings,
            handle,
            seen,
            polls: Rc::default(),
            on_request: Rc::new(|_, _| {}),
        }
    }

    fn at(&self, millis: u64, action: impl FnOnce(&Fake) + 'static) {
        self.fake.after(Duration::from_millis(millis), action);
    }

    /// A client that has connected before the server starts.
    fn client(&self) -> Client {
        self.fake.connect(self.listener)
    }

    /// Twenty clients that send five requests each, in half a second.
    fn clients_that_send(&self) -> Vec<Client> {
        let clients: Vec<Client> = (0..20).map(|_| self.client()).collect();
        for (number, client) in clients.iter().enumerate() {
            for request in 0..5 {
                let client = client.clone();
                self.at(number as u64 + request * 100, move |_| client.send(GET));
            }
        }
        clients
    }

    /// Checks that the loop waits at most `most` times between these moments, in milliseconds.
    fn waits_at_most(&self, most: u64, from: u64, to: u64) {
        let before = Rc::new(Cell::new(None));
        let polls = Rc::clone(&before);
        self.at(from, move |fake| polls.set(Some(fake.counts().polls)));
        self.at(to, move |fake| {
            let waits = fake.counts().polls - before.get().expect("counted");
            assert!(waits <= most, "{waits} waits from {from} ms to {to} ms");
        });
    }

    /// Runs the server until this moment.
    fn run_until(&self, millis: u64) -> Counters {
        self.stop_at(millis);
        self.run()
    }

    fn stop_at(&self, millis: u64) {
        let (handle, listener) = (self.handle.clone(), self.listener);
        self.at(millis, move |fake| {
            handle.stop();
            // The new connection ends the wait, since nothing else does.
            let _ = fake.connect(listener);
        });
    }

    /// Runs the server until it has been stopped.
    fn run(&self) -> Counters {
        let reactor = Wasip1Reactor::new(self.fake.clone(), [self.listener]).expect("a listener");
        let (seen, polls, fake) = (
            Rc::clone(&self.seen),
            Rc::clone(&self.polls),
            self.fake.clone(),
        );
        let on_request = Rc::clone(&self.on_request);
        let handler = move |request: Request| {
            polls.borrow_mut().push(fake.counts().polls);
            let target = request.uri().to_string();
            on_request(&fake, &target);
            seen.borrow_mut().push(target);
            match request.uri().path() {
                "/panic" => panic!("as asked"),
                "/large" => Response::new(vec![b'x'; 1 << 20]),
                _ => Response::new(b"hello!".to_vec()),
            }
        };
        serve(reactor, handler, &self.settings, &self.handle)
            .expect("the server ends without an error");
        self.check()
    }

    /// Checks what must hold when the server has stopped.
    fn check(&self) -> Counters {
        assert_eq!(self.fake.violations(), [""; 0]);
        assert_eq!(self.fake.open_streams(), 0);
        let counters = self.handle.counters();
        assert_eq!(counters.active, 0);
        assert_eq!(counters.accepted, counters.closed_in_all());
        assert_eq!(counters.held, 0);
        counters
    }
}

/// Takes what the client has received, and returns the number of responses with 200 in it.
fn count_ok(client: &Client) -> usize {
    let bytes = client.receive();
    String::from_utf8_lossy(&bytes).matches("200 OK").count()
}

#[test]
fn every_request_gets_a_response_in_every_runtime() {
    for personality in ALL {
        let bench = Bench::new(personality);
        let clients = bench.clients_that_send();
        let counters = bench.run_until(1000);
        assert_eq!(counters.requests, 100);
        for client in &clients {
            assert_eq!(count_ok(client), 5);
        }
        // One more: the connection that the bench adds to end the wait.
        assert_eq!(counters.closed(CloseReason::Stopped), 20 + 1);
    }
}

#[test]
fn resets_end_only_their_own_connections() {
    for personality in ALL {
        let bench = Bench::new(personality);
        let polite = bench.client();
        for number in 0..50 {
            let client = bench.client();
            bench.at(number % 7, {
                let client = client.clone();
                move |_| client.send(&GET[..(number as usize) % GET.len()])
            });
            bench.at(number, move |_| client.reset());
        }
        let late = polite.clone();
        bench.at(100, move |_| late.send(GET));
        bench.run_until(200);
        assert_eq!(count_ok(&polite), 1);
    }
}

#[test]
fn a_client_that_reads_slowly_receives_all_of_a_large_response() {
    for personality in ALL {
        let bench = Bench::new(personality);
        let client = bench.client();
        client.set_room(10_000);
        client.send(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n");
        let received = Rc::new(RefCell::new(0));
        for step in 1..200 {
            let (client, received) = (client.clone(), Rc::clone(&received));
            bench.at(step * 10, move |_| {
                *received.borrow_mut() += client.receive().len();
            });
        }
        let counters = bench.run_until(5000);
        assert!(*received.borrow() > 1 << 20, "{}", received.borrow());
        assert!(counters.held_peak >= 1 << 20);
    }
}

/// A client that reads slowly, but fast enough, must not be mistaken for one that reads nothing. The runtime reports a
/// socket as writable only when a third of its buffer is free. With a large buffer, that never happens within a rate
/// window.
#[test]
fn a_client_that_reads_at_the_minimum_rate_keeps_its_connection() {
    for room in [1_000, 100_000] {
        let bench = Bench::new(Personality::WASI_COMMON);
        let client = bench.client();
        client.set_room(room);
        client.send(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n");
        for step in 1..60 {
            let client = client.clone();
            bench.at(step * 1_000, move |_| drop(client.receive_at_most(700)));
        }
        let open = client.clone();
        bench.at(59_000, move |_| assert!(!open.is_closed()));
        bench.at(59_500, move |_| client.reset());
        let counters = bench.run_until(60_000);
        assert_eq!(counters.closed(CloseReason::WriteTimeout), 0);
    }
}

#[test]
fn at_the_limit_the_longest_idle_connection_is_closed_for_a_new_one() {
    the_longest_idle_connection_is_closed(Limits::default().idle_timeout);
}

/// A connection that was used is recognised by its new deadline.
#[test]
fn the_longest_idle_connection_is_closed_also_without_an_idle_timeout() {
    the_longest_idle_connection_is_closed(Duration::MAX);
}

fn the_longest_idle_connection_is_closed(idle_timeout: Duration) {
    let mut bench = Bench::new(Personality::WASI_COMMON);
    bench.settings.limits.idle_timeout = idle_timeout;
    bench.settings.limits.max_connections = 3;
    let clients: Vec<Client> = (0..3).map(|_| bench.client()).collect();
    for (number, client) in clients.iter().enumerate() {
        // The first is used last.
        let client = client.clone();
        bench.at(100 - 10 * number as u64, move |_| client.send(GET));
    }
    let (listener, new_client) = (bench.listener, Rc::new(RefCell::new(None)));
    let keep = Rc::clone(&new_client);
    bench.at(200, move |fake| {
        let client = fake.connect(listener);
        client.send(GET);
        *keep.borrow_mut() = Some(client);
    });
    let evicted = clients[2].clone();
    bench.at(300, move |_| assert!(evicted.is_closed()));
    let kept = clients[0].clone();
    bench.at(300, move |_| assert!(!kept.is_closed()));
    let counters = bench.run_until(400);
    assert_eq!(counters.closed(CloseReason::Evicted), 1);
    let new_client = new_client.borrow_mut().take().expect("it has connected");
    assert_eq!(count_ok(&new_client), 1);
}

#[test]
fn a_host_that_cancels_accepting_stops_the_server() {
    for personality in ALL {
        let bench = Bench::new(personality);
        let idle = bench.client();
        let busy = bench.client();
        bench.at(10, {
            let busy = busy.clone();
            move |_| busy.send(&GET[..10])
        });
        let (listener, new_client) = (bench.listener, Rc::new(RefCell::new(None)));
        let waiting = Rc::clone(&new_client);
        bench.at(20, move |fake| {
            let client = fake.connect(listener);
            client.send(GET);
            *waiting.borrow_mut() = Some(client);
            fake.cancel(listener);
        });
        let counters = bench.run_until(1_000_000);
        assert_eq!(counters.requests, 1);
        assert!(idle.is_closed() && idle.receive().is_empty());
        assert!(busy.receive().starts_with(b"HTTP/1.1 503 "));
        let new_client = new_client.borrow_mut().take().expect("it has connected");
        assert_eq!(count_ok(&new_client), 1);
        // The server stopped by itself, and not by `run_until`. After the 503 the connection lingers for 10 s.
        assert!(bench.fake.now() < 20_000_000_000, "{}", bench.fake.now());
    }
}

/// If resources run out, a connection that was just accepted isn't closed before its request could arrive.
#[test]
fn when_accepting_fails_only_a_connection_that_was_idle_for_a_while_is_closed() {
    let bench = Bench::new(Personality::WASI_COMMON);
    let client = bench.client();
    let listener = bench.listener;
    bench.at(10, move |fake| {
        let mut faults = Faults::NONE;
        faults.accept_fails = 1_000;
        fake.set_faults(faults);
        let _ = fake.connect(listener);
    });
    let early = client.clone();
    bench.at(50, move |_| early.send(GET));
    let late = client.clone();
    bench.at(90, move |_| assert_eq!(count_ok(&late), 1));
    bench.at(500, move |fake| {
        assert!(client.is_closed());
        fake.set_faults(Faults::NONE);
    });
    let counters = bench.run_until(1_000);
    assert_eq!(counters.closed(CloseReason::Evicted), 1);
}

#[test]
fn at_the_limit_new_connections_wait_while_none_is_idle() {
    let mut bench = Bench::new(Personality::WASI_COMMON);
    bench.settings.limits.max_connections = 2;
    let busy: Vec<Client> = (0..2).map(|_| bench.client()).collect();
    busy.iter()
        .for_each(|client| client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n"));
    let new_client = bench.client();
    new_client.send(GET);
    let waiting = new_client.clone();
    bench.at(9_000, move |_| assert_eq!(count_ok(&waiting), 0));
    // The rate of the two bodies is checked after 10 s.
    let served = new_client.clone();
    bench.at(25_000, move |_| assert_eq!(count_ok(&served), 1));
    let counters = bench.run_until(30_000);
    assert_eq!(counters.closed(CloseReason::BodyTimeout), 2);
    for client in busy {
        let response = client.receive();
        assert!(
            response.starts_with(b"HTTP/1.1 408 "),
            "{}",
            response.escape_ascii()
        );
    }
}

#[test]
fn deadlines_are_kept() {
    for personality in ALL {
        let mut bench = Bench::new(personality);
        bench.settings.limits.head_timeout = Duration::from_secs(3);
        bench.settings.limits.idle_timeout = Duration::from_secs(5);
        let (silent, drip) = (bench.client(), bench.client());
        drip.send(b"GET /");
        let (silent_early, drip_early) = (silent.clone(), drip.clone());
        bench.at(2_900, move |_| assert!(drip_early.receive().is_empty()));
        bench.at(3_200, move |_| {
            assert!(drip.receive().starts_with(b"HTTP/1.1 408 "))
        });
        bench.at(4_900, move |_| assert!(!silent_early.is_closed()));
        bench.at(5_200, move |_| assert!(silent.is_closed()));
        let counters = bench.run_until(20_000);
        assert_eq!(counters.closed(CloseReason::HeadTimeout), 1);
        assert_eq!(counters.closed(CloseReason::IdleTimeout), 1);
    }
}

#[test]
fn a_panic_of_the_handler_closes_one_connection_only() {
    let bench = Bench::new(Personality::WASI_COMMON);
    let (client, other) = (bench.client(), bench.client());
    client.send(b"GET /panic HTTP/1.1\r\nHost: h\r\n\r\n");
    let late = other.clone();
    bench.at(10, move |_| late.send(GET));
    let counters = bench.run_until(100);
    assert!(client.receive().starts_with(b"HTTP/1.1 500 "));
    assert_eq!(count_ok(&other), 1);
    assert_eq!(counters.closed(CloseReason::HandlerFailed), 1);
}

#[test]
fn a_client_that_is_still_sending_receives_its_refusal() {
    for personality in ALL {
        let bench = Bench::new(personality);
        let client = bench.client();
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999\r\n\r\n");
        for step in 1..50 {
            let client = client.clone();
            bench.at(step, move |_| client.send(&[b'x'; 10_000]));
        }
        let sending = client.clone();
        bench.at(60, move |_| {
            assert!(!sending.is_reset() && !sending.is_closed());
            sending.end();
        });
        let counters = bench.run_until(500);
        assert!(client.receive().starts_with(b"HTTP/1.1 413 "));
        assert_eq!(counters.closed(CloseReason::TooLarge), 1);
    }
}

#[test]
fn with_idle_connections_the_loop_only_waits() {
    let bench = Bench::new(Personality::WASI_COMMON);
    let clients: Vec<Client> = (0..50).map(|_| bench.client()).collect();
    clients.iter().for_each(|client| client.send(GET));
    bench.waits_at_most(3, 1_000, 61_000);
    bench.run_until(62_000);
}
