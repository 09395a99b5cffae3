//! Tests with many connections: how long events take to be reported, and what that costs.

use super::*;

/// A server with busy and idle connections. The client of a busy one sends a request at most `pause` microseconds
/// after the last one was read.
struct Load {
    pause: u64,
    server: Server,
    busy: Vec<(Client, Registration)>,
    idle: Vec<(Client, Registration)>,
}

/// The next request comes after a while; or at once, so that the poller speculates.
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

    /// Runs one iteration. Returns the tokens of the idle connections that were reported, and whether a connection was
    /// accepted.
    fn iterate(&mut self) -> (Vec<u64>, bool) {
        let mut idle = Vec::new();
        let mut listener = false;
        for ready in self.server.wait(100) {
            if ready.listener {
                listener |= self.server.poller.accept(&self.server.listener).is_ok();
            } else if let Some((client, stream)) = self.busy.get(ready.token as usize) {
                if self.server.poller.read(stream, &mut [0; 16]).is_ok() {
                    // Meanwhile the other connections are read.
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

    /// Runs iterations until `found` is true for the result of one. Returns how long that took.
    fn until(&mut self, found: impl Fn(&(Vec<u64>, bool)) -> bool) -> u64 {
        let start = self.server.fake.now();
        while !found(&self.iterate()) {
            assert!(
                self.server.fake.now() < start + 10_000_000_000,
                "never found"
            );
        }
        self.server.fake.now() - start
    }
}

#[test]
fn idle_connections_hardly_slow_down_busy_ones() {
    let cost = |idle| {
        let mut load = Load::new(Personality::WASI_COMMON, 64, idle);
        for _ in 0..100 {
            load.iterate();
        }
        let (before, start) = (load.server.fake.counts(), load.server.fake.now());
        for _ in 0..500 {
            load.iterate();
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
fn an_idle_connections_request_and_end_are_found_under_load() {
    for (end, pause) in [true, false].into_iter().zip(PAUSES) {
        let mut load = Load::new(Personality::WASI_COMMON, 64, 1000);
        load.pause = pause;
        for _ in 0..100 {
            load.iterate();
        }
        let client = &load.idle[500].0;
        if end {
            client.end()
        } else {
            client.send(b"request")
        }
        let took = load.until(|(idle, _)| idle.contains(&1500));
        // At worst, 64 times 1,000 subscriptions of 0.5 µs.
        assert!(took <= 33_000_000, "{took}");
    }
}

#[test]
fn a_busy_connections_end_and_single_bytes_are_found_under_load() {
    let mut load = Load::new(Personality::WASI_COMMON, 64, 0);
    let (client, stream) = load.server.accept(70_000);
    for end in [false, true] {
        for _ in 0..10 {
            load.iterate();
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
        // 16 times 66 tries of 6.4 µs, and one iteration.
        assert!(took <= 8_000_000, "{took}");
    }
}

#[test]
fn the_listener_is_tried_every_millisecond_under_load() {
    let mut load = Load::new(Personality::WASI_COMMON, 64, 1000);
    for turn in 0..20 {
        load.pause = PAUSES[turn % 2];
        load.iterate();
        let _client = load.server.fake.connect(load.server.fd);
        let start = load.server.fake.now();
        let mut longest = 0;
        loop {
            let before = load.server.fake.now();
            let (_, accepted) = load.iterate();
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
            load.iterate();
        }
        let before = load.server.fake.counts();
        for _ in 0..100 {
            load.iterate();
        }
        let after = load.server.fake.counts();
        assert_eq!(after.reads - before.reads, 6400);
        let most = if idle == 0 { 0 } else { 100 };
        assert!(after.polls - before.polls <= most, "{after:?} {before:?}");
    }
}

/// When the busy connections are gone, the poller must not go on speculating about them.
#[test]
fn speculation_ends_with_the_busy_connections() {
    let mut load = Load::new(Personality::WASI_COMMON, 64, 0);
    load.pause = 0;
    for _ in 0..200 {
        load.iterate();
    }
    for (_, stream) in load.busy.drain(..) {
        load.server.poller.deregister(stream);
    }
    let before = load.server.fake.now();
    assert_eq!(load.server.wait(50), []);
    assert!(load.server.fake.now() - before >= 50_000_000);
}

#[test]
fn few_speculative_reads_find_nothing() {
    for pause in [20, 100, 200, 300, 400, 1000] {
        let mut load = Load::new(Personality::WASI_COMMON, 64, 0);
        load.pause = pause;
        let before = load.server.fake.counts();
        for _ in 0..2000 {
            load.iterate();
        }
        let after = load.server.fake.counts();
        let (reads, again) = (after.reads - before.reads, after.again - before.again);
        // `AGAIN` costs 6.4 µs here. So the poller goes on speculating as long as 1 read in 64 or fewer return it.
        // After an iteration in which more do, it makes up to 64 polls before it speculates again.
        assert!(again * 25 <= reads, "{again} of {reads} with {pause}");
    }
}

#[test]
fn thousands_of_idle_connections_cost_no_polls() {
    let mut load = Load::new(Personality::WASI_COMMON, 0, 5000);
    load.server.wait(100);
    let before = load.server.fake.counts();
    for _ in 0..10 {
        assert_eq!(load.server.wait(1000), []);
    }
    assert!(load.server.fake.counts().polls - before.polls <= 20);
    // And a request is found by the first poll.
    load.idle[4321].0.send(b"request");
    let before = load.server.fake.counts();
    assert!(of(&load.server.wait(1000), 5321).is_some());
    assert_eq!(load.server.fake.counts().polls - before.polls, 1);
}
