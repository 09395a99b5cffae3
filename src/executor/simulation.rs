//! A loop without sockets, in virtual time: for tests of handlers, and of the executor.

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use poll_turns::Key;

use super::context::LoopContext;
use super::inbox::{Inbox, Target, TaskWaker};
use super::tasks::Tasks;
use crate::time::Instant;

/// Polls one future, and the tasks that it spawns. When all of them wait, the clock is set to the moment
/// at which the next sleep is due.
pub(crate) struct Simulation {
    context: Rc<LoopContext>,
    tasks: Tasks,
    now: Instant,
    woken: Vec<Target>,
}

/// Everything waits, and nothing is left that could wake it.
#[derive(Debug)]
pub(crate) struct Deadlock;

impl Simulation {
    /// The future that is run. Late wake-ups of an earlier one poll it for nothing.
    const MAIN: Target = Target::Connection(Key::new(0, 0));

    /// How often tasks that are ready at once, again and again, are polled in [`settle`](Self::settle).
    /// A task that hands something on in a hundred steps is done by then; one that always wakes itself
    /// costs microseconds.
    const MOST_ROUNDS: usize = 1000;

    pub(crate) fn new() -> Self {
        let context = LoopContext::new(Inbox::new(waker()));
        Self {
            tasks: Tasks::new(Rc::clone(&context), false),
            context,
            now: Instant::default(),
            woken: Vec::new(),
        }
    }

    /// Runs a future to its end.
    ///
    /// # Errors
    /// [`Deadlock`] if the future would never end. If something outside this loop has a waker, which
    /// natively may be another thread, it is waited for at most 10 seconds of real time.
    pub(crate) fn run<T>(&mut self, future: impl Future<Output = T>) -> Result<T, Deadlock> {
        let mut future = Box::pin(future);
        let state = TaskWaker::new(Arc::clone(self.context.inbox()), Self::MAIN);
        let waker = Waker::from(Arc::clone(&state));
        waker.wake_by_ref();
        let context = Rc::clone(&self.context);
        let mut output = None;
        while output.is_none() {
            self.tasks.adopt_spawned();
            self.wait(&state)?;
            self.context.wake_sleeps(self.now);
            self.poll_woken(|| {
                if output.is_none() && state.take() {
                    let mut cx = Context::from_waker(&waker);
                    output = match context.enter(|| future.as_mut().poll(&mut cx)) {
                        Poll::Ready(output) => Some(output),
                        Poll::Pending => None,
                    };
                }
            });
        }
        context.enter(|| drop(future));
        output.ok_or(Deadlock)
    }

    /// Runs tasks as far as they get without time passing.
    pub(crate) fn settle(&mut self) {
        for _ in 0..Self::MOST_ROUNDS {
            self.tasks.adopt_spawned();
            if self.context.inbox().begin_wait() {
                return;
            }
            self.poll_woken(|| {});
        }
    }

    /// The virtual time.
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    fn poll_woken(&mut self, mut poll_main: impl FnMut()) {
        let mut woken = std::mem::take(&mut self.woken);
        self.context.inbox().take(&mut woken);
        for target in woken.drain(..) {
            match target {
                Target::Connection(_) => poll_main(),
                Target::Task(key) => {
                    self.tasks.poll(key);
                }
            }
        }
        self.woken = woken;
    }

    /// Waits until something is woken or due.
    fn wait(&mut self, main: &Arc<TaskWaker>) -> Result<(), Deadlock> {
        if !self.context.inbox().begin_wait() {
            return Ok(());
        }
        if let Some(duration) = self.context.next_sleep(|| self.now) {
            self.now = self.now + duration;
            return Ok(());
        }
        self.wait_for_others(main)
    }

    /// Waits for other threads.
    #[cfg(not(target_os = "wasi"))]
    fn wait_for_others(&self, main: &Arc<TaskWaker>) -> Result<(), Deadlock> {
        use std::thread;
        use std::time::Duration;

        /// Longer than any thread of a test works.
        const LONGEST: Duration = Duration::from_secs(10);
        /// How often it is checked that a waker is left.
        const PAUSE: Duration = Duration::from_millis(50);

        let mut waited = Duration::ZERO;
        while waited < LONGEST {
            if !main.has_wakers_elsewhere() && !self.tasks.has_wakers_elsewhere() {
                break;
            }
            thread::park_timeout(PAUSE);
            if !self.context.inbox().begin_wait() {
                return Ok(());
            }
            waited += PAUSE;
        }
        // The last waker may have been used and dropped since.
        match self.context.inbox().begin_wait() {
            true => Err(Deadlock),
            false => Ok(()),
        }
    }

    /// There are no other threads.
    #[cfg(target_os = "wasi")]
    fn wait_for_others(&self, _: &Arc<TaskWaker>) -> Result<(), Deadlock> {
        Err(Deadlock)
    }
}

/// Ends a wait for other threads.
#[cfg(not(target_os = "wasi"))]
fn waker() -> Option<crate::handle::Waker> {
    let thread = std::thread::current();
    Some(Arc::new(move || thread.unpark()))
}

#[cfg(target_os = "wasi")]
fn waker() -> Option<crate::handle::Waker> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::{sleep, spawn};
    use std::cell::Cell;
    use std::future::{pending, poll_fn};
    use std::time::Duration;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn hours_pass_at_once() {
        let mut simulation = Simulation::new();
        let spawned = Rc::new(Cell::new(0));
        let hours = Rc::clone(&spawned);
        let result = simulation.run(async move {
            spawn(async move {
                loop {
                    sleep(HOUR).await;
                    hours.set(hours.get() + 1);
                }
            });
            sleep(10 * HOUR + HOUR / 2).await;
            7
        });
        assert_eq!((result.ok(), spawned.get()), (Some(7), 10));
        let late = simulation.now().saturating_since(Instant::default()) - (10 * HOUR + HOUR / 2);
        assert!(late < Duration::from_millis(1), "{late:?}");
    }

    #[test]
    fn a_deadlock_is_found() {
        assert!(Simulation::new().run(pending::<()>()).is_err());
        let both = async {
            spawn(pending());
            pending::<()>().await;
        };
        assert!(Simulation::new().run(both).is_err());
    }

    #[test]
    fn tasks_that_are_ready_go_on_after_the_end() {
        let mut simulation = Simulation::new();
        let steps = Rc::new(Cell::new(0));
        let counted = Rc::clone(&steps);
        let result = simulation.run(async move {
            spawn(async move {
                counted.set(1);
                spawn(async move {
                    counted.set(2);
                    sleep(HOUR).await;
                    counted.set(3);
                });
            });
            spawn(poll_fn(|cx| {
                cx.waker().wake_by_ref();
                Poll::Pending
            }));
        });
        assert!(result.is_ok());
        simulation.settle();
        assert_eq!(steps.get(), 2);
    }

    #[cfg(not(target_os = "wasi"))]
    #[test]
    fn another_thread_is_waited_for() {
        let mut is_started = false;
        let result = Simulation::new().run(poll_fn(|cx| {
            if is_started {
                return Poll::Ready(());
            }
            is_started = true;
            let waker = cx.waker().clone();
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(120));
                waker.wake();
            });
            Poll::Pending
        }));
        assert!(result.is_ok());
    }
}
