//! The inbox of a loop: the connections and tasks that were woken.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};

use poll_turns::Key;

use super::lock;
use crate::handle;

/// What is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A connection, whose request is handled.
    Connection(Key),
    /// A spawned task.
    Task(Key),
}

/// The targets that were woken and that the loop hasn't taken yet, in their order. Any thread can wake.
pub(crate) struct Inbox {
    state: Mutex<State>,
    /// Ends the loop's wait, where there are threads.
    waker: Option<handle::Waker>,
}

#[derive(Default)]
struct State {
    woken: Vec<Target>,
    /// Whether the loop is in its wait, or about to be.
    is_waiting: bool,
}

impl Inbox {
    pub(crate) fn new(waker: Option<handle::Waker>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            waker,
        })
    }

    /// Announces a wait, which a wake-up will end. Returns whether the inbox is empty: if not, the loop
    /// must not wait.
    pub(crate) fn begin_wait(&self) -> bool {
        let mut state = lock(&self.state);
        state.is_waiting = state.woken.is_empty();
        state.is_waiting
    }

    /// Takes all targets, into a list that is empty; its memory is used again. Called when the wait has ended.
    pub(crate) fn take(&self, woken: &mut Vec<Target>) {
        debug_assert!(woken.is_empty(), "what was taken before is done");
        let mut state = lock(&self.state);
        state.is_waiting = false;
        std::mem::swap(&mut state.woken, woken);
    }

    fn push(&self, target: Target) {
        let mut state = lock(&self.state);
        state.woken.push(target);
        // One call ends the wait, however many targets follow.
        let must_wake = std::mem::take(&mut state.is_waiting);
        drop(state);
        if must_wake && let Some(wake) = &self.waker {
            wake();
        }
    }
}

/// Wakes one target. It is in the inbox at most once until [`take`](Self::take) is called.
///
/// A waker may outlive its target. Then it wakes nothing: a key belongs to one value only. Where
/// the generations of keys repeat (after 65,536 values in one slot, on wasm32), another value is
/// polled once for nothing.
pub(crate) struct TaskWaker {
    inbox: Arc<Inbox>,
    target: Target,
    /// The kinds of wake-up since it was last taken. If there is any, the target is in the inbox.
    pending: AtomicU8,
}

impl TaskWaker {
    /// The future is to be polled.
    const POLL: u8 = 1;
    /// Something else has changed.
    const NOTICE: u8 = 2;

    pub(crate) fn new(inbox: Arc<Inbox>, target: Target) -> Arc<Self> {
        Arc::new(Self {
            inbox,
            target,
            pending: AtomicU8::new(0),
        })
    }

    /// A waker that brings its target into the inbox, but doesn't ask for a poll of its future. It
    /// allocates: make it once.
    pub(crate) fn notify_waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::new(Notifier(Arc::clone(self))))
    }

    /// Makes it ready for the next wake-up. Returns whether the future is to be polled. Call it before
    /// the poll: a wake-up during the poll counts for the next one.
    pub(crate) fn take(&self) -> bool {
        // Most polls are first ones, which no waker asks for. Then a swap, which locks the cache line, isn't needed.
        self.is_woken() && self.pending.swap(0, Ordering::AcqRel) & Self::POLL != 0
    }

    /// Whether there are other wakers of it than the two of its owner: this one, and one made of a clone.
    #[cfg(not(target_os = "wasi"))]
    pub(super) fn has_wakers_elsewhere(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > 2
    }

    /// Whether it was woken since it was last taken.
    pub(crate) fn is_woken(&self) -> bool {
        self.pending.load(Ordering::Acquire) != 0
    }

    fn wake_for(&self, kind: u8) {
        if self.pending.fetch_or(kind, Ordering::AcqRel) == 0 {
            self.inbox.push(self.target);
        }
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_for(Self::POLL);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_for(Self::POLL);
    }
}

struct Notifier(Arc<TaskWaker>);

impl Wake for Notifier {
    fn wake(self: Arc<Self>) {
        self.0.wake_for(TaskWaker::NOTICE);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.wake_for(TaskWaker::NOTICE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    const TARGET: Target = Target::Task(Key::new(3, 0));

    fn taken(inbox: &Inbox) -> Vec<Target> {
        let mut woken = Vec::new();
        inbox.take(&mut woken);
        woken
    }

    #[test]
    fn a_target_is_in_the_inbox_at_most_once_until_it_is_taken() {
        let inbox = Inbox::new(None);
        let state = TaskWaker::new(Arc::clone(&inbox), TARGET);
        let (waker, notify) = (Waker::from(Arc::clone(&state)), state.notify_waker());
        for _ in 0..1000 {
            waker.wake_by_ref();
            notify.wake_by_ref();
        }
        assert_eq!(taken(&inbox), [TARGET]);
        waker.wake_by_ref();
        assert_eq!(taken(&inbox), [], "its last wake-up isn't taken yet");
        assert!(state.take());
        waker.wake();
        assert_eq!(taken(&inbox), [TARGET]);
    }

    #[test]
    fn a_notice_does_not_ask_for_a_poll() {
        let inbox = Inbox::new(None);
        let state = TaskWaker::new(Arc::clone(&inbox), TARGET);
        state.notify_waker().wake();
        assert_eq!(taken(&inbox), [TARGET]);
        assert!(!state.take());
        state.notify_waker().wake();
        Waker::from(Arc::clone(&state)).wake();
        assert_eq!(taken(&inbox), [TARGET]);
        assert!(state.take());
    }

    #[test]
    fn a_wait_is_ended_by_the_first_wake_up_only() {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let inbox = Inbox::new(Some(Arc::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        })));
        let waker_of = |index| {
            let target = Target::Connection(Key::new(index, 0));
            Waker::from(TaskWaker::new(Arc::clone(&inbox), target))
        };
        waker_of(0).wake();
        assert_eq!(calls.load(Ordering::Relaxed), 0, "the loop doesn't wait");
        assert!(!inbox.begin_wait(), "something was woken before the wait");
        assert_eq!(taken(&inbox).len(), 1);
        assert!(inbox.begin_wait());
        (1..9).for_each(|index| waker_of(index).wake());
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        assert_eq!(taken(&inbox).len(), 8);
        waker_of(9).wake();
        assert_eq!(calls.load(Ordering::Relaxed), 1, "the wait has ended");
    }

    /// 100,000 wake-ups, each of which is seen before its target is woken again: so each must be seen.
    #[cfg(not(target_os = "wasi"))]
    #[test]
    fn wake_ups_from_eight_threads_are_all_seen() {
        use std::sync::atomic::AtomicBool;
        use std::thread;
        use std::time::{Duration, Instant};
        /// Ends the threads when the test fails, too.
        struct End<'a>(&'a AtomicBool);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Release);
            }
        }
        const THREADS: usize = 8;
        const TARGETS: usize = 125;
        const ROUNDS: usize = 100;
        const LONGEST: Duration = Duration::from_secs(5);

        let consumer = thread::current();
        let inbox = Inbox::new(Some(Arc::new(move || consumer.unpark())));
        let new = |index| {
            let target = Target::Task(Key::new(index as u32, 0));
            TaskWaker::new(Arc::clone(&inbox), target)
        };
        let states: Vec<_> = (0..THREADS * TARGETS).map(new).collect();
        let seen: Vec<_> = (0..THREADS).map(|_| AtomicUsize::new(0)).collect();
        let has_ended = AtomicBool::new(false);
        thread::scope(|scope| {
            let (end, has_ended) = (End(&has_ended), &has_ended);
            for (own, seen) in states.chunks(TARGETS).zip(&seen) {
                scope.spawn(move || {
                    for round in 1..=ROUNDS {
                        for state in own {
                            Waker::from(Arc::clone(state)).wake();
                        }
                        while seen.load(Ordering::Acquire) < round * TARGETS {
                            if has_ended.load(Ordering::Acquire) {
                                return;
                            }
                            thread::yield_now();
                        }
                    }
                });
            }
            let (mut woken, mut polls) = (Vec::new(), 0);
            while polls < THREADS * TARGETS * ROUNDS {
                if inbox.begin_wait() {
                    let begun = Instant::now();
                    thread::park_timeout(LONGEST);
                    let is_ended = begun.elapsed() < LONGEST;
                    assert!(is_ended, "after {polls} wake-ups, a wait isn't ended");
                }
                inbox.take(&mut woken);
                for target in woken.drain(..) {
                    let Target::Task(key) = target else {
                        panic!("only tasks are woken");
                    };
                    assert!(states[key.index()].take(), "no target comes twice");
                    polls += 1;
                    seen[key.index() / TARGETS].fetch_add(1, Ordering::Release);
                }
            }
            drop(end);
        });
        assert_eq!(taken(&inbox), []);
    }
}
