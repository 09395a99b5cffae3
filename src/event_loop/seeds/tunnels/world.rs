//! One world: a fake runtime, clients that want another protocol, and the loop that serves them.

#![allow(
    clippy::print_stdout,
    reason = "what a person who replays a seed wants to see"
)]

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use wasip1_poll::Fd;
use wasip1_poll::fake::{Fake, Personality, Rng};

use super::link::Link;
use super::peer::Peer;
use super::plan::{self, Plan};
use super::user::{Tools, handle};
use super::verdict::{Facts, judge};
use crate::event_loop::Settings;
use crate::event_loop::seeds::events::Events;
use crate::event_loop::seeds::lingering::{self, Manner, Unpolled};
use crate::event_loop::seeds::reasons::Tally;
use crate::event_loop::seeds::streams::Watch;
use crate::event_loop::streaming::Streaming;
use crate::executor::{Task, sleep};
use crate::handle::Handle;
use crate::incoming::with_conversion;
use crate::limits::Limits;

struct World {
    personality: Personality,
    fake: Fake,
    listener: Fd,
    settings: Settings,
    lingers: Manner,
    handle: Handle,
    watch: Watch,
    acts: Rc<Cell<u64>>,
    links: Rc<Vec<Rc<Link>>>,
    peers: Peers,
    /// When the server is stopped, and within which time.
    stops: (Duration, Duration),
    stopped_at: Rc<Cell<u64>>,
}

type Peers = Rc<RefCell<Vec<Rc<RefCell<Peer>>>>>;

/// The last client connects by then, in milliseconds.
const CONNECTING: u64 = 250;
/// When the server is stopped if it has all the time that it needs, in milliseconds.
const LATE: u64 = 4_000;

/// Runs the world of a seed, and checks what has happened.
pub(in crate::event_loop::seeds) fn run(personality: Personality, seed: u64, is_shown: bool) {
    if is_shown {
        // Another test of this process may have done it.
        let _ = env_logger::builder().is_test(true).try_init();
    }
    let world = World::new(personality, seed);
    world.serve();
    let ended_at = world.fake.now();
    if is_shown {
        let links = world.links.iter();
        links.for_each(|link| println!("{link:#?}"));
        println!(
            "{:#?}\n{:#?}",
            world.handle.counters(),
            world.settings.limits
        );
    }
    world.check(ended_at);
}

impl World {
    fn new(personality: Personality, seed: u64) -> Self {
        let fake = Fake::new(personality, seed);
        let listener = fake.preopen_listener();
        let mut rng = Rng::new(!seed);
        let limits = plan::limits(&mut rng);
        let count = match rng.below(4) {
            0 => 1,
            _ => 1 + rng.below(8),
        };
        let links = (0..count).map(|number| Link::new(Plan::random(&mut rng, number)));
        let links = Rc::new(links.collect());
        let early = rng.below(600);
        let stops = rng.pick(&[early, LATE, LATE, LATE]);
        let within = rng.pick(&[0, 100, 700, 2_000]);
        let acts = Rc::<Cell<u64>>::default();
        let world = Self {
            personality,
            watch: Watch::new(fake.clone(), Rc::clone(&acts)),
            // The limit of connections is not lowered for the sake of those that linger.
            lingers: Manner::random(&mut rng, &mut Limits::default()),
            fake,
            listener,
            settings: Settings {
                limits,
                ..Settings::default()
            },
            handle: Handle::new(),
            acts,
            links,
            peers: Peers::default(),
            stops: (Duration::from_millis(stops), Duration::from_millis(within)),
            stopped_at: Rc::default(),
        };
        let within = rng.pick(&[1, CONNECTING]);
        for link in world.links.iter() {
            let at = Duration::from_micros(rng.below(within * 1_000));
            world.connect_after(at, link, Rng::new(rng.next_u64()));
        }
        world
    }

    fn connect_after(&self, at: Duration, link: &Rc<Link>, rng: Rng) {
        let (listener, link) = (self.listener, Rc::clone(link));
        let (acts, peers) = (Rc::clone(&self.acts), Rc::clone(&self.peers));
        let action = move |fake: &Fake| {
            let peer = Peer::connect(fake, listener, &link, rng, &acts);
            peers.borrow_mut().push(peer);
        };
        self.fake.after(at, action);
    }

    fn serve(&self) {
        let tools = Tools {
            links: Rc::clone(&self.links),
            watch: self.watch.clone(),
            handle: self.handle.clone(),
        };
        let handler = move |request| handle(tools.clone(), request);
        let handler = with_conversion(handler);
        let mode = Streaming::new(handler, vec![self.stopper()], None, &self.settings);
        lingering::serve(
            mode,
            (&self.fake, self.listener),
            &self.settings,
            &self.lingers,
            &self.acts,
            (
                &self.handle,
                &self.watch,
                &Unpolled::default(),
                &Events::default(),
            ),
        );
    }

    /// The task that stops the server.
    fn stopper(&self) -> Task {
        let ((at, within), handle) = (self.stops, self.handle.clone());
        let (watch, stopped_at) = (self.watch.clone(), Rc::clone(&self.stopped_at));
        Box::pin(async move {
            sleep(at).await;
            stopped_at.set(watch.fake.now());
            watch.record_act();
            handle.stop_within(within);
        })
    }

    fn check(self, ended_at: u64) {
        self.watch.check_end();
        for peer in self.peers.borrow().iter() {
            peer.borrow_mut().take_rest(ended_at);
        }
        assert_eq!(self.fake.violations(), [""; 0]);
        assert_eq!(self.fake.open_streams(), 0, "a file descriptor has leaked");
        let counters = self.handle.counters();
        assert_eq!((counters.active, counters.held), (0, 0));
        let facts = Facts::new(
            self.personality,
            &self.settings.limits,
            self.links.len() as u64,
            (self.stopped_at.get(), self.stops.1),
        );
        facts.check_end(ended_at, counters.held_peak);
        let mut tally = Tally::default();
        for link in self.links.iter() {
            tally.add_reasons(false, &judge(&facts, link));
        }
        tally.check_closes(&counters);
    }
}
