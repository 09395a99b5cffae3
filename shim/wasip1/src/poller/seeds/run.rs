//! One run: an echo server, and the checks: that it returns what the clients send, finds it in time, makes few calls
//! when nothing happens, and leaks no file descriptor.

#![allow(
    clippy::print_stdout,
    reason = "a person who replays a seed wants to see it"
)]

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::IoSlice;
use std::rc::Rc;
use std::time::Duration;

use super::peers::{CONNECTING, Peer, plan};
use crate::errno::Errno;
use crate::fake::{Fake, Personality, Rng};
use crate::poller::{Interest, Poller, Ready, Registration};

pub(super) struct Run {
    fake: Fake,
    personality: Personality,
    shown: bool,
    poller: Poller<Fake>,
    listener: Registration,
    peers: Rc<RefCell<Vec<Rc<RefCell<Peer>>>>>,
    conns: HashMap<u64, Conn>,
    tokens: u64,
}

const LISTENER: u64 = u64::MAX;

impl Run {
    pub(super) fn new(personality: Personality, seed: u64, shown: bool) -> Self {
        let fake = Fake::new(personality, seed);
        let fd = fake.preopen_listener();
        let peers = Rc::default();
        let mut rng = Rng::new(!seed);
        for _ in 0..1 + rng.below(40) {
            plan(&fake, fd, &mut rng, &peers);
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
        }
    }

    pub(super) fn finish(mut self) {
        let until = CONNECTING + 2_000_000_000;
        while !self.is_over() {
            assert!(
                self.fake.now() < until,
                "not over in time: {}",
                self.state()
            );
            self.iterate(5_000_000);
        }
        self.check_calls_when_idle();
        for (_, conn) in std::mem::take(&mut self.conns) {
            self.poller.close(conn.stream);
        }
        assert_eq!(self.fake.open_streams(), 0, "a file descriptor has leaked");
        assert_eq!(self.fake.violations(), [""; 0]);
    }

    fn is_over(&self) -> bool {
        let over = |peer: &Rc<RefCell<Peer>>| peer.borrow().over;
        self.fake.is_script_over() && self.peers.borrow().iter().all(over)
    }

    fn iterate(&mut self, timeout: u64) {
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
                .expect("the stream of an event is open");
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
            // Its file descriptor may have been closed already, during the accept. Then nothing is ever read
            // from it, and it doesn't matter which client it belongs to.
            let found = peers.iter().find(|peer| is(peer) && is_open(peer));
            let found = found.or_else(|| peers.iter().find(is));
            let peer = Rc::clone(found.expect("the client that has connected"));
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

    /// Reads and writes. Returns whether the connection goes on.
    fn serve(&mut self, conn: &mut Conn, event: Ready) -> bool {
        if event.readable && !conn.ended {
            let mut buf = [0; 1000];
            match self.poller.read(&conn.stream, &mut buf) {
                Ok(0) => {
                    conn.ended = true;
                    let since = conn.peer.borrow().ended.expect("an end that was sent");
                    self.check_delay(since);
                }
                Ok(count) => {
                    conn.read += count;
                    while let Some(since) = conn.next_found() {
                        self.check_delay(since);
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

    /// Checks that something which happened at `since` was not found too late.
    fn check_delay(&mut self, since: u64) {
        let waited = self.fake.now() - since;
        let work = 40 * 4 * self.personality.costs.call;
        let most = self.personality.found_within(40, work);
        assert!(
            waited <= most,
            "{waited} ns to find an event: {}",
            self.state()
        );
    }

    /// Checks that the poller makes few calls when no client does anything.
    fn check_calls_when_idle(&mut self) {
        let settled = self.fake.now() + 200_000_000;
        while self.fake.now() < settled {
            self.iterate(1_000_000_000);
        }
        let before = self.fake.counts();
        // On a blind runtime the poller makes thousands of calls in a second, so only a part of one is measured.
        let parts = if self.personality.blind { 4 } else { 1 };
        let until = self.fake.now() + 1_000_000_000 / parts;
        while self.fake.now() < until {
            self.iterate(1_000_000_000);
        }
        let calls = self.fake.counts().all - before.all;
        let most = self.personality.calls_at_rest() / parts;
        assert!(
            calls <= most,
            "{calls} calls in a second without events: {}",
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

struct Conn {
    stream: Registration,
    peer: Rc<RefCell<Peer>>,
    pending: Vec<u8>,
    read: usize,
    ended: bool,
}

impl Conn {
    /// When the next piece was sent of which the server has read at least one byte.
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
