//! A reactor whose closed streams linger, as those of WASI 0.2 do, with checks of what must hold then.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::time::Duration;

use poll_turns::Key;
use wasip1_poll::fake::{Fake, Rng};
use wasip1_poll::{Fd, Registration};

use super::events::Events;
use super::streams::Watch;
use crate::event_loop::mode::Mode;
use crate::event_loop::{EventLoop, Settings};
use crate::handle::Handle;
use crate::limits::Limits;
use crate::reactor::wasip1::Wasip1Reactor;
use crate::reactor::{Accepted, Event, Interest, Reactor};
use crate::time::Instant;

/// How the closed streams of a world linger.
#[derive(Clone, Debug)]
pub(super) struct Manner {
    /// How many of 1,000 closed streams linger.
    per_mille: u16,
    /// How many of 1,000 lingering streams do so without end, if the contract allows another one.
    endless: u16,
    /// The others end within this time, in nanoseconds.
    longest: u64,
    rng: Rng,
}

impl Manner {
    /// In half of the worlds none lingers, as natively. In most of the others the limit of connections
    /// is low: otherwise lingering streams would have no effect.
    pub(super) fn random(rng: &mut Rng, limits: &mut Limits) -> Self {
        let manner = Self {
            per_mille: rng.pick(&[0, 0, 300, 1_000]),
            endless: rng.pick(&[0, 300, 1_000]),
            longest: rng.pick(&[1_000_000, 100_000_000, 2_000_000_000]),
            rng: Rng::new(rng.next_u64()),
        };
        if manner.per_mille > 0 && rng.chance(700) {
            limits.max_connections = 1 + rng.below(4) as usize;
        }
        manner
    }
}

/// Serves on a fake runtime, whose closed streams linger, until the server has stopped.
pub(super) fn serve<M: Mode<Lingering<Wasip1Reactor<Fake>>>>(
    mode: M,
    (fake, listener): (&Fake, Fd),
    settings: &Settings,
    manner: &Manner,
    acts: &Rc<Cell<u64>>,
    (handle, watch, unpolled, events): (&Handle, &Watch, &Unpolled, &Events),
) {
    let reactor = Wasip1Reactor::new(fake.clone(), [listener]);
    let reactor = Lingering::new(
        reactor.expect("a listener"),
        manner.clone(),
        settings.limits.max_connections,
        Rc::clone(acts),
        (
            handle.clone(),
            watch.clone(),
            unpolled.clone(),
            events.clone(),
        ),
    );
    let mut shared = settings.shared(handle);
    let mut event_loop = EventLoop::new(reactor, mode, settings, handle, &mut shared);
    event_loop.run().expect("nothing ends the server");
}

/// A reactor that drops its streams at once, and counts some of them as lingering for a while.
pub(super) struct Lingering<R> {
    inner: R,
    manner: Manner,
    max_connections: usize,
    open: usize,
    /// The most that were open at once.
    most_open: usize,
    /// When each of those that linger ends; `None` if never.
    until: Vec<Option<Instant>>,
    is_paused: Vec<bool>,
    /// What has happened in this world so far.
    acts: Rc<Cell<u64>>,
    handle: Handle,
    watch: Watch,
    unpolled: Unpolled,
    events: Events,
}

/// The file descriptors of connections that the loop waits for in no direction.
#[derive(Clone, Default)]
pub(super) struct Unpolled(Rc<RefCell<BTreeSet<Fd>>>);

impl Unpolled {
    pub(super) fn contains(&self, fd: Fd) -> bool {
        self.0.borrow().contains(&fd)
    }

    fn set(&self, fd: Fd, is_unpolled: bool) {
        let mut all = self.0.borrow_mut();
        match is_unpolled {
            true => all.insert(fd),
            false => all.remove(&fd),
        };
    }
}

impl<R: Reactor> Lingering<R> {
    fn new(
        inner: R,
        manner: Manner,
        max_connections: usize,
        acts: Rc<Cell<u64>>,
        (handle, watch, unpolled, events): (Handle, Watch, Unpolled, Events),
    ) -> Self {
        Self {
            is_paused: vec![false; inner.listeners()],
            inner,
            manner,
            max_connections,
            open: 0,
            most_open: 0,
            until: Vec::new(),
            acts,
            handle,
            watch,
            unpolled,
            events,
        }
    }

    /// Checks that a wait has an end while a listener is paused.
    fn check_pause(&self, timeout: Option<Duration>) {
        let is_paused = self.is_paused.contains(&true);
        let ends = self.until.iter().any(Option::is_some);
        let has_end = timeout.is_some() || ends;
        assert!(
            !is_paused || has_end,
            "a listener is paused, and nothing ends the wait: {} are open, {} linger without end",
            self.open,
            self.until.len()
        );
    }

    /// Checks the bound on open connections and lingering ones together. A server that stops has no such bound, because
    /// it accepts all connections in its backlog.
    fn check_count(&self) {
        if self.handle.is_stopping() {
            return;
        }
        let (open, lingering) = (self.open, self.until.len());
        assert!(
            open + lingering <= 2 * (self.max_connections + 1),
            "{open} are open and {lingering} linger, and {} connections are allowed",
            self.max_connections
        );
    }

    fn linger(&mut self) {
        let Manner {
            per_mille,
            endless,
            longest,
            rng,
        } = &mut self.manner;
        if !rng.chance(*per_mille) {
            return;
        }
        let without_end = self.until.iter().filter(|until| until.is_none()).count();
        let is_endless = without_end < self.most_open && rng.chance(*endless);
        let lasts = Duration::from_nanos(rng.below(*longest));
        let until = self.inner.now() + lasts;
        self.until.push((!is_endless).then_some(until));
    }

    fn drop_some(&mut self) {
        let (now, before) = (self.inner.now(), self.until.len());
        self.until.retain(|until| until.is_none_or(|at| at > now));
        let dropped = before - self.until.len();
        self.acts.set(self.acts.get() + dropped as u64);
    }
}

impl<R: Reactor<Stream = Registration>> Reactor for Lingering<R> {
    type Stream = Registration;

    const SHORT_IS_LAST: bool = R::SHORT_IS_LAST;

    fn listeners(&self) -> usize {
        self.inner.listeners()
    }

    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        self.check_pause(timeout);
        self.watch.check_wait(timeout);
        let now = self.inner.now();
        let next = self.until.iter().flatten().min();
        let left = next.map(|at| at.saturating_since(now));
        let timeout = [timeout, left].into_iter().flatten().min();
        self.inner.wait(events, timeout)?;
        self.drop_some();
        Ok(())
    }

    fn set_accepting(&mut self, listener: usize, accepting: bool) {
        self.is_paused[listener] = !accepting;
        self.inner.set_accepting(listener, accepting);
    }

    fn close_listener(&mut self, listener: usize) -> io::Result<()> {
        self.inner.close_listener(listener)?;
        self.is_paused[listener] = false;
        Ok(())
    }

    fn accept(&mut self, listener: usize, key: Key) -> io::Result<Accepted<Registration>> {
        let accepted = self.inner.accept(listener, key)?;
        self.open += 1;
        self.most_open = self.most_open.max(self.open);
        self.check_count();
        let fd = accepted.stream.fd();
        self.unpolled.set(fd, false);
        self.events.accepted(fd, self.watch.fake.now());
        Ok(accepted)
    }

    fn read(&mut self, stream: &mut Registration, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read(stream, buf)
    }

    fn write(&mut self, stream: &mut Registration, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.inner.write(stream, bufs)
    }

    fn set_interest(&mut self, stream: &mut Registration, interest: Interest) {
        self.unpolled.set(stream.fd(), interest == Interest::NONE);
        self.inner.set_interest(stream, interest);
    }

    fn shutdown_write(&mut self, stream: &mut Registration) -> io::Result<()> {
        self.inner.shutdown_write(stream)
    }

    fn close(&mut self, stream: Registration) {
        self.open -= 1;
        self.unpolled.set(stream.fd(), false);
        self.inner.close(stream);
        self.linger();
    }

    fn gains_by_closing(&self) -> bool {
        self.inner.gains_by_closing()
    }

    fn lingering(&self) -> usize {
        self.until.len()
    }

    fn now(&self) -> Instant {
        self.inner.now()
    }
}
