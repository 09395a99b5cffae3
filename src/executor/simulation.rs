//! A loop without sockets, in virtual time: for tests of handlers, and of the executor.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

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
    busy: Busy,
}

/// For how long there was no wait, because something was always woken.
#[derive(Default)]
struct Busy {
    iterations: usize,
    since: Option<std::time::Instant>,
}

/// Why a future never ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stuck {
    /// Everything waits, and nothing is left that could wake it.
    Deadlock,
    /// The virtual time has passed [`Simulation::LONGEST`].
    Endless,
    /// A future or task always wakes itself, and no sleep is left.
    Busy,
}

impl Simulation {
    /// The future that is run. Late wake-ups of an earlier one poll it for nothing.
    const MAIN: Target = Target::Connection(Key::new(0, 0));

    /// The most iterations of [`run_ready`](Self::run_ready).
    /// A task that needs a hundred polls is done by then; one that always wakes itself
    /// costs microseconds.
    const MAX_ITERATIONS: usize = 1000;

    /// The longest virtual time. A stream that never ends, with an event a second, takes some seconds of real time to
    /// reach it. With ten times as much, a test of such a stream would seem to hang.
    const LONGEST: Duration = Duration::from_secs(1000 * 3600);

    /// After this number of iterations without a wait, time passes nevertheless: a future that always wakes itself may
    /// be waiting for a sleep to end, which a server would see. At half, a future that is only slow may see a timeout
    /// too early; at double, a test of the other kind takes another second.
    const MAX_BUSY_ITERATIONS: usize = 1 << 20;

    /// The longest real time in which something is always woken although there are no sleeps. It may be waiting for a
    /// thread.
    const LONGEST_BUSY: Duration = Duration::from_secs(10);

    pub(crate) fn new() -> Self {
        let context = LoopContext::new(Inbox::new(waker()));
        Self {
            tasks: Tasks::new(Rc::clone(&context), false),
            context,
            now: Instant::default(),
            woken: Vec::new(),
            busy: Busy::default(),
        }
    }

    /// Runs a future to its end.
    ///
    /// # Errors
    /// The future would never end. If something outside this loop has a waker, which natively may be
    /// another thread, it is waited for at most 10 seconds of real time.
    pub(crate) fn run<T>(&mut self, future: impl Future<Output = T>) -> Result<T, Stuck> {
        let mut future = Box::pin(future);
        let context = Rc::clone(&self.context);
        let result = self.poll_until_ready(future.as_mut());
        context.enter(|| drop(future));
        result
    }

    /// Runs tasks as far as they get without time passing.
    pub(crate) fn run_ready(&mut self) {
        for _ in 0..Self::MAX_ITERATIONS {
            self.tasks.adopt_spawned();
            if self.context.inbox().begin_wait() {
                return;
            }
            self.poll_woken(|| {});
        }
    }

    fn poll_until_ready<F: Future>(&mut self, mut future: Pin<&mut F>) -> Result<F::Output, Stuck> {
        let context = Rc::clone(&self.context);
        let state = TaskWaker::new(Arc::clone(context.inbox()), Self::MAIN);
        let waker = Waker::from(Arc::clone(&state));
        waker.wake_by_ref();
        loop {
            self.tasks.adopt_spawned();
            self.wait(&state)?;
            context.wake_sleeps(self.now);
            let mut output = None;
            self.poll_woken(|| {
                if output.is_none() && state.take() {
                    let mut cx = Context::from_waker(&waker);
                    output = match context.enter(|| future.as_mut().poll(&mut cx)) {
                        Poll::Ready(output) => Some(output),
                        Poll::Pending => None,
                    };
                }
            });
            if let Some(output) = output {
                return Ok(output);
            }
        }
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
    fn wait(&mut self, main: &Arc<TaskWaker>) -> Result<(), Stuck> {
        if !self.context.inbox().begin_wait() {
            return self.skip_wait();
        }
        self.busy = Busy::default();
        match self.context.next_sleep(|| self.now) {
            Some(duration) => self.pass(duration),
            None => self.wait_for_others(main),
        }
    }

    /// Lets virtual time pass.
    fn pass(&mut self, duration: Duration) -> Result<(), Stuck> {
        self.now = self.now + duration;
        match self.now.saturating_since(Instant::default()) > Self::LONGEST {
            true => Err(Stuck::Endless),
            false => Ok(()),
        }
    }

    /// Something was woken, so there is no wait.
    fn skip_wait(&mut self) -> Result<(), Stuck> {
        let Busy { iterations, since } = &mut self.busy;
        *iterations += 1;
        if *iterations < Self::MAX_BUSY_ITERATIONS {
            return Ok(());
        }
        *iterations = 0;
        if let Some(duration) = self.context.next_sleep(|| self.now) {
            return self.pass(duration);
        }
        let since = since.get_or_insert_with(std::time::Instant::now);
        match since.elapsed() > Self::LONGEST_BUSY {
            true => Err(Stuck::Busy),
            false => Ok(()),
        }
    }

    /// Waits for other threads.
    #[cfg(not(target_os = "wasi"))]
    fn wait_for_others(&self, main: &Arc<TaskWaker>) -> Result<(), Stuck> {
        use std::thread;

        /// The longest wait. No thread of a test works for longer. A test that fails takes this time.
        const LONGEST: Duration = Duration::from_secs(10);
        /// The time between checks whether a waker is left. A test in which none is left fails later by this much.
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
            true => Err(Stuck::Deadlock),
            false => Ok(()),
        }
    }

    /// There are no other threads.
    #[cfg(target_os = "wasi")]
    fn wait_for_others(&self, _: &Arc<TaskWaker>) -> Result<(), Stuck> {
        Err(Stuck::Deadlock)
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
        let late = simulation.now.saturating_since(Instant::default()) - (10 * HOUR + HOUR / 2);
        assert!(late < Duration::from_millis(1), "{late:?}");
    }

    #[test]
    fn a_deadlock_is_found() {
        let alone = Simulation::new().run(pending::<()>());
        assert_eq!(alone, Err(Stuck::Deadlock));
        let both = async {
            spawn(pending());
            pending::<()>().await;
        };
        assert_eq!(Simulation::new().run(both), Err(Stuck::Deadlock));
    }

    #[test]
    fn a_future_that_always_sleeps_again_is_found() {
        let endless = async {
            loop {
                sleep(HOUR).await;
            }
        };
        assert_eq!(Simulation::new().run::<()>(endless), Err(Stuck::Endless));
        // The time may overflow.
        let longer = sleep(Duration::from_secs(500 * 365 * 24 * 3600));
        assert_eq!(Simulation::new().run(longer), Err(Stuck::Endless));
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
        simulation.run_ready();
        assert_eq!(steps.get(), 2);
    }

    /// Never ready, and always woken.
    #[cfg(not(target_os = "wasi"))]
    fn busy() -> impl Future<Output = ()> {
        poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    }

    // An interpreter takes minutes for it.
    #[cfg(not(target_os = "wasi"))]
    #[test]
    fn a_sleep_ends_beside_a_task_that_always_wakes_itself() {
        let result = Simulation::new().run(async {
            spawn(busy());
            sleep(HOUR).await;
            7
        });
        assert_eq!(result, Ok(7));
    }

    #[cfg(not(target_os = "wasi"))]
    #[test]
    fn a_future_that_always_wakes_itself_is_found() {
        assert_eq!(Simulation::new().run(busy()), Err(Stuck::Busy));
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
