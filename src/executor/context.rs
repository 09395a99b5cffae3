//! What `sleep` and `spawn` find while a loop polls: the loop that they belong to.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::inbox::Inbox;
use super::sleep::Sleeps;
use super::tasks::Task;
use crate::time::Instant;

/// The sleeps, the new tasks and the inbox of one loop.
pub(crate) struct LoopContext {
    inbox: Arc<Inbox>,
    sleeps: Arc<Sleeps>,
    spawned: RefCell<Vec<Task>>,
    /// Whether the loop has ended: nothing is spawned any more.
    is_closed: Cell<bool>,
    /// The wakers of sleeps that are due: memory that is used again.
    due: RefCell<Vec<Waker>>,
}

thread_local! {
    /// The loop that polls now. There can be a loop within a loop: a handler that tests another one.
    static CURRENT: RefCell<Option<Rc<LoopContext>>> = const { RefCell::new(None) };
}

impl LoopContext {
    pub(crate) fn new(inbox: Arc<Inbox>) -> Rc<Self> {
        Rc::new(Self {
            inbox,
            sleeps: Arc::default(),
            spawned: RefCell::default(),
            is_closed: Cell::new(false),
            due: RefCell::default(),
        })
    }

    /// Calls `f`, in which `sleep` and `spawn` belong to this loop. Futures are polled and dropped in it.
    pub(crate) fn enter<T>(self: &Rc<Self>, f: impl FnOnce() -> T) -> T {
        let _restored = Restored(CURRENT.replace(Some(Rc::clone(self))));
        f()
    }

    /// The loop that polls now on this thread.
    pub(super) fn current() -> Option<Rc<Self>> {
        // A thread that ends may drop `CURRENT` before it drops a future.
        CURRENT
            .try_with(|current| current.borrow().clone())
            .ok()
            .flatten()
    }

    pub(crate) fn inbox(&self) -> &Arc<Inbox> {
        &self.inbox
    }

    pub(super) fn sleeps(&self) -> &Arc<Sleeps> {
        &self.sleeps
    }

    /// Whether sleeps were first polled since the last call of [`set_now`](Self::set_now).
    pub(crate) fn has_new_sleeps(&self) -> bool {
        self.sleeps.has_new()
    }

    /// Starts new sleeps at `now`, which the clock has just shown: a handler may have worked for long
    /// since the loop's wait, and no sleep may be too short. The earlier this is called after a poll,
    /// the more exact are its sleeps; [`next_sleep`](Self::next_sleep) does it at the latest.
    pub(crate) fn set_now(&self, now: Instant) {
        self.sleeps.start(now);
    }

    /// The time until a sleep is due, if there is one. The clock is read only then.
    pub(crate) fn next_sleep(&self, clock: impl FnOnce() -> Instant) -> Option<Duration> {
        self.sleeps.next(clock)
    }

    /// Wakes the sleeps that are due at `now`.
    pub(crate) fn wake_sleeps(&self, now: Instant) {
        let mut due = self.due.take();
        self.sleeps.take_due(now, &mut due);
        due.drain(..).for_each(Waker::wake);
        self.due.replace(due);
    }

    /// Has a task adopted by the loop; a loop that has ended drops it.
    pub(super) fn spawn(&self, task: Task) {
        if !self.is_closed.get() {
            self.spawned.borrow_mut().push(task);
        }
    }

    pub(super) fn has_spawned(&self) -> bool {
        !self.spawned.borrow().is_empty()
    }

    /// The tasks that were spawned since the last call.
    pub(super) fn take_spawned(&self) -> Vec<Task> {
        self.spawned.take()
    }

    /// Ends spawning.
    pub(super) fn close(&self) {
        self.is_closed.set(true);
    }
}

/// Restores the loop that polled before, also after a panic.
struct Restored(Option<Rc<LoopContext>>);

impl Drop for Restored {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}
