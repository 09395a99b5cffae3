//! An echo server on the fake runtime, with random clients: one run for each seed.
//!
//! `WASIP1_SEEDS=10000` runs so many seeds; `WASIP1_SEED=7` runs that one, and shows it.

#![allow(
    clippy::print_stdout,
    reason = "what a person who replays a seed wants to see"
)]

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use super::*;
use crate::fake::{Client, Costs, Fake, Faults, Personality, Rng};

#[test]
fn seeds_on_wasi_common() {
    run_seeds("wasi-common", Personality::WASI_COMMON);
}

#[test]
fn seeds_on_a_runtime_that_counts_milliseconds() {
    run_seeds(
        "coarse",
        Personality {
            tick: 1_000_000,
            ..Personality::WASI_COMMON
        },
    );
}

#[test]
fn seeds_on_a_slow_runtime() {
    let costs = Costs {
        poll: 10_000,
        subscription: 5_000,
        call: 20_000,
        failure: 60_000,
    };
    run_seeds(
        "slow",
        Personality {
            costs,
            ..Personality::WASI_COMMON
        },
    );
}

#[test]
fn seeds_on_wazero() {
    run_seeds("wazero", Personality::WAZERO);
}

#[test]
fn seeds_on_the_text() {
    run_seeds("strict", Personality::STRICT);
}

#[test]
fn seeds_on_a_hostile_runtime() {
    run_seeds("hostile", Personality::HOSTILE);
}

#[test]
fn seeds_on_a_hostile_blind_runtime() {
    let mut personality = Personality::WAZERO;
    personality.faults = Faults {
        poll_fails: 0,
        ..Personality::HOSTILE.faults
    };
    run_seeds("hostile and blind", personality);
}

fn run_seeds(name: &str, personality: Personality) {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|value| value.parse::<u64>().ok())
    };
    // A thousand in all where code is slow, ten thousand where it is fast.
    let (seeds, shown) = match number("WASIP1_SEED") {
        Some(seed) => (seed..seed + 1, true),
        None => (
            0..number("WASIP1_SEEDS").unwrap_or(if cfg!(debug_assertions) { 150 } else { 1500 }),
            false,
        ),
    };
    let mut worst = 0;
    for seed in seeds {
        let run = || Run::new(personality, seed, shown).finish();
        let latency = std::panic::catch_unwind(run).unwrap_or_else(|panic| {
            println!("{name}: failed with WASIP1_SEED={seed}");
            std::panic::resume_unwind(panic)
        });
        worst = worst.max(latency);
    }
    println!("{name}: nobody waited longer than {} µs", worst / 1000);
}

/// What a client sends and gets, and how it ends.
struct Peer {
    client: Client,
    fate: Fate,
    sent: Vec<u8>,
    received: Vec<u8>,
    /// When what was sent was sent, with the number of bytes before it.
    times: VecDeque<(u64, usize)>,
    ended: Option<u64>,
    over: bool,
}

impl Peer {
    fn describe(&self) -> String {
        let Self {
            client,
            fate,
            sent,
            received,
            ended,
            ..
        } = self;
        let (sent, received, fd) = (sent.len(), received.len(), client.fd());
        let closed = client.is_closed();
        format!(
            "fd {fd:?} {fate:?} sent {sent} received {received} ended {ended:?} closed {closed}"
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Half-closes and waits for the server to end.
    Ends,
    Resets,
    /// Is still there at the end.
    Stays,
    /// Its file descriptor is closed behind the poller's back.
    Stolen,
}

struct Conn {
    stream: Registration,
    peer: Rc<RefCell<Peer>>,
    pending: Vec<u8>,
    read: usize,
    ended: bool,
}

impl Conn {
    /// When something was sent of which some was read now.
    fn next_found(&self) -> Option<u64> {
        let times = &mut self.peer.borrow_mut().times;
        let (since, before) = *times.front()?;
        if before >= self.read {
            return None;
        }
        times.pop_front();
        Some(since)
    }
}

struct Run {
    fake: Fake,
    personality: Personality,
    shown: bool,
    poller: Poller<Fake>,
    listener: Registration,
    peers: Rc<RefCell<Vec<Rc<RefCell<Peer>>>>>,
    conns: HashMap<u64, Conn>,
    tokens: u64,
    worst: u64,
}

const LISTENER: u64 = u64::MAX;

/// When the last client connects, at the latest.
const CONNECTING: u64 = 60_000_000;

impl Run {
    fn new(personality: Personality, seed: u64, shown: bool) -> Self {
        let fake = Fake::new(personality, seed);
        let fd = fake.preopen_listener();
        let peers = Rc::default();
        let mut script = Rng::new(!seed);
        for _ in 0..1 + script.below(40) {
            plan(&fake, fd, &mut script, &peers);
        }
        let mut poller = Poller::new(fake.clone());
        let listener = poller.register_listener(fd, LISTENER).expect("a listener");
        let conns = HashMap::new();
        Self {
            fake,
            personality,
            shown,
            poller,
            listener,
            peers,
            conns,
            tokens: 0,
            worst: 0,
        }
    }

    /// The answer is how long the slowest thing took to be found.
    fn finish(mut self) -> u64 {
        let until = CONNECTING + 2_000_000_000;
        while !self.is_over() {
            assert!(
                self.fake.now() < until,
                "not over in time: {}",
                self.state()
            );
            self.round(5_000_000);
        }
        self.check_rest();
        for (_, conn) in std::mem::take(&mut self.conns) {
            self.poller.close(conn.stream);
        }
        assert_eq!(self.fake.open_streams(), 0, "a file descriptor has leaked");
        assert_eq!(self.fake.violations(), [""; 0]);
        self.worst
    }

    fn is_over(&self) -> bool {
        let over = |peer: &Rc<RefCell<Peer>>| peer.borrow().over;
        self.fake.is_script_over() && self.peers.borrow().iter().all(over)
    }

    fn round(&mut self, timeout: u64) {
        let mut ready = Vec::new();
        self.poller
            .wait(&mut ready, Some(Duration::from_nanos(timeout)))
            .expect("no fault here is the server's");
        if self.shown {
            println!("{:>12} {ready:?}", self.fake.now());
        }
        let mut tokens: Vec<u64> = ready.iter().map(|ready| ready.token).collect();
        tokens.sort_unstable();
        assert!(
            tokens.windows(2).all(|pair| pair[0] != pair[1]),
            "one event each: {ready:?}"
        );
        for event in ready {
            if event.listener {
                assert_eq!(event.token, LISTENER);
                self.accept();
                continue;
            }
            let mut conn = self
                .conns
                .remove(&event.token)
                .expect("no event after close");
            if self.serve(&mut conn, event) {
                self.conns.insert(event.token, conn);
            } else {
                self.poller.close(conn.stream);
            }
        }
    }

    fn accept(&mut self) {
        while let Ok(fd) = self.poller.accept(&self.listener) {
            let peers = self.peers.borrow();
            let is = |peer: &&Rc<RefCell<Peer>>| peer.borrow().client.fd() == Some(fd);
            let is_open = |peer: &&Rc<RefCell<Peer>>| !peer.borrow().client.is_closed();
            // It may have been stolen already, while it was accepted; then nothing is ever read
            // from it, and it doesn't matter whose it was.
            let found = peers.iter().find(|peer| is(peer) && is_open(peer));
            let found = found.or_else(|| peers.iter().find(is));
            let peer = Rc::clone(found.expect("the one who has connected"));
            drop(peers);
            self.tokens += 1;
            let stream = self.poller.register(fd, self.tokens, Interest::READ);
            let conn = Conn {
                stream,
                peer,
                pending: Vec::new(),
                read: 0,
                ended: false,
            };
            self.conns.insert(self.tokens, conn);
        }
    }

    /// Whether the connection goes on.
    fn serve(&mut self, conn: &mut Conn, event: Ready) -> bool {
        if event.readable && !conn.ended {
            let mut buf = [0; 1000];
            match self.poller.read(&conn.stream, &mut buf) {
                Ok(0) => {
                    conn.ended = true;
                    let since = conn.peer.borrow().ended.expect("an end that was sent");
                    self.note(since);
                }
                Ok(count) => {
                    conn.read += count;
                    while let Some(since) = conn.next_found() {
                        self.note(since);
                    }
                    conn.pending.extend_from_slice(&buf[..count]);
                }
                Err(Errno::AGAIN) => {}
                Err(_) => return false,
            }
        }
        while !conn.pending.is_empty() {
            let (first, second) = conn.pending.split_at(conn.pending.len() / 2);
            let bufs = [IoSlice::new(first), IoSlice::new(second)];
            match self.poller.write(&conn.stream, &bufs) {
                Ok(count) => drop(conn.pending.drain(..count)),
                Err(Errno::AGAIN) => break,
                Err(_) => return false,
            }
        }
        if conn.ended && conn.pending.is_empty() {
            return false;
        }
        let interest = Interest {
            read: !conn.ended,
            write: !conn.pending.is_empty(),
        };
        self.poller.set_interest(&conn.stream, interest);
        true
    }

    /// Something that was there at `since` has been found only now.
    fn note(&mut self, since: u64) {
        let waited = self.fake.now() - since;
        let most = self.bound();
        assert!(
            waited <= most,
            "{waited} ns to find what was there: {}",
            self.state()
        );
        self.worst = self.worst.max(waited);
    }

    /// The bound that the poller's documentation states, for at most 40 connections; a round
    /// lasts at most as long as trying each of them.
    fn bound(&self) -> u64 {
        let Costs {
            subscription,
            call,
            failure,
            ..
        } = self.personality.costs;
        let round = 40 * (subscription * 4 + call * 4 + failure) + self.personality.tick;
        let maybe = (16 * failure * 40).clamp(1_000_000, 50_000_000);
        let turn = 64 * 40 * subscription;
        let asleep = if self.personality.blind { 5_000_000 } else { 0 };
        // A poll that finds nothing takes a tick; finding what is ready among 40 takes a few.
        let narrowing = self.personality.tick * 9;
        // Each thing that goes wrong may cost one more of everything, and a pause; and no more
        // than ten do in a row, in the seeds that are run.
        let hostile = if self.personality.faults.again > 0 {
            10
        } else {
            1
        };
        (maybe + turn + asleep + narrowing + 3 * round) * hostile + self.personality.faults.late_by
    }

    /// With everyone quiet the poller must be, too.
    fn check_rest(&mut self) {
        let settled = self.fake.now() + 200_000_000;
        while self.fake.now() < settled {
            self.round(1_000_000_000);
        }
        let before = self.fake.counts();
        // A blind poller makes thousands of calls a second, so a part of one must do.
        let parts = if self.personality.blind { 4 } else { 1 };
        let until = self.fake.now() + 1_000_000_000 / parts;
        while self.fake.now() < until {
            self.round(1_000_000_000);
        }
        let calls = self.fake.counts().all - before.all;
        let most = match (self.personality.blind, self.personality.faults.spurious) {
            // 2 % of a second at 1.6 µs, and a thousand sleeps.
            (true, _) => 13_500 / parts,
            (false, 0) => 20,
            // Each of them is a spurious event, or a poll that fails or returns at once.
            (false, _) => 5_000,
        };
        assert!(
            calls <= most,
            "{calls} calls in a second at rest: {}",
            self.state()
        );
    }

    fn state(&self) -> String {
        let open = self.conns.len();
        let over = self
            .peers
            .borrow()
            .iter()
            .filter(|peer| peer.borrow().over)
            .count();
        let peers = self.peers.borrow().len();
        let all = self.peers.borrow();
        let waiting = all.iter().filter(|peer| !peer.borrow().over);
        let waiting: Vec<String> = waiting.map(|peer| peer.borrow().describe()).collect();
        format!(
            "at {}, {open} open, {over} of {peers} over; {waiting:#?}",
            self.fake.now()
        )
    }
}

type Peers = Rc<RefCell<Vec<Rc<RefCell<Peer>>>>>;

/// Puts a client in the script.
fn plan(fake: &Fake, listener: Fd, script: &mut Rng, peers: &Peers) {
    let mut script = Rng::new(script.next_u64());
    let peers = Rc::clone(peers);
    let connects = Duration::from_nanos(script.below(CONNECTING));
    fake.after(connects, move |fake| {
        let client = fake.connect(listener);
        client.set_room(200 + script.below(4000) as usize);
        let fate = [
            Fate::Ends,
            Fate::Ends,
            Fate::Resets,
            Fate::Stays,
            Fate::Stolen,
        ];
        let fate = fate[script.below(5) as usize];
        let peer = Rc::new(RefCell::new(Peer {
            client,
            fate,
            sent: Vec::new(),
            received: Vec::new(),
            times: VecDeque::new(),
            ended: None,
            over: false,
        }));
        peers.borrow_mut().push(Rc::clone(&peer));
        let mut at = 0;
        for _ in 0..script.below(6) {
            // Pauses of all sizes: within a round, while busy, and long enough to be idle.
            let pause = script.pick(&[10_000, 1_000_000, 50_000_000]);
            at += script.below(pause);
            let length = script.pick(&[1, 1, 2, 100, 3000]);
            let peer = Rc::clone(&peer);
            let bytes: Vec<u8> = (0..length).map(|_| script.next_u64() as u8).collect();
            fake.after(Duration::from_nanos(at), move |fake| {
                let mut peer = peer.borrow_mut();
                if !peer.over {
                    let before = peer.sent.len();
                    peer.times.push_back((fake.now(), before));
                    peer.client.send(&bytes);
                    peer.sent.extend(bytes);
                }
            });
        }
        at += 1 + script.below(20_000_000);
        let ending = Rc::clone(&peer);
        fake.after(Duration::from_nanos(at), move |fake| end(fake, &ending));
        let drains = script.below(3_000_000);
        drain(fake, peer, Duration::from_nanos(drains));
    });
}

/// Lets the client take what has arrived, again and again, until it is satisfied.
fn drain(fake: &Fake, peer: Rc<RefCell<Peer>>, every: Duration) {
    {
        let mut peer = peer.borrow_mut();
        let bytes = peer.client.receive();
        peer.received.extend(bytes);
        assert!(peer.sent.starts_with(&peer.received), "not what was sent");
        let everything = peer.received.len() == peer.sent.len();
        if peer.ended.is_some() && everything {
            peer.over |= match peer.fate {
                Fate::Ends => peer.client.is_at_end(),
                Fate::Stays => true,
                Fate::Resets | Fate::Stolen => false,
            };
        }
        if peer.over {
            return;
        }
    }
    fake.after(every.max(Duration::from_micros(100)), move |fake| {
        drain(fake, peer, every)
    });
}

fn end(fake: &Fake, peer: &RefCell<Peer>) {
    let mut peer = peer.borrow_mut();
    peer.ended = Some(fake.now());
    match peer.fate {
        Fate::Ends => peer.client.end(),
        Fate::Stays => {}
        Fate::Resets => {
            peer.client.reset();
            peer.over = true;
        }
        Fate::Stolen => {
            // Before it is accepted there is nothing to steal.
            match peer.client.fd() {
                Some(fd) => fake.steal(fd),
                None => peer.client.reset(),
            }
            peer.over = true;
        }
    }
}
