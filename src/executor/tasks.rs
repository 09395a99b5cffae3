//! `spawn`, and the table of a loop's tasks, which polls them and drops them at the end.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::thread;

use crate::log::error;
use poll_turns::{Key, Table};

use super::context::LoopContext;
use super::inbox::{Target, TaskWaker};

/// Runs a task concurrently with the requests, on the same thread, until it ends or the server has stopped.
///
/// It is first polled after the handler or task that calls this has returned from its own poll. The
/// task may outlive the request during which it was spawned. When the server stops, the task goes on
/// until the deadline of the stop, and is then dropped; so a task that runs without end should wait for
/// [`Handle::stopping`](crate::Handle::stopping), too. A panic ends only the task, unless
/// [`catch_panics`](crate::Server::catch_panics) is off.
///
/// ```
/// use std::time::Duration;
///
/// async fn handler() -> mini_http::Response<String> {
///     mini_http::spawn(async {
///         mini_http::sleep(Duration::from_secs(1)).await;
///         println!("a second after the request");
///     });
///     mini_http::Response::new("done".into())
/// }
/// ```
///
/// # Panics
/// Outside a server: it works in handlers and bodies of `Server::serve_async`, in their tasks, and in
/// [`test::run`](crate::test::run). Before the server runs, use `Server::spawn`.
pub fn spawn(task: impl Future<Output = ()> + 'static) {
    let Some(current) = LoopContext::current() else {
        panic!(
            "mini_http::spawn is called outside a server. Call it in a handler of \
             `Server::serve_async`, in a body or task of that server, or in `mini_http::test::run`. \
             For a task that begins when the server runs, use `Server::spawn`"
        );
    };
    current.spawn(Box::pin(task));
}

/// A task that can be polled.
pub(crate) type Task = Pin<Box<dyn Future<Output = ()>>>;

/// The tasks of one loop.
pub(crate) struct Tasks {
    context: Rc<LoopContext>,
    running: Table<Running>,
    catch_panics: bool,
}

struct Running {
    task: Task,
    state: Arc<TaskWaker>,
    /// `state` as it is given to the task: made once, so that a poll allocates nothing.
    waker: Waker,
}

impl Tasks {
    pub(crate) fn new(context: Rc<LoopContext>, catch_panics: bool) -> Self {
        Self {
            context,
            running: Table::default(),
            catch_panics,
        }
    }

    /// Adds a task, and brings it into the inbox for its first poll.
    pub(crate) fn add(&mut self, task: Task) {
        let target = Target::Task(self.running.next_key());
        let state = TaskWaker::new(Arc::clone(self.context.inbox()), target);
        let waker = Waker::from(Arc::clone(&state));
        waker.wake_by_ref();
        self.running.insert(Running { task, state, waker });
    }

    /// Adds the tasks that were spawned since the last call. To be called before each wait.
    pub(crate) fn adopt_spawned(&mut self) {
        if self.context.has_spawned() {
            let spawned = self.context.take_spawned();
            spawned.into_iter().for_each(|task| self.add(task));
        }
    }

    /// Polls a task, if it is there and was woken. Returns whether it was polled.
    ///
    /// # Panics
    /// If the task does, and panics aren't caught.
    pub(crate) fn poll(&mut self, key: Key) -> bool {
        let Some(running) = self.running.get_mut(key) else {
            return false;
        };
        if !running.state.take() {
            return false;
        }
        let mut cx = Context::from_waker(&running.waker);
        let task = &mut running.task;
        let poll = || self.context.enter(|| task.as_mut().poll(&mut cx));
        let is_pending = guard(self.catch_panics, poll).is_some_and(|polled| polled.is_pending());
        if !is_pending {
            self.remove(key);
        }
        true
    }

    /// Whether there is no task, not even one that was just spawned.
    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty() && !self.context.has_spawned()
    }

    /// Drops all tasks. What they spawn while they are dropped, and later, is dropped, too.
    pub(crate) fn clear(&mut self) {
        self.context.close();
        self.adopt_spawned();
        for key in self.running.keys() {
            self.remove(key);
        }
    }

    /// Whether any task could be woken by something that isn't in this loop.
    #[cfg(not(target_os = "wasi"))]
    pub(super) fn has_wakers_elsewhere(&self) -> bool {
        let mut all = self.running.iter();
        all.any(|(_, running)| running.state.has_wakers_elsewhere())
    }

    fn remove(&mut self, key: Key) {
        let removed = self.running.remove(key);
        guard(self.catch_panics, || {
            self.context.enter(|| drop(removed));
        });
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Calls `f`, which runs a task's code. Returns `None` if it has panicked and panics are caught: always
/// during another panic, because a second one would abort the process.
fn guard<T>(catch_panics: bool, f: impl FnOnce() -> T) -> Option<T> {
    if !catch_panics && !thread::panicking() {
        return Some(f());
    }
    let result = catch_unwind(AssertUnwindSafe(f));
    if result.is_err() {
        error!(target: "mini_http", "a task panicked; it has ended");
    }
    result.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::Inbox;
    use std::cell::{Cell, RefCell};
    use std::future::{pending, poll_fn};
    use std::task::Poll;

    /// A loop of tasks alone.
    struct Loop {
        inbox: Arc<Inbox>,
        tasks: Tasks,
    }

    impl Loop {
        fn new(catch_panics: bool) -> Self {
            let inbox = Inbox::new(None);
            let tasks = Tasks::new(LoopContext::new(Arc::clone(&inbox)), catch_panics);
            Self { inbox, tasks }
        }

        fn spawn(&mut self, task: impl Future<Output = ()> + 'static) {
            self.tasks.add(Box::pin(task));
        }

        /// An iteration. Returns how many tasks were polled.
        fn iterate(&mut self) -> usize {
            self.tasks.adopt_spawned();
            let mut woken = Vec::new();
            self.inbox.take(&mut woken);
            let mut polled = 0;
            for target in woken {
                let Target::Task(key) = target else {
                    panic!("there are tasks only");
                };
                polled += usize::from(self.tasks.poll(key));
            }
            polled
        }
    }

    /// Wakes itself, and is pending once.
    async fn yield_once() {
        let mut has_yielded = false;
        poll_fn(|cx| {
            if has_yielded {
                return Poll::Ready(());
            }
            has_yielded = true;
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    #[test]
    fn a_wake_up_during_a_poll_leads_to_another_poll() {
        let mut all = Loop::new(true);
        all.spawn(async {
            for _ in 0..1000 {
                yield_once().await;
            }
        });
        for _ in 0..1000 {
            assert_eq!(all.iterate(), 1);
        }
        assert!(!all.tasks.is_empty());
        assert_eq!(all.iterate(), 1);
        assert!(all.tasks.is_empty());
        assert_eq!(all.iterate(), 0);
    }

    #[test]
    fn a_task_that_always_wakes_itself_starves_no_other() {
        let mut all = Loop::new(true);
        let done = Rc::new(Cell::new(0));
        all.spawn(async {
            loop {
                yield_once().await;
            }
        });
        for _ in 0..3 {
            let done = Rc::clone(&done);
            all.spawn(async move {
                for _ in 0..10 {
                    yield_once().await;
                    done.set(done.get() + 1);
                }
            });
        }
        for _ in 0..11 {
            assert_eq!(all.iterate(), 4);
        }
        assert_eq!(done.get(), 30);
        assert_eq!(all.iterate(), 1);
    }

    #[test]
    fn a_late_wake_up_of_an_ended_task_polls_no_other() {
        let mut all = Loop::new(true);
        let waker = Rc::new(RefCell::new(None));
        let kept = Rc::clone(&waker);
        all.spawn(poll_fn(move |cx| {
            kept.replace(Some(cx.waker().clone()));
            Poll::Ready(())
        }));
        assert_eq!(all.iterate(), 1);
        // It is in the same slot.
        all.spawn(pending());
        assert_eq!(all.iterate(), 1);
        let waker = waker.take().expect("the first task has run");
        for _ in 0..3 {
            waker.wake_by_ref();
            assert_eq!(all.iterate(), 0);
        }
        drop(all);
        waker.wake();
    }

    /// On WASI, a panic ends the process.
    #[cfg(not(target_os = "wasi"))]
    #[test]
    fn a_panic_ends_only_its_task() {
        let mut all = Loop::new(true);
        let ended = Rc::new(Cell::new(false));
        let has_ended = Rc::clone(&ended);
        all.spawn(async { panic!("a test's panic in a poll") });
        let panics_when_dropped = PanicsWhenDropped;
        all.spawn(poll_fn(move |_| {
            let _ = &panics_when_dropped;
            Poll::Ready(())
        }));
        all.spawn(async move {
            yield_once().await;
            has_ended.set(true);
        });
        assert_eq!((all.iterate(), all.iterate()), (3, 1));
        assert!(ended.get() && all.tasks.is_empty());
    }

    #[cfg(not(target_os = "wasi"))]
    struct PanicsWhenDropped;

    #[cfg(not(target_os = "wasi"))]
    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            panic!("a test's panic in a drop");
        }
    }

    /// While the panic is passed on, the other tasks are dropped.
    #[cfg(not(target_os = "wasi"))]
    #[test]
    #[should_panic(expected = "a test's panic in a poll")]
    fn a_panic_is_passed_on_if_panics_are_not_caught() {
        let mut all = Loop::new(false);
        let panics_when_dropped = PanicsWhenDropped;
        all.spawn(async { panic!("a test's panic in a poll") });
        all.spawn(async move {
            let _panics_when_dropped = panics_when_dropped;
            pending::<()>().await;
        });
        all.iterate();
    }

    #[test]
    fn a_task_that_was_just_spawned_counts() {
        let mut all = Loop::new(true);
        all.spawn(async { spawn(async {}) });
        assert_eq!(all.iterate(), 1);
        assert!(all.tasks.running.is_empty() && !all.tasks.is_empty());
        assert_eq!(all.iterate(), 1);
        assert!(all.tasks.is_empty());
    }

    #[test]
    fn a_task_spawns_tasks_that_outlive_it() {
        let mut all = Loop::new(true);
        let steps = Rc::new(RefCell::new(Vec::new()));
        let log = Rc::clone(&steps);
        all.spawn(async move {
            let inner = Rc::clone(&log);
            spawn(async move {
                inner.borrow_mut().push("second polled");
                yield_once().await;
                inner.borrow_mut().push("second ended");
            });
            log.borrow_mut().push("first ended");
        });
        while all.iterate() > 0 {}
        let expected = ["first ended", "second polled", "second ended"];
        assert_eq!(*steps.borrow(), expected);
        assert!(all.tasks.is_empty());
    }

    #[test]
    fn at_the_end_all_are_dropped_and_what_they_spawn_then_too() {
        struct SpawnsWhenDropped(Rc<Cell<usize>>);
        impl Drop for SpawnsWhenDropped {
            fn drop(&mut self) {
                let dropped = Rc::clone(&self.0);
                dropped.set(dropped.get() + 1);
                if dropped.get() < 10 {
                    let next = Self(dropped);
                    spawn(async move {
                        let _next = next;
                        pending::<()>().await;
                    });
                }
            }
        }
        let mut all = Loop::new(true);
        let dropped = Rc::new(Cell::new(0));
        let first = SpawnsWhenDropped(Rc::clone(&dropped));
        all.spawn(async move {
            let _first = first;
            pending::<()>().await;
        });
        assert_eq!(all.iterate(), 1);
        all.tasks.clear();
        assert!(all.tasks.is_empty());
        assert_eq!(dropped.get(), 10);
    }

    #[test]
    #[should_panic(expected = "mini_http::spawn is called outside a server. Call it in a handler")]
    fn spawning_outside_a_loop_panics_with_advice() {
        spawn(async {});
    }

    /// After the inner loop, `spawn` belongs to the outer one again, also after a panic.
    #[cfg(not(target_os = "wasi"))]
    #[test]
    fn a_loop_within_a_loop_gives_the_place_back() {
        let (outer, inner) = (
            LoopContext::new(Inbox::new(None)),
            LoopContext::new(Inbox::new(None)),
        );
        outer.enter(|| {
            inner.enter(|| spawn(async {}));
            let result = catch_unwind(AssertUnwindSafe(|| {
                inner.enter(|| panic!("a test's panic"))
            }));
            assert!(result.is_err());
            spawn(async {});
            spawn(async {});
        });
        assert_eq!(inner.take_spawned().len(), 1);
        assert_eq!(outer.take_spawned().len(), 2);
        assert!(LoopContext::current().is_none());
    }
}
