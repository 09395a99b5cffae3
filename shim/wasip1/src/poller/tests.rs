use super::*;
use crate::fake::{Client, Fake, Faults, Personality};

const LISTENER: u64 = 99;

struct Server {
    fake: Fake,
    poller: Poller<Fake>,
    listener: Registration,
    fd: Fd,
}

impl Server {
    fn new(personality: Personality) -> Self {
        let fake = Fake::new(personality, 0);
        let fd = fake.preopen_listener();
        let mut poller = Poller::new(fake.clone());
        let listener = poller.register_listener(fd, LISTENER).expect("a listener");
        Self {
            fake,
            poller,
            listener,
            fd,
        }
    }

    fn accept(&mut self, token: u64) -> (Client, Registration) {
        let client = self.fake.connect(self.fd);
        let fd = self.poller.accept(&self.listener).expect("a connection");
        (client, self.poller.register(fd, token, Interest::READ))
    }

    fn wait(&mut self, millis: u64) -> Vec<Ready> {
        let mut ready = Vec::new();
        let timeout = Duration::from_millis(millis);
        self.poller
            .wait(&mut ready, Some(timeout))
            .expect("a wait never fails here");
        ready
    }
}

fn of(ready: &[Ready], token: u64) -> Option<Ready> {
    let mut found = ready.iter().filter(|ready| ready.token == token);
    let first = found.next().copied();
    assert_eq!(found.next(), None, "one event for each registration");
    first
}

const ALL: [Personality; 3] = [
    Personality::WASI_COMMON,
    Personality::WAZERO,
    Personality::STRICT,
];

#[test]
fn blindness_is_recognised() {
    for personality in ALL {
        let mut server = Server::new(personality);
        server.wait(0);
        assert_eq!(server.poller.is_blind(), personality.blind);
    }
}

/// Polls that report nothing at all, or an error, say nothing about it.
#[test]
fn blindness_is_recognised_behind_faults() {
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
fn bytes_and_room_come_as_one_event() {
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

#[test]
fn a_bad_fd_is_one_connections_fault() {
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
        // Another connection gets the number; closing the evicted one must not hit it.
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
fn a_reset_is_one_connections_event() {
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
fn no_event_for_what_is_closed_even_if_its_number_is_used_again() {
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
fn a_blind_runtime_at_rest_is_asked_seldom() {
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
    // 1.6 µs each: 2 % of a second are 12,500.
    assert!((8_000..12_500).contains(&tried), "{tried}");
}

#[test]
fn a_host_that_polls_only_so_many_at_once_is_asked_in_parts() {
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

/// A server with busy connections, each with a request again at most `pause` microseconds after one
/// was read, and idle ones.
struct Load {
    pause: u64,
    server: Server,
    busy: Vec<(Client, Registration)>,
    idle: Vec<(Client, Registration)>,
}

/// Requests that come after a while, and at once: then the poller does without polls.
const PAUSES: [u64; 2] = [400, 0];

impl Load {
    fn new(personality: Personality, busy: u64, idle: u64) -> Self {
        let mut server = Server::new(personality);
        server.wait(0);
        let idle = (0..idle).map(|token| server.accept(1000 + token)).collect();
        let busy = (0..busy).map(|token| server.accept(token)).collect();
        let pause = 400;
        let mut load = Self {
            pause,
            server,
            busy,
            idle,
        };
        load.server.wait(100);
        for (client, _) in &load.busy {
            client.send(b"request");
        }
        load
    }

    /// One round; the tokens of the idle ones that were reported, and whether the listener was.
    fn round(&mut self) -> (Vec<u64>, bool) {
        let mut idle = Vec::new();
        let mut listener = false;
        for ready in self.server.wait(100) {
            if ready.listener {
                listener |= self.server.poller.accept(&self.server.listener).is_ok();
            } else if let Some((client, stream)) = self.busy.get(ready.token as usize) {
                if self.server.poller.read(stream, &mut [0; 16]).is_ok() {
                    // The next request comes when others have had their turn.
                    let client = client.clone();
                    let pause = self.server.fake.random(self.pause.max(1));
                    let pause = Duration::from_micros(pause);
                    self.server
                        .fake
                        .after(pause, move |_| client.send(b"request"));
                }
            } else {
                idle.push(ready.token);
            }
        }
        (idle, listener)
    }

    /// How long it takes until `found`.
    fn until(&mut self, found: impl Fn(&(Vec<u64>, bool)) -> bool) -> u64 {
        let start = self.server.fake.now();
        while !found(&self.round()) {
            assert!(
                self.server.fake.now() < start + 10_000_000_000,
                "never found"
            );
        }
        self.server.fake.now() - start
    }
}

#[test]
fn idle_connections_hardly_tax_busy_ones() {
    let cost = |idle| {
        let mut load = Load::new(Personality::WASI_COMMON, 64, idle);
        for _ in 0..100 {
            load.round();
        }
        let (before, start) = (load.server.fake.counts(), load.server.fake.now());
        for _ in 0..500 {
            load.round();
        }
        let requests = load.server.fake.counts().reads
            - load.server.fake.counts().again
            - (before.reads - before.again);
        (load.server.fake.now() - start) / requests
    };
    let alone = cost(0);
    let beside = cost(5000);
    assert!(
        beside * 4 <= alone * 5,
        "{alone} ns a request, {beside} ns beside 5,000 idle"
    );
}

#[test]
fn an_idle_connection_is_found_under_load_even_if_it_only_ends() {
    for (end, pause) in [true, false].into_iter().zip(PAUSES) {
        let mut load = Load::new(Personality::WASI_COMMON, 64, 1000);
        load.pause = pause;
        for _ in 0..100 {
            load.round();
        }
        let client = &load.idle[500].0;
        if end {
            client.end()
        } else {
            client.send(b"request")
        }
        let took = load.until(|(idle, _)| idle.contains(&1500));
        // 64 times 1,000 subscriptions of 0.5 µs at worst.
        assert!(took <= 33_000_000, "{took}");
    }
}

#[test]
fn a_busy_connections_end_and_single_bytes_are_found_under_load() {
    let mut load = Load::new(Personality::WASI_COMMON, 64, 0);
    let (client, stream) = load.server.accept(70_000);
    for end in [false, true] {
        for _ in 0..10 {
            load.round();
        }
        if end {
            client.end()
        } else {
            client.send(b"x")
        }
        let start = load.server.fake.now();
        while load.server.poller.read(&stream, &mut [0; 1]).is_err() {
            load.until(|(other, _)| other.contains(&70_000));
        }
        let took = load.server.fake.now() - start;
        // 16 times 66 tries of 6.4 µs, and a round.
        assert!(took <= 8_000_000, "{took}");
    }
}

#[test]
fn the_listener_is_tried_every_millisecond_under_load() {
    let mut load = Load::new(Personality::WASI_COMMON, 64, 1000);
    for turn in 0..20 {
        load.pause = PAUSES[turn % 2];
        load.round();
        let _client = load.server.fake.connect(load.server.fd);
        let start = load.server.fake.now();
        let mut longest = 0;
        loop {
            let before = load.server.fake.now();
            let (_, accepted) = load.round();
            longest = longest.max(load.server.fake.now() - before);
            if accepted {
                break;
            }
        }
        let took = load.server.fake.now() - start;
        assert!(took <= 1_000_000 + 2 * longest, "{took}");
    }
}

#[test]
fn a_full_load_is_served_without_polls() {
    for idle in [0, 1000] {
        let mut load = Load::new(Personality::WASI_COMMON, 64, idle);
        load.pause = 0;
        for _ in 0..200 {
            load.round();
        }
        let before = load.server.fake.counts();
        for _ in 0..100 {
            load.round();
        }
        let after = load.server.fake.counts();
        assert_eq!(after.reads - before.reads, 6400);
        let most = if idle == 0 { 0 } else { 100 };
        assert!(after.polls - before.polls <= most, "{after:?} {before:?}");
    }
}

/// What was expected of connections that are gone is not to be waited for without a poll, for ever.
#[test]
fn the_end_of_all_busy_ones_ends_a_full_load() {
    let mut load = Load::new(Personality::WASI_COMMON, 64, 0);
    load.pause = 0;
    for _ in 0..200 {
        load.round();
    }
    for (_, stream) in load.busy.drain(..) {
        load.server.poller.deregister(stream);
    }
    let before = load.server.fake.now();
    assert_eq!(load.server.wait(50), []);
    assert!(load.server.fake.now() - before >= 50_000_000);
}

#[test]
fn reads_without_a_poll_are_seldom_in_vain() {
    for pause in [20, 100, 200, 300, 400, 1000] {
        let mut load = Load::new(Personality::WASI_COMMON, 64, 0);
        load.pause = pause;
        let before = load.server.fake.counts();
        for _ in 0..2000 {
            load.round();
        }
        let after = load.server.fake.counts();
        let (reads, again) = (after.reads - before.reads, after.again - before.again);
        // At 6.4 µs it is 1 in 64; a round that goes wrong is followed by up to 64 polls.
        assert!(again * 25 <= reads, "{again} of {reads} with {pause}");
    }
}

#[test]
fn thousands_at_rest_cost_nothing() {
    let mut load = Load::new(Personality::WASI_COMMON, 0, 5000);
    load.server.wait(100);
    let before = load.server.fake.counts();
    for _ in 0..10 {
        assert_eq!(load.server.wait(1000), []);
    }
    assert!(load.server.fake.counts().polls - before.polls <= 20);
    // And one that wakes is found by the first poll.
    load.idle[4321].0.send(b"request");
    let before = load.server.fake.counts();
    assert!(of(&load.server.wait(1000), 5321).is_some());
    assert_eq!(load.server.fake.counts().polls - before.polls, 1);
}

/// Whoever waits for room alone must learn that there will be none.
#[test]
fn an_eviction_is_told_in_the_direction_that_is_waited_for() {
    for personality in ALL {
        let mut server = Server::new(personality);
        let (_client, stream) = server.accept(1);
        let interest = Interest {
            read: false,
            write: true,
        };
        server.poller.set_interest(&stream, interest);
        server.fake.steal(stream.fd());
        let told = (0..10).find_map(|_| {
            let found = of(&server.wait(10), 1);
            // A blind runtime learns of it by the write.
            if personality.blind && found.is_some() {
                let _ = server.poller.write(&stream, &[IoSlice::new(b"x")]);
            }
            found.filter(|ready| ready.error.is_some())
        });
        assert!(told.is_some_and(|ready| ready.writable), "{told:?}");
        server.poller.close(stream);
    }
}
