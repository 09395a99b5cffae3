//! One world: a fake runtime, clients, limits, and the loop that serves them.

#![allow(
    clippy::print_stdout,
    reason = "what a person who replays a seed wants to see"
)]

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use wasip1_poll::Fd;
use wasip1_poll::fake::{Fake, Personality, Rng};

use super::book::{self, Book};
use super::events::Events;
use super::facts::Facts;
use super::lingering::{self, Lingering, Manner, Unpolled};
use super::peer::{Peer, PeerRef};
use super::plan::{Kind, Plan};
use super::reasons::Tally;
use super::streams::{self, Tools, Watch};
use super::verdict;
use crate::event_loop::Settings;
use crate::event_loop::mode::Mode;
use crate::event_loop::streaming::Streaming;
use crate::event_loop::whole::WholeBodies;
use crate::handle::Handle;
use crate::incoming::with_conversion;
use crate::limits::Limits;
use crate::reactor::wasip1::Wasip1Reactor;

pub(super) struct World {
    kind: Kind,
    fake: Fake,
    listener: Fd,
    personality: Personality,
    settings: Settings,
    /// How long the handler works for a request.
    work: Duration,
    lingers: Manner,
    handle: Handle,
    book: Rc<RefCell<Book>>,
    peers: Rc<RefCell<Vec<PeerRef>>>,
    acts: Rc<Cell<u64>>,
    /// The runtime can't close listeners.
    keeps_listeners: bool,
    is_shown: bool,
    watch: Watch,
    unpolled: Unpolled,
    /// The events of responses, in worlds where they are observed.
    events: Events,
    is_observed: bool,
    /// Where handlers are futures: when the server is stopped, and within which time.
    stops: (Duration, Duration),
}

impl World {
    /// By then the last client has connected. All times are milliseconds.
    const CONNECTING: u64 = 250;
    /// By then the clients have sent their last byte.
    const QUIET: u64 = 500;
    /// By then the server has done what these bytes ask for.
    const REST: u64 = 900;
    /// The most connections that the poller accepts before the loop calls `accept`.
    const UNTAKEN: u64 = 4;

    pub(super) fn new(kind: Kind, personality: Personality, seed: u64, is_shown: bool) -> Self {
        if is_shown {
            // Another test of this process may have done it.
            let _ = env_logger::builder().is_test(true).try_init();
        }
        let fake = Fake::new(personality, seed);
        let listener = fake.preopen_listener();
        let mut rng = Rng::new(!seed);
        let mut limits = limits(&mut rng);
        // A generator of its own: the seed's other choices don't depend on how often it is used.
        let mut lingering_rng = Rng::new(seed ^ 0xC105ED);
        let lingers = Manner::random(&mut lingering_rng, &mut limits);
        if kind == Kind::Streams {
            streams::limits(&mut rng, &mut limits);
        }
        let work = Duration::from_micros(rng.pick(&[0, 0, 20, 300]));
        let keeps_listeners = rng.chance(200);
        if keeps_listeners {
            fake.keep_listeners();
        }
        let acts = Rc::<Cell<u64>>::default();
        let mut world = Self {
            kind,
            watch: Watch::new(fake.clone(), Rc::clone(&acts)),
            unpolled: Unpolled::default(),
            events: Events::default(),
            // A generator of its own, as above.
            is_observed: Rng::new(seed ^ 0x0B5E_17ED).chance(750),
            stops: (Duration::ZERO, Duration::ZERO),
            fake,
            listener,
            personality,
            settings: Settings {
                limits,
                ..Settings::default()
            },
            work,
            lingers,
            handle: Handle::new(),
            book: Rc::default(),
            peers: Rc::default(),
            acts,
            keeps_listeners,
            is_shown,
        };
        if world.is_observed {
            world.events.observe(&mut world.settings);
        }
        world.plan(&mut rng);
        world
    }

    /// Runs the server until it is stopped, and checks what has happened.
    pub(super) fn run(self) {
        let (fake, book) = (self.fake.clone(), Rc::clone(&self.book));
        let (handle, work) = (self.handle.clone(), self.work);
        match self.kind {
            Kind::Whole => self.serve(WholeBodies {
                handler: book::handler(fake, book, handle, work),
            }),
            Kind::Streams => {
                let watch = self.watch.clone();
                let tools = Tools {
                    book,
                    watch,
                    handle,
                    work,
                };
                let (at, within) = self.stops;
                let stopper = streams::stopper(tools.clone(), at, within);
                let handler = streams::handler(tools);
                let handler = with_conversion(handler);
                self.serve(Streaming::new(handler, vec![stopper], None, &self.settings));
            }
        }
        self.note_untaken();
        self.watch.check_end();
        self.check();
    }

    fn serve<M: Mode<Lingering<Wasip1Reactor<Fake>>>>(&self, mode: M) {
        lingering::serve(
            mode,
            (&self.fake, self.listener),
            &self.settings,
            &self.lingers,
            &self.acts,
            (&self.handle, &self.watch, &self.unpolled, &self.events),
        );
    }

    /// Records which connections are still open. The loop has closed all of its own, so the poller has accepted these,
    /// and the loop never took them.
    fn note_untaken(&self) {
        let peers = self.peers.borrow();
        let mut untaken = 0;
        for peer in peers.iter() {
            let mut peer = peer.borrow_mut();
            let client = &peer.client;
            peer.is_untaken = client.accepted_at().is_some() && client.closed_at().is_none();
            untaken += u64::from(peer.is_untaken);
        }
        assert!(untaken <= Self::UNTAKEN, "{untaken} were never taken");
    }

    fn plan(&mut self, rng: &mut Rng) {
        let mut numbers = 0;
        let count = match rng.below(4) {
            0 => 1 + rng.below(4),
            _ => 1 + rng.below(24),
        };
        // Many at nearly the same time, or one after the other.
        let within = rng.pick(&[1, 20, Self::CONNECTING]);
        for _ in 0..count {
            let at = Duration::from_micros(rng.below(within * 1000));
            let plan = Plan::random(rng, &self.settings.limits, &mut numbers, self.kind);
            self.connect_after(at, plan, Rng::new(rng.next_u64()), |_| true);
        }
        let stops = match rng.below(4) {
            0 => rng.below(Self::QUIET),
            // Some clients connect up to 20 ms before the stop. That must be after `check_rest` has measured.
            _ => Self::REST + 1_030,
        };
        self.check_rest();
        // Some come just before the server stops, some in the grace and some too late.
        for _ in 0..rng.below(6) {
            let later = rng.pick(&[21, 21, 700]);
            let from = stops.saturating_sub(20) * 1_000;
            let at = Duration::from_micros(from + rng.below(later * 1_000));
            let plan = Plan::random(rng, &self.settings.limits, &mut numbers, self.kind);
            self.connect_after(at, plan, Rng::new(rng.next_u64()), |_| true);
        }
        if self.kind == Kind::Streams {
            let within = rng.pick(&[0, 100, 700, 2_000]);
            self.stops = (Duration::from_millis(stops), Duration::from_millis(within));
            return;
        }
        for attempt in 0..200 {
            // The connection may fail, or not be accepted.
            let plan = Plan::stop(numbers + 1 + attempt);
            let at = Duration::from_millis(stops + attempt * 100);
            self.connect_after(at, plan, Rng::new(0), |handle| !handle.is_stopping());
        }
    }

    fn connect_after(&self, at: Duration, plan: Plan, rng: Rng, is_due: fn(&Handle) -> bool) {
        self.book.borrow_mut().add(&plan.requests);
        let (listener, peers) = (self.listener, Rc::clone(&self.peers));
        let quiet = match at.as_millis() as u64 {
            0..Self::QUIET => Self::QUIET,
            later => later + 1_000,
        };
        let common = (quiet * 1_000_000, Rc::clone(&self.acts));
        let handle = self.handle.clone();
        self.fake.after(at, move |fake| {
            if is_due(&handle) {
                let peer = Peer::connect(fake, listener, plan, rng, common);
                peers.borrow_mut().push(peer);
            }
        });
    }

    /// Checks that the loop makes few calls while no client sends or takes anything.
    fn check_rest(&self) {
        let begin = Rc::new(RefCell::new(None));
        let note = |handle: &Handle, acts: &Rc<Cell<u64>>| {
            let (handle, acts) = (handle.clone(), Rc::clone(acts));
            move |fake: &Fake| (fake.counts().all, acts.get(), handle.counters())
        };
        let (start, now) = (Rc::clone(&begin), note(&self.handle, &self.acts));
        self.fake
            .after(Duration::from_millis(Self::REST), move |fake| {
                *start.borrow_mut() = Some(now(fake));
            });
        let (handle, now) = (self.handle.clone(), note(&self.handle, &self.acts));
        let personality = self.personality;
        let peers = Rc::clone(&self.peers);
        let unpolled = self.unpolled.clone();
        let is_limited = self.settings.limits.max_connections < 100;
        // On a blind runtime the poller makes thousands of calls a second, so a quarter of a second is enough.
        let parts = if personality.blind { 4 } else { 1 };
        let until = Duration::from_millis(Self::REST + 1_000 / parts - 1);
        self.fake.after(until, move |fake| {
            if handle.is_stopping() {
                return;
            }
            let (calls_before, acts_before, before) = begin.take().expect("it was noted");
            let (calls, acts, counters) = now(fake);
            let (calls, acts) = (calls - calls_before, acts - acts_before);
            // Whatever happens, a client's act or a deadline, makes a connection busy for a while; and
            // there may be new connections that have waited for a free slot.
            let ended = before.active + counters.accepted - before.accepted;
            let requests = counters.requests - before.requests;
            let work = 100 * (acts + ended + requests);
            let most = personality.calls_at_rest() / parts + work;
            assert!(calls <= most, "{calls} calls at rest, {most} at most");
            let open = counters.active;
            // At the limit the poller may have accepted some that the loop doesn't take yet.
            let more = if is_limited { Self::UNTAKEN } else { 0 };
            let streams = fake.open_streams() as u64;
            // While the loop waits for a connection in no direction, it doesn't notice that its descriptor was closed.
            let is_unfound = |peer: &&PeerRef| {
                let peer = peer.borrow();
                peer.was_stolen() && peer.client.fd().is_some_and(|fd| unpolled.contains(fd))
            };
            let stolen = peers.borrow().iter().filter(is_unfound).count() as u64;
            assert!(
                (open.saturating_sub(stolen)..=open + more).contains(&streams),
                "{streams} open, {open} of them known to the loop"
            );
        });
    }

    fn check(self) {
        let ended_at = self.fake.now();
        let peers = self.peers.take();
        peers.iter().for_each(|peer| peer.borrow_mut().take_rest());
        let (counters, limits) = (self.handle.counters(), &self.settings.limits);
        if self.is_shown {
            peers
                .iter()
                .for_each(|peer| println!("{}", peer.borrow().describe()));
            println!("{:#?}\n{limits:#?}", counters);
        }
        assert_eq!(self.fake.violations(), [""; 0]);
        assert_eq!(self.fake.open_streams(), 0, "a file descriptor has leaked");
        assert_eq!(counters.active, 0);
        assert_eq!(counters.held, 0, "bytes are still held");
        let book = self.book.borrow();
        let stopped_at = book.stopped_at.expect("it was stopped");
        let keeps = self.keeps_listeners;
        let facts = Facts::new(
            self.personality,
            limits,
            self.work,
            &peers,
            (stopped_at, keeps),
        );
        let most = match self.kind {
            Kind::Whole => facts.longest_stop(),
            Kind::Streams => facts.longest_cut(self.stops.1),
        };
        let took = ended_at - stopped_at;
        assert!(took <= most, "{took} ns to stop");
        assert!(
            counters.held_peak <= facts.most_held(),
            "{} bytes held",
            counters.held_peak
        );
        let mut tally = Tally::default();
        let mut all_reasons = Vec::new();
        for peer in &peers {
            let peer = peer.borrow();
            let reasons = match self.kind {
                Kind::Whole => verdict::judge(&facts, &peer, &book),
                Kind::Streams => streams::judge(&facts, &peer, &self.watch, self.stops.1),
            };
            tally.add(&peer, &reasons);
            all_reasons.push(reasons);
        }
        tally.check(&counters, &book, self.kind);
        if self.is_observed {
            let known = (&*book, &counters);
            self.events.check(self.kind, &peers, &all_reasons, known);
        }
    }
}

/// Limits of which some are so small that they are met.
fn limits(rng: &mut Rng) -> Limits {
    let millis = |from, to, rng: &mut Rng| Duration::from_millis(from + rng.below(to - from));
    let mut limits = Limits {
        max_body: 1 << 16,
        head_timeout: millis(3_000, 5_000, rng),
        idle_timeout: millis(5_000, 10_000, rng),
        rate_window: millis(2_000, 4_000, rng),
        linger_timeout: millis(1_000, 3_000, rng),
        min_rate: rng.pick(&[500, 20_000]),
        max_pending_output: rng.pick(&[1, 1_000, 64 << 10]),
        accepts_per_turn: rng.pick(&[1, 3, 64]),
        ..Limits::default()
    };
    if rng.chance(400) {
        limits.head_timeout = millis(150, 600, rng);
        limits.idle_timeout = millis(250, 900, rng);
        limits.rate_window = millis(200, 600, rng);
        limits.linger_timeout = millis(200, 500, rng);
    }
    if rng.chance(250) {
        limits.max_connections = 1 + rng.below(8) as usize;
    }
    if rng.chance(250) {
        limits.max_held = 10_000 + rng.below(200_000) as usize;
    }
    limits
}
