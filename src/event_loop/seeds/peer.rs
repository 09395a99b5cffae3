//! A client: it follows its plan in the virtual time of the fake runtime, and records what happens.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use wasip1_poll::Fd;
use wasip1_poll::fake::{Client, Fake, Rng};

use super::plan::{Ending, Manner, Plan, Reading};
use super::requests::Planned;
use super::responses::{self, Framing, Response};
use super::streams::Script;

/// A client with all that has happened to it. Times are nanoseconds.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) client: Client,
    pub(super) plan: Plan,
    pub(super) connected_at: u64,
    /// All bytes that it may send, and where each request begins and ends in them.
    wire: Vec<u8>,
    spans: Vec<(usize, usize)>,
    pub(super) sent: usize,
    /// When the first byte of each request was sent.
    pub(super) begun_at: Vec<u64>,
    /// When the last byte of each was.
    pub(super) sent_at: Vec<u64>,
    /// When anything was last sent.
    pub(super) last_sent_at: u64,
    pub(super) ended_at: Option<u64>,
    /// When the client reset the connection, or its file descriptor was stolen (`Ending::Stolen`).
    pub(super) broken_at: Option<u64>,
    inbox: Vec<u8>,
    /// Bytes that it has taken.
    pub(super) received: u64,
    /// The responses to its requests, in order.
    pub(super) responded: usize,
    /// For each of them, the time of the server's last write before the client took it.
    pub(super) responded_at: Vec<u64>,
    /// When `100 Continue` was written for a request, by the request's index among the client's.
    pub(super) continued_at: BTreeMap<usize, u64>,
    /// The statuses of all complete responses.
    pub(super) statuses: Vec<u16>,
    /// The status and the time of a refusal that came last, in place of a response to a request.
    pub(super) refusal: Option<(u16, u64)>,
    /// When a response had a `Connection: close` that the plan doesn't have.
    pub(super) cut_short_at: Option<u64>,
    /// When it saw the end of the server's stream.
    pub(super) saw_end_at: Option<u64>,
    /// It has received a response with `Connection: close`.
    pub(super) is_over: bool,
    /// The poller accepted its connection, and the loop never took it from the poller.
    pub(super) is_untaken: bool,
    /// The last response may have a body although the request was HEAD.
    ignores_rest: bool,
    rng: Rng,
    /// No client sends anything from this time on.
    quiet: u64,
    /// What all clients have done so far.
    acts: Rc<Cell<u64>>,
}

pub(super) type PeerRef = Rc<RefCell<Peer>>;

impl Peer {
    pub(super) fn connect(
        fake: &Fake,
        listener: Fd,
        plan: Plan,
        rng: Rng,
        (quiet, acts): (u64, Rc<Cell<u64>>),
    ) -> PeerRef {
        let client = fake.connect(listener);
        let room = match plan.reading {
            Reading::Prompt => 1 << 24,
            Reading::Slow { most, .. } => 3 * most,
            Reading::TooSlow { .. } | Reading::Never => 5_000,
        };
        client.set_room(room);
        let (spans, ending, begins_after) = (plan.spans(), plan.ending, plan.begins_after);
        let requests = plan.requests.iter();
        let wire = requests
            .flat_map(|request| &request.wire)
            .copied()
            .collect();
        let peer = Rc::new(RefCell::new(Self {
            client,
            plan,
            connected_at: fake.now(),
            wire,
            spans,
            sent: 0,
            begun_at: Vec::new(),
            sent_at: Vec::new(),
            last_sent_at: fake.now(),
            ended_at: None,
            broken_at: None,
            inbox: Vec::new(),
            received: 0,
            responded: 0,
            responded_at: Vec::new(),
            continued_at: BTreeMap::new(),
            statuses: Vec::new(),
            refusal: None,
            cut_short_at: None,
            saw_end_at: None,
            is_over: false,
            is_untaken: false,
            ignores_rest: false,
            rng,
            quiet,
            acts,
        }));
        let begins = Rc::clone(&peer);
        fake.after(begins_after, move |fake| go_on(fake, &begins));
        take(fake, &peer);
        if let Ending::Resets(after) | Ending::Stolen(after) = ending {
            let peer = Rc::clone(&peer);
            fake.after(after, move |fake| peer.borrow_mut().break_connection(fake));
        }
        peer
    }

    /// Takes all that is left, when the server has ended.
    pub(super) fn take_rest(&mut self) {
        if self.plan.reading != Reading::Never {
            let bytes = self.client.receive();
            self.receive(&bytes);
            self.check_part();
        }
    }

    /// Whether its plan is that its file descriptor is closed behind the server's back.
    pub(super) fn is_stolen(&self) -> bool {
        matches!(self.plan.ending, Ending::Stolen(_))
    }

    /// Whether that has happened.
    pub(super) fn was_stolen(&self) -> bool {
        self.is_stolen() && self.broken_at.is_some()
    }

    fn break_connection(&mut self, fake: &Fake) {
        self.record_act();
        match self.client.fd() {
            _ if self.client.is_closed() => return,
            Some(fd) if self.is_stolen() => fake.steal(fd),
            _ => self.client.reset(),
        }
        self.broken_at = Some(fake.now());
    }

    /// Sends the next piece. Returns when to go on, if there is more to be done.
    fn send(&mut self, now: u64) -> Option<Duration> {
        let hears = !self.is_over || self.plan.is_stubborn;
        if now >= self.quiet || self.broken_at.is_some() || self.ended_at.is_some() || !hears {
            return None;
        }
        let current = self.sent_at.len();
        let Some(&(begin, end)) = self.spans.get(current) else {
            return self.end(now);
        };
        let stop = end.min(self.plan.most_sent);
        if self.sent >= stop {
            return self.end(now);
        }
        let waits = matches!(self.plan.manner, Manner::Turns(_)) && self.sent == begin;
        if waits && self.responded < current {
            return Some(Duration::from_millis(2));
        }
        let stop = match self.held_back_from(current, begin, now) {
            Some(from) if self.sent == from => return Some(Duration::from_millis(2)),
            Some(from) => stop.min(from),
            None => stop,
        };
        let (piece, pause) = match self.plan.manner {
            Manner::Turns(piece) | Manner::Stream(piece) => {
                (piece.max((end - begin) / 40), self.rng.below(2_000_000))
            }
            Manner::Drip => (1, 50_000_000 + self.rng.below(50_000_000)),
        };
        // A large piece may contain several requests.
        let whole = matches!(self.plan.manner, Manner::Stream(piece) if piece > 5_000);
        let stop = if whole { self.plan.most_sent } else { stop };
        self.send_up_to(now, stop.min(self.sent + piece));
        let between = match self.rng.below(8) {
            0 => self.rng.below(100_000_000),
            _ => 0,
        };
        let is_between = self.sent == end;
        Some(Duration::from_nanos(
            pause + if is_between { between } else { 0 },
        ))
    }

    /// From where on this request isn't sent yet, because its client waits for `100 Continue`.
    fn held_back_from(&self, current: usize, begin: usize, now: u64) -> Option<usize> {
        let held_back = self.plan.requests[current].held_back?;
        let from = begin + held_back.head;
        let is_told = self.continued_at.contains_key(&current) || self.responded > current;
        let has_waited = now >= self.last_sent_at + held_back.patience.as_nanos() as u64;
        let is_released = self.sent > from || self.sent == from && (is_told || has_waited);
        (!is_released && self.refusal.is_none()).then_some(from)
    }

    fn send_up_to(&mut self, now: u64, to: usize) {
        self.client.send(&self.wire[self.sent..to]);
        let begun = self.spans.iter().filter(|(begin, _)| *begin < to).count();
        let ended = self.spans.iter().filter(|(_, end)| *end <= to).count();
        self.begun_at.resize(begun, now);
        self.sent_at.resize(ended, now);
        self.sent = to;
        self.last_sent_at = now;
        self.record_act();
    }

    /// Called when the client has sent everything.
    fn end(&mut self, now: u64) -> Option<Duration> {
        if self.plan.ending == Ending::HalfCloses {
            self.client.end();
            self.ended_at = Some(now);
            self.record_act();
        }
        None
    }

    fn receive(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.record_act();
        self.received += bytes.len() as u64;
        if self.ignores_rest {
            return;
        }
        assert!(!self.is_over, "bytes after the last response");
        self.inbox.extend_from_slice(bytes);
        let mut used = 0;
        loop {
            self.note_continue(used);
            let planned = self.plan.requests.get(self.responded);
            let is_head = planned.is_some_and(|request| request.is_head);
            let Some((response, length)) = responses::read(&self.inbox[used..], is_head) else {
                break;
            };
            used += length;
            self.check(&response);
            self.is_over = response.says_close;
            // A server that refuses a request after the bytes "HE" can't know that its method is HEAD.
            self.ignores_rest = is_head && response.number.is_none();
            if self.is_over && !self.ignores_rest {
                let rest = &self.inbox[used..];
                assert!(
                    rest.is_empty(),
                    "after the last response: {}",
                    rest.escape_ascii()
                );
            }
            if self.is_over {
                break;
            }
        }
        self.inbox.drain(..used);
    }

    /// Records `100 Continue`, which may come once, and only for a request that has asked for it.
    fn note_continue(&mut self, from: usize) {
        let Some(rest) = self.inbox[from..].strip_prefix(responses::CONTINUE) else {
            return;
        };
        let planned = self.plan.requests.get(self.responded);
        let has_asked = planned.is_some_and(|it| it.asks()) && self.responded < self.begun_at.len();
        assert!(has_asked, "100 Continue for a request that hasn't asked");
        assert!(!rest.starts_with(responses::CONTINUE), "100 Continue twice");
        let at = self.client.written_at();
        self.continued_at.entry(self.responded).or_insert(at);
    }

    /// Compares a response whose end is missing with the plan.
    fn check_part(&mut self) {
        let planned = self.plan.requests.get(self.responded).map(Rc::clone);
        let is_head = planned.as_ref().is_some_and(|planned| planned.is_head);
        if self.is_over || self.ignores_rest || self.inbox.is_empty() {
            return;
        }
        let Some((mut response, _)) = responses::read_part(&self.inbox, is_head) else {
            return;
        };
        if response.number.is_none() {
            return;
        }
        let planned = planned.expect("a response to something");
        assert_eq!(response.number, Some(planned.number), "out of order");
        assert!(
            planned.response.starts_with(&response.body),
            "a part of {}",
            planned.number
        );
        let is_complete = planned
            .script
            .as_ref()
            .is_some_and(|it| it.is_complete(&planned));
        // Without a length, a client can't see that a part is missing.
        if response.framing == Framing::Close && is_complete && response.body == planned.response {
            response.is_whole = true;
            self.is_over = response.says_close;
            self.check(&response);
        }
    }

    /// Compares a response with the plan.
    fn check(&mut self, response: &Response) {
        self.statuses.push(response.status);
        let at = self.client.written_at();
        let next = self.plan.requests.get(self.responded);
        let is_due = self.responded < self.begun_at.len();
        let planned = next.filter(|_| is_due);
        let is_that = |planned: &&Rc<Planned>| match response.number {
            Some(number) => planned.number == number,
            None => planned.status == response.status && response.status >= 400,
        };
        let Some(planned) = planned.filter(is_that) else {
            assert!(response.number.is_none(), "out of order: {response:?}");
            assert!(response.says_close, "a refusal is the last: {response:?}");
            self.refusal = Some((response.status, at));
            return;
        };
        if response.number.is_some() {
            assert_eq!(response.status, planned.status);
            let script = planned.script.as_ref();
            let announces_nothing = script.is_some_and(Script::announces_nothing);
            let is_empty = !planned.may_have_body() || announces_nothing;
            let body: &[u8] = if is_empty { &[] } else { &planned.response };
            assert!(response.body == body, "the response to {}", planned.number);
            if let Some(script) = script {
                script.check(planned, response);
            }
        }
        assert!(
            response.says_close || planned.last.is_none(),
            "it closes, and doesn't say so: {response:?}"
        );
        if response.says_close && planned.last.is_none() {
            self.cut_short_at = Some(at);
        }
        self.responded += 1;
        self.responded_at.push(at);
    }

    fn record_act(&self) {
        self.acts.set(self.acts.get() + 1);
    }
}

/// Sends, and schedules what follows.
fn go_on(fake: &Fake, peer: &PeerRef) {
    let next = peer.borrow_mut().send(fake.now());
    if let Some(pause) = next {
        let peer = Rc::clone(peer);
        fake.after(pause, move |fake| go_on(fake, &peer));
    }
}

/// Takes what has come, and schedules the next time.
fn take(fake: &Fake, peer: &PeerRef) {
    assert!(fake.now() < 200_000_000_000, "the server doesn't end");
    let next = {
        let mut peer = peer.borrow_mut();
        let (most, every) = match peer.plan.reading {
            Reading::Prompt => (usize::MAX, Duration::from_millis(2)),
            Reading::Slow { most, every } | Reading::TooSlow { most, every } => (most, every),
            Reading::Never => return,
        };
        let bytes = peer.client.receive_at_most(most);
        peer.receive(&bytes);
        if peer.saw_end_at.is_none() && peer.client.is_at_end() {
            peer.saw_end_at = Some(fake.now());
        }
        let waits = peer.responded < peer.sent_at.len() && peer.refusal.is_none();
        let is_done = peer.client.is_reset() || peer.client.is_closed() && bytes.is_empty();
        match is_done {
            true => return,
            false if waits || !bytes.is_empty() => every,
            false => every.max(Duration::from_millis(20)),
        }
    };
    let peer = Rc::clone(peer);
    fake.after(next, move |fake| take(fake, &peer));
}
