//! Checks while a world with futures runs: each wait of the loop ends when something is due, and what a request owns is
//! dropped in time.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use wasip1_poll::fake::Fake;

/// What is watched; clones share it. Times are nanoseconds.
#[derive(Clone)]
pub(in crate::event_loop::seeds) struct Watch {
    pub(in crate::event_loop::seeds) fake: Fake,
    shared: Rc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// What has happened in this world so far.
    acts: Rc<Cell<u64>>,
    last_number: Cell<u64>,
    /// What is waited for: when it is due.
    due: RefCell<BTreeMap<u64, Due>>,
    /// What a request owns, by its number: when the last of it was dropped, and how much is left.
    owned: RefCell<BTreeMap<u64, Owned>>,
    /// The faults that were found. A handler can't panic instead, because the loop would catch that.
    faults: RefCell<Vec<String>>,
    /// How many waits with a timeout of zero there were since anything has happened, and what had happened by then.
    idle_waits: Cell<(u64, u64)>,
}

/// When something that is waited for is due.
#[derive(Clone, Copy, Debug)]
pub(super) enum Due {
    /// Not known yet.
    Open,
    /// It was woken.
    Woken,
    /// At this time, by the loop's own clock.
    At(u64),
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Owned {
    count: u64,
    pub(super) dropped_at: u64,
    /// Bytes that its response's body produced.
    pub(super) produced: u64,
    pub(super) begun_at: u64,
    /// When its body was first polled.
    pub(super) polled_at: Option<u64>,
}

impl Watch {
    /// A sleep may begin this much later than its first poll: when the loop next reads the clock.
    const LATE: u64 = 50_000_000;
    /// It may seem to end this much too early: the clock of a runtime may be wrong by that.
    const EARLY: u64 = 4_000_000;
    /// The most waits that end at once with nothing done between them.
    const IDLE_WAITS: u64 = 1_000;

    pub(in crate::event_loop::seeds) fn new(fake: Fake, acts: Rc<Cell<u64>>) -> Self {
        let shared = Shared {
            acts,
            ..Shared::default()
        };
        Self {
            fake,
            shared: Rc::new(shared),
        }
    }

    /// Called before each wait of the loop.
    pub(in crate::event_loop::seeds) fn check_wait(&self, timeout: Option<Duration>) {
        let now = self.fake.now();
        let until = timeout.map(|timeout| now + timeout.as_nanos() as u64);
        for due in self.shared.due.borrow().values() {
            let in_time = match *due {
                Due::Open => true,
                Due::Woken => timeout == Some(Duration::ZERO),
                Due::At(at) => until.is_some_and(|until| until <= at.max(now) + Self::LATE),
            };
            assert!(in_time, "at {now} it waits {timeout:?}, and {due:?} is due");
        }
        self.check_spin(timeout);
    }

    fn check_spin(&self, timeout: Option<Duration>) {
        let (waits, acts_before) = self.shared.idle_waits.get();
        let acts = self.shared.acts.get();
        let waits = match timeout == Some(Duration::ZERO) && acts == acts_before {
            true => waits + 1,
            false => 0,
        };
        assert!(waits <= Self::IDLE_WAITS, "the loop spins");
        self.shared.idle_waits.set((waits, acts));
    }

    pub(in crate::event_loop::seeds) fn record_act(&self) {
        self.shared.acts.set(self.shared.acts.get() + 1);
    }

    pub(super) fn wait_for(&self, due: Due) -> Waiting {
        let number = self.shared.last_number.get() + 1;
        self.shared.last_number.set(number);
        self.shared.due.borrow_mut().insert(number, due);
        Waiting {
            watch: self.clone(),
            number,
        }
    }

    pub(in crate::event_loop::seeds) fn fault(
        &self,
        is_right: bool,
        text: impl FnOnce() -> String,
    ) {
        if !is_right {
            self.shared.faults.borrow_mut().push(text());
        }
    }

    /// Returns a guard, which counts as something that the request owns until it is dropped.
    pub(super) fn own(&self, request: u64) -> Guard {
        let mut owned = self.shared.owned.borrow_mut();
        let owned = owned.entry(request).or_default();
        if owned.count == 0 && owned.begun_at == 0 {
            owned.begun_at = self.fake.now();
        }
        owned.count += 1;
        Guard {
            watch: self.clone(),
            request,
        }
    }

    pub(super) fn record_produced(&self, request: u64, bytes: usize) {
        self.record_act();
        let mut owned = self.shared.owned.borrow_mut();
        owned.entry(request).or_default().produced += bytes as u64;
    }

    /// The body of the request is polled.
    pub(super) fn polls(&self, request: u64) {
        let mut owned = self.shared.owned.borrow_mut();
        let owned = owned.entry(request).or_default();
        owned.polled_at.get_or_insert(self.fake.now());
    }

    pub(super) fn owned(&self, request: u64) -> Option<Owned> {
        self.shared.owned.borrow().get(&request).copied()
    }

    /// Called when the loop was dropped.
    pub(in crate::event_loop::seeds) fn check_end(&self) {
        assert_eq!(*self.shared.faults.borrow(), [""; 0]);
        for (number, owned) in self.shared.owned.borrow().iter() {
            assert_eq!(owned.count, 0, "something of request {number} is left");
        }
        let due = self.shared.due.borrow();
        assert!(due.is_empty(), "something waits still: {due:?}");
    }
}

/// Something that is waited for, until this is dropped.
pub(super) struct Waiting {
    watch: Watch,
    number: u64,
}

impl Waiting {
    pub(super) fn set(&self, due: Due) {
        let mut all = self.watch.shared.due.borrow_mut();
        all.insert(self.number, due);
    }

    /// It has ended because this time has come.
    pub(super) fn end_at(self, at: u64) {
        let now = self.watch.fake.now();
        self.watch.fault(now + Watch::EARLY >= at, || {
            format!("a sleep until {at} has ended at {now}")
        });
        self.watch.record_act();
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.watch.shared.due.borrow_mut().remove(&self.number);
    }
}

/// A part of what a request owns: its future, its body, its response's body.
pub(super) struct Guard {
    watch: Watch,
    request: u64,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut owned = self.watch.shared.owned.borrow_mut();
        let owned = owned.entry(self.request).or_default();
        owned.count -= 1;
        owned.dropped_at = self.watch.fake.now();
    }
}
