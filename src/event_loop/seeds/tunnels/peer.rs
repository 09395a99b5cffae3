//! A client: it follows its plan in the virtual time of the fake runtime.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use wasip1_poll::Fd;
use wasip1_poll::fake::{Client, Fake, Rng};

use super::link::Link;
use super::plan::{Ending, Taking};

/// A client at work.
pub(super) struct Peer {
    link: Rc<Link>,
    client: Client,
    /// All that it may send, and where the new protocol begins there.
    wire: Vec<u8>,
    heads: usize,
    /// What it must get of the new protocol, as far as that is written.
    expected: Vec<u8>,
    /// A part of a response.
    inbox: Vec<u8>,
    rng: Rng,
    /// What all clients have done so far.
    acts: Rc<Cell<u64>>,
}

impl Peer {
    pub(super) fn connect(
        fake: &Fake,
        listener: Fd,
        link: &Rc<Link>,
        rng: Rng,
        acts: &Rc<Cell<u64>>,
    ) -> Rc<RefCell<Self>> {
        let client = fake.connect(listener);
        let plan = &link.plan;
        client.set_room(plan.room);
        *link.client.borrow_mut() = Some(client.clone());
        link.far.borrow_mut().connected_at = fake.now();
        let mut wire = plan.heads();
        let heads = wire.len();
        wire.extend_from_slice(&plan.sends);
        let peer = Rc::new(RefCell::new(Self {
            link: Rc::clone(link),
            client,
            wire,
            heads,
            expected: plan.writes(),
            inbox: Vec::new(),
            rng,
            acts: Rc::clone(acts),
        }));
        send(fake, &peer);
        take(fake, &peer);
        if let Ending::Resets(after) = plan.ending {
            let peer = Rc::clone(&peer);
            fake.after(after, move |fake| peer.borrow_mut().reset(fake.now()));
        }
        peer
    }

    /// Takes all that is left, when the server has ended.
    pub(super) fn take_rest(&mut self, now: u64) {
        if !matches!(self.link.plan.taking, Taking::Stalls(_)) {
            let bytes = self.client.receive();
            self.receive(&bytes, now);
        }
    }

    fn record_act(&self) {
        self.acts.set(self.acts.get() + 1);
    }

    fn reset(&mut self, now: u64) {
        if !self.client.is_closed() {
            self.record_act();
            self.client.reset();
            self.link.far.borrow_mut().reset_at = Some(now);
        }
    }

    /// Sends the next piece. Returns when to go on.
    fn send(&mut self, now: u64) -> Option<Duration> {
        let link = Rc::clone(&self.link);
        let (plan, far) = (&link.plan, &mut *link.far.borrow_mut());
        let is_over = far.ended_at.is_some() || self.client.is_reset() || self.client.is_closed();
        if is_over {
            return None;
        }
        let follows = plan.follows && far.saw_end_at.is_some();
        let has_responses = far.statuses.len() > plan.before;
        let is_sent = far.sent == self.wire.len() && (plan.is_early || has_responses);
        if follows || is_sent && plan.ending == Ending::HalfCloses {
            self.record_act();
            self.client.end();
            far.ended_at = Some(now);
            return None;
        }
        let may_send = plan.is_early || far.is_open;
        let stop = if may_send {
            self.wire.len()
        } else {
            self.heads
        };
        let to = stop.min(far.sent + plan.piece);
        if far.sent == to {
            return Some(CHECK_EVERY);
        }
        self.record_act();
        self.client.send(&self.wire[far.sent..to]);
        (far.sent, far.sent_at) = (to, now);
        if far.sent >= self.heads {
            far.asked_at.get_or_insert(now);
            far.sends.push((far.sent - self.heads, now));
        }
        let pause = self.rng.below(plan.pause.as_nanos() as u64);
        Some(Duration::from_nanos(pause))
    }

    /// Takes what has come. Returns when to go on.
    fn take(&mut self, now: u64) -> Option<Duration> {
        let (most, every) = match self.link.plan.taking {
            Taking::Prompt => (usize::MAX, CHECK_EVERY),
            Taking::Slow(most) => (most, EVERY),
            Taking::Stalls(after) => {
                let far = self.link.far.borrow();
                (after.saturating_sub(far.heads + far.taken), CHECK_EVERY)
            }
        };
        let bytes = self.client.receive_at_most(most);
        self.receive(&bytes, now);
        if let Some(text) = self.link.overflow() {
            panic!("{text}: {:?}", self.link);
        }
        let mut far = self.link.far.borrow_mut();
        if self.client.is_at_end() {
            far.saw_end_at.get_or_insert(now);
        }
        let is_over = self.client.is_reset() || self.client.is_closed() && bytes.is_empty();
        (!is_over && most > 0).then_some(every)
    }

    fn receive(&mut self, bytes: &[u8], now: u64) {
        if bytes.is_empty() {
            return;
        }
        self.record_act();
        self.inbox.extend_from_slice(bytes);
        let link = Rc::clone(&self.link);
        let far = &mut *link.far.borrow_mut();
        while !far.is_open
            && let Some((status, length)) = response(&self.inbox)
        {
            self.inbox.drain(..length);
            far.heads += length;
            far.statuses.push(status);
            let is_last = far.statuses.len() > link.plan.before;
            far.is_open = is_last && link.plan.opening.upgrades() && status < 300;
        }
        if far.is_open {
            let data = std::mem::take(&mut self.inbox);
            let to = far.taken + data.len();
            let is_right = self.expected.get(far.taken..to) == Some(&data);
            assert!(is_right, "other bytes at {}: {link:?}", far.taken);
            assert!(
                to <= link.near.borrow().written,
                "bytes that the program didn't write"
            );
            (far.taken, far.taken_at) = (to, now);
            far.takes.push((to, now));
        }
    }
}

/// The status and the length of a response that is complete.
fn response(bytes: &[u8]) -> Option<(u16, usize)> {
    let end = bytes.windows(4).position(|it| it == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).expect("text");
    let status = head[9..12].parse().expect("a status");
    let field = head.to_ascii_lowercase();
    let length = field.split_once("content-length: ").map_or(0, |(_, rest)| {
        let digits = rest.split("\r\n").next().expect("a line");
        digits.parse().expect("a length")
    });
    (bytes.len() >= end + length).then_some((status, end + length))
}

fn send(fake: &Fake, peer: &Rc<RefCell<Peer>>) {
    let next = peer.borrow_mut().send(fake.now());
    if let Some(pause) = next {
        let peer = Rc::clone(peer);
        fake.after(pause, move |fake| send(fake, &peer));
    }
}

fn take(fake: &Fake, peer: &Rc<RefCell<Peer>>) {
    assert!(fake.now() < 200_000_000_000, "the server doesn't end");
    let next = peer.borrow_mut().take(fake.now());
    if let Some(pause) = next {
        let peer = Rc::clone(peer);
        fake.after(pause, move |fake| take(fake, &peer));
    }
}

/// How often a client checks what has happened.
const CHECK_EVERY: Duration = Duration::from_millis(2);

/// How often a slow one takes something.
const EVERY: Duration = Duration::from_millis(5);
