//! The random clients. What they do is scheduled in the script of the fake runtime.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use crate::fake::{Client, Fake, Rng};
use crate::wasi::Fd;

/// A client: what it has sent and received, and how it ends.
pub(super) struct Peer {
    pub(super) client: Client,
    fate: Fate,
    sent: Vec<u8>,
    received: Vec<u8>,
    /// For each piece that the server hasn't begun to read: when it was sent, and how many bytes were sent before it.
    pub(super) times: VecDeque<(u64, usize)>,
    /// When it ended.
    pub(super) ended: Option<u64>,
    /// It does nothing more, and expects nothing more of the server.
    pub(super) over: bool,
}

impl Peer {
    pub(super) fn describe(&self) -> String {
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
pub(super) enum Fate {
    /// Half-closes, and waits until the server ends the stream.
    Ends,
    Resets,
    /// Stays connected to the end of the run.
    Stays,
    /// Its file descriptor is closed, but not by the poller.
    Stolen,
}

/// All clients connect before this time, in nanoseconds.
pub(super) const CONNECTING: u64 = 60_000_000;

pub(super) type Peers = Rc<RefCell<Vec<Rc<RefCell<Peer>>>>>;

/// Schedules what a random client does, from its connection on.
pub(super) fn plan(fake: &Fake, listener: Fd, rng: &mut Rng, peers: &Peers) {
    let mut rng = Rng::new(rng.next_u64());
    let peers = Rc::clone(peers);
    let connects = Duration::from_nanos(rng.below(CONNECTING));
    fake.after(connects, move |fake| {
        let client = fake.connect(listener);
        client.set_room(200 + rng.below(4000) as usize);
        let fate = [
            Fate::Ends,
            Fate::Ends,
            Fate::Resets,
            Fate::Stays,
            Fate::Stolen,
        ];
        let fate = fate[rng.below(5) as usize];
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
        for _ in 0..rng.below(6) {
            // Pauses within an iteration, while the connection is busy, and long enough for it to become idle.
            let pause = rng.pick(&[10_000, 1_000_000, 50_000_000]);
            at += rng.below(pause);
            let length = rng.pick(&[1, 1, 2, 100, 3000]);
            let peer = Rc::clone(&peer);
            let bytes: Vec<u8> = (0..length).map(|_| rng.next_u64() as u8).collect();
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
        at += 1 + rng.below(20_000_000);
        let ending_peer = Rc::clone(&peer);
        fake.after(Duration::from_nanos(at), move |fake| {
            end(fake, &ending_peer)
        });
        let drains = rng.below(3_000_000);
        drain(fake, peer, Duration::from_nanos(drains));
    });
}

/// Takes what has arrived, and schedules itself again until the client is over.
fn drain(fake: &Fake, peer: Rc<RefCell<Peer>>, every: Duration) {
    {
        let mut peer = peer.borrow_mut();
        let bytes = peer.client.receive();
        peer.received.extend(bytes);
        assert!(peer.sent.starts_with(&peer.received), "not what was sent");
        // After an injected fault, the server has to close the connection.
        peer.over |= peer.client.is_faulted() && peer.client.is_closed();
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
            // Without a file descriptor there is nothing to close. And if the server has closed it, the number may
            // belong to another connection.
            match peer.client.fd() {
                Some(fd) if !peer.client.is_closed() => fake.steal(fd),
                Some(_) => {}
                None => peer.client.reset(),
            }
            peer.over = true;
        }
    }
}
