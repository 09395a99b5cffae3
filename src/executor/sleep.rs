//! Sleeps.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use poll_turns::{Key, Table};

use super::context::LoopContext;
use super::lock;
use crate::deadlines::Deadlines;
use crate::time::Instant;

/// Waits until `duration` has passed since the returned future was first polled.
///
/// ```
/// use std::time::Duration;
///
/// async fn handler() -> mini_http::Response<&'static str> {
///     mini_http::sleep(Duration::from_millis(200)).await;
///     mini_http::Response::new("200 ms later")
/// }
/// ```
///
/// It works in handlers and bodies of `Server::serve_async`, in tasks ([`spawn`](crate::spawn)), and in
/// [`test::run`](crate::test::run), where the time is virtual. A sleep never ends too early. It ends at
/// most 2 ms too late, unless the server is busy or the clock of the system is less exact. A sleep of
/// more than 584 years never ends.
///
/// # Panics
/// This function never panics. [`Sleep`] says when the future does.
pub fn sleep(duration: Duration) -> Sleep {
    Sleep {
        state: State::New(duration),
    }
}

/// A future that is ready when a time has passed. Made by [`sleep`].
///
/// It belongs to the server in which it is first polled. It can be dropped at any time on any thread,
/// and leaves nothing behind. Polled again after it was ready, it is ready again.
///
/// # Panics
/// The future panics if it is polled outside a server, or in another server than the one in which it
/// was first polled.
#[must_use = "a sleep does nothing unless it is awaited"]
pub struct Sleep {
    state: State,
}

enum State {
    /// It wasn't polled yet.
    New(Duration),
    Sleeping {
        sleeps: Arc<Sleeps>,
        key: Key,
    },
    Over,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if matches!(self.state, State::Over) {
            return Poll::Ready(());
        }
        let Some(current) = LoopContext::current() else {
            panic!(
                "mini_http::sleep is awaited outside a server. Await it in a handler of \
                 `Server::serve_async`, in a body or task of that server, or in \
                 `mini_http::test::run`; elsewhere, use the timer of the runtime that polls"
            );
        };
        match &self.state {
            State::New(duration) => {
                let sleeps = Arc::clone(current.sleeps());
                let key = sleeps.add(*duration, cx.waker().clone());
                self.state = State::Sleeping { sleeps, key };
            }
            State::Sleeping { sleeps, key } => {
                assert!(
                    Arc::ptr_eq(sleeps, current.sleeps()),
                    "a Sleep of mini_http is polled in another server than the one in which it was \
                     first polled. Make a new one with `mini_http::sleep` in each server"
                );
                if sleeps.is_due(*key, cx.waker()) {
                    // Its drop removes the entry.
                    drop(std::mem::replace(&mut *self, Self { state: State::Over }));
                }
            }
            State::Over => {}
        }
        match self.state {
            State::Over => Poll::Ready(()),
            State::New(_) | State::Sleeping { .. } => Poll::Pending,
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let State::Sleeping { sleeps, key } = &self.state {
            sleeps.remove(*key);
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::New(_) => "Sleep(new)",
            State::Sleeping { .. } => "Sleep(sleeping)",
            State::Over => "Sleep(over)",
        })
    }
}

/// The sleeps of one loop, behind a lock because any thread may drop one.
///
/// Wakers are cloned, dropped and called without the lock: they may be those of another executor, which
/// can drop a future with a sleep in any of these calls.
#[derive(Default)]
pub(super) struct Sleeps(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    /// Each belongs to a `Sleep`, which removes it.
    entries: Table<Entry>,
    /// When the entries in the second stage are due, by their slots.
    deadlines: Deadlines,
    /// The entries in the first stage.
    new: Vec<Key>,
}

struct Entry {
    stage: Stage,
    /// Wakes the sleep when it is due.
    waker: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It will sleep for `duration` from the moment at which the loop next looks at the clock.
    New {
        duration: Duration,
        /// Its position in `new`.
        position: usize,
    },
    Sleeping,
    Due,
}

impl Sleeps {
    fn add(&self, duration: Duration, waker: Waker) -> Key {
        let Entries { entries, new, .. } = &mut *lock(&self.0);
        let stage = Stage::New {
            duration,
            position: new.len(),
        };
        let waker = Some(waker);
        let key = entries.insert(Entry { stage, waker });
        new.push(key);
        key
    }

    /// Whether a sleep is due. If it isn't, `waker` will be woken.
    fn is_due(&self, key: Key, waker: &Waker) -> bool {
        let is_known = match lock(&self.0).entries.get(key) {
            Some(entry) if entry.stage != Stage::Due => {
                let known = entry.waker.as_ref();
                known.is_some_and(|known| known.will_wake(waker))
            }
            Some(_) | None => return true,
        };
        if is_known {
            return false;
        }
        let waker = waker.clone();
        // Only this thread's loop makes it due, and not meanwhile.
        let replaced = match lock(&self.0).entries.get_mut(key) {
            Some(entry) => entry.waker.replace(waker),
            None => Some(waker),
        };
        drop(replaced);
        false
    }

    fn remove(&self, key: Key) {
        let removed = lock(&self.0).remove(key);
        drop(removed);
    }

    pub(super) fn has_new(&self) -> bool {
        !lock(&self.0).new.is_empty()
    }

    pub(super) fn start(&self, now: Instant) {
        lock(&self.0).start(now);
    }

    pub(super) fn next(&self, clock: impl FnOnce() -> Instant) -> Option<Duration> {
        if lock(&self.0).entries.is_empty() {
            return None;
        }
        let now = clock();
        let mut entries = lock(&self.0);
        entries.start(now);
        entries.deadlines.next(now)
    }

    /// Moves the wakers of all sleeps that are due at `now` to `due`.
    pub(super) fn take_due(&self, now: Instant, due: &mut Vec<Waker>) {
        let Entries {
            entries, deadlines, ..
        } = &mut *lock(&self.0);
        while let Some(slot) = deadlines.expired(now) {
            if let Some(entry) = entries.at_mut(slot) {
                entry.stage = Stage::Due;
                due.extend(entry.waker.take());
            }
        }
    }
}

impl Entries {
    /// Gives each new entry its deadline.
    fn start(&mut self, now: Instant) {
        for key in self.new.drain(..) {
            if let Some(entry) = self.entries.get_mut(key)
                && let Stage::New { duration, .. } = entry.stage
            {
                entry.stage = Stage::Sleeping;
                if let Some(deadline) = next_tick(now + duration) {
                    self.deadlines.set(key.index(), deadline);
                }
            }
        }
    }

    fn remove(&mut self, key: Key) -> Option<Entry> {
        let removed = self.entries.remove(key)?;
        match removed.stage {
            Stage::New { position, .. } => {
                self.new.swap_remove(position);
                if let Some(moved) = self.new.get(position)
                    && let Some(Entry {
                        stage: Stage::New { position: at, .. },
                        ..
                    }) = self.entries.get_mut(*moved)
                {
                    *at = position;
                }
            }
            Stage::Sleeping => self.deadlines.cancel(key.index()),
            Stage::Due => {}
        }
        Some(removed)
    }
}

/// The end of the tick of 0.5 ms (2^19 ns) in which `deadline` is, so that sleeps which end together
/// share one wake-up. A wait of the system is up to 1 ms too long; with ticks of twice the length, a
/// sleep could be more than 2 ms too long. `None` at the end of time, which never comes.
fn next_tick(deadline: Instant) -> Option<Instant> {
    const TICK: u64 = 1 << 19;
    let end = (deadline.as_nanos() | (TICK - 1)).checked_add(1)?;
    Some(Instant::from_nanos(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::Inbox;
    use std::rc::Rc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Count {
        fn get(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn context() -> Rc<LoopContext> {
        LoopContext::new(Inbox::new(None))
    }

    fn poll_with(context: &Rc<LoopContext>, sleep: &mut Sleep, waker: &Waker) -> Poll<()> {
        context.enter(|| Pin::new(sleep).poll(&mut Context::from_waker(waker)))
    }

    fn poll(context: &Rc<LoopContext>, sleep: &mut Sleep) -> Poll<()> {
        poll_with(context, sleep, Waker::noop())
    }

    const fn at(micros: u64) -> Instant {
        Instant::from_nanos(micros * 1000)
    }

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn sleeps_end_in_their_order_never_early_and_within_a_millisecond() {
        let context = context();
        let durations = [30_000, 1, 7_777, 2_000, 999_999, 30_700, 12_345_678_u64];
        let mut sleeps = durations.map(|micros| sleep(Duration::from_micros(micros)));
        let mut now = at(123);
        for sleep in &mut sleeps {
            assert_eq!(poll(&context, sleep), Poll::Pending);
        }
        let mut expected = durations.map(|micros| at(123 + micros));
        expected.sort_unstable();
        for due in expected {
            let before = now;
            now = now + context.next_sleep(|| before).expect("one sleeps");
            assert!(now >= due, "{now:?} is before {due:?}");
            assert!(now.saturating_since(due) < millis(1), "{now:?}, {due:?}");
            context.wake_sleeps(now);
            for (sleep, micros) in sleeps.iter_mut().zip(durations) {
                let is_ready = poll(&context, sleep).is_ready();
                assert_eq!(is_ready, at(123 + micros) <= due, "{micros} at {now:?}");
            }
        }
        assert_eq!(context.next_sleep(|| now), None);
    }

    /// The loop's last look at the clock may be long ago when a handler awaits a sleep.
    #[test]
    fn a_sleep_begins_at_the_next_look_at_the_clock() {
        let context = context();
        context.wake_sleeps(at(0));
        let mut asleep = sleep(millis(10));
        assert_eq!(poll(&context, &mut asleep), Poll::Pending);
        assert!(context.has_new_sleeps());
        context.set_now(at(5_000));
        assert!(!context.has_new_sleeps());
        context.wake_sleeps(at(14_900));
        assert_eq!(poll(&context, &mut asleep), Poll::Pending);
        context.wake_sleeps(at(15_600));
        assert_eq!(poll(&context, &mut asleep), Poll::Ready(()));
        assert_eq!(poll(&context, &mut asleep), Poll::Ready(()));
    }

    #[test]
    fn the_waker_of_the_last_poll_is_woken_once() {
        let context = context();
        let (first, last) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let mut asleep = sleep(millis(10));
        for count in [&first, &last, &last] {
            let waker = Waker::from(Arc::clone(count));
            assert_eq!(poll_with(&context, &mut asleep, &waker), Poll::Pending);
        }
        assert_eq!(Arc::strong_count(&first), 1, "it isn't kept");
        context.set_now(at(0));
        context.wake_sleeps(at(20_000));
        context.wake_sleeps(at(30_000));
        assert_eq!((first.get(), last.get()), (0, 1));
        assert_eq!(Arc::strong_count(&last), 1);
    }

    #[test]
    fn a_million_dropped_sleeps_keep_nothing() {
        let context = context();
        let lengths = || {
            let entries = lock(&context.sleeps().0);
            let slots = entries.entries.next_key().index();
            (entries.entries.len(), slots, entries.new.len())
        };
        let mut now = at(0);
        let mut kept: Vec<Sleep> = Vec::new();
        // An interpreter takes minutes for a million.
        let rounds = if cfg!(target_os = "wasi") {
            10_000
        } else {
            1_000_000
        };
        for round in 0..rounds {
            let mut asleep = sleep(millis(1 + round % 50_000_u64));
            assert_eq!(poll(&context, &mut asleep), Poll::Pending);
            now = now + Duration::from_micros(1);
            match round % 4 {
                0 => {}
                1 => context.set_now(now),
                // The first of several new ones is dropped.
                2 => drop(kept.pop()),
                _ => context.wake_sleeps(now),
            }
            if round % 16 == 7 {
                kept.push(asleep);
            }
            assert!(kept.len() < 2);
            let (live, slot, new) = lengths();
            assert!(live <= 2 && slot <= 2 && new <= 2, "{:?}", lengths());
            let due = lock(&context.sleeps().0).deadlines.length();
            assert!(due <= 64, "{due} deadlines");
        }
        kept.clear();
        assert_eq!(lengths().0, 0);
        assert_eq!(context.next_sleep(|| now), None);
    }

    #[test]
    fn a_dropped_sleep_wakes_nothing_and_shortens_no_other() {
        let context = context();
        let mut long = sleep(millis(100));
        for _ in 0..3 {
            // Its entry is used again for the next one.
            let mut short = sleep(millis(5));
            assert_eq!(poll(&context, &mut short), Poll::Pending);
            context.set_now(at(0));
        }
        assert_eq!(poll(&context, &mut long), Poll::Pending);
        let next = context.next_sleep(|| at(0)).expect("one sleeps");
        assert!(next >= millis(100), "{next:?}");
        context.wake_sleeps(at(99_000));
        assert_eq!(poll(&context, &mut long), Poll::Pending);
        context.wake_sleeps(at(101_000));
        assert_eq!(poll(&context, &mut long), Poll::Ready(()));
    }

    #[test]
    fn new_sleeps_can_be_dropped_in_any_order() {
        let context = context();
        let mut sleeps: Vec<_> = (1..=9).map(|ms| (ms, sleep(millis(ms)))).collect();
        for (_, sleep) in &mut sleeps {
            assert_eq!(poll(&context, sleep), Poll::Pending);
        }
        for position in [0, 3, 6, 0, 2] {
            drop(sleeps.remove(position));
        }
        assert_eq!(lock(&context.sleeps().0).new.len(), sleeps.len());
        for (ms, mut sleep) in sleeps {
            let next = context.next_sleep(Instant::default).expect("one sleeps");
            assert!(next.abs_diff(millis(ms)) < millis(1), "{next:?} for {ms}");
            context.wake_sleeps(Instant::default() + next);
            assert_eq!(poll(&context, &mut sleep), Poll::Ready(()));
        }
    }

    #[test]
    fn a_sleep_of_any_length_is_possible() {
        let context = context();
        let (mut none, mut endless) = (sleep(Duration::ZERO), sleep(Duration::MAX));
        assert_eq!(poll(&context, &mut none), Poll::Pending);
        assert_eq!(poll(&context, &mut endless), Poll::Pending);
        assert!(context.next_sleep(|| at(1)) < Some(millis(1)));
        context.wake_sleeps(at(1_000));
        assert_eq!(poll(&context, &mut none), Poll::Ready(()));
        assert_eq!(context.next_sleep(|| at(1)), None);
        context.wake_sleeps(Instant::from_nanos(u64::MAX));
        assert_eq!(poll(&context, &mut endless), Poll::Pending);
        drop(endless);
        assert_eq!(lock(&context.sleeps().0).entries.len(), 0);
    }

    #[test]
    #[should_panic(
        expected = "mini_http::sleep is awaited outside a server. Await it in a handler"
    )]
    fn outside_a_loop_it_panics_with_advice() {
        let _ = Pin::new(&mut sleep(millis(1))).poll(&mut Context::from_waker(Waker::noop()));
    }

    #[test]
    #[should_panic(expected = "polled in another server than the one in which it was first polled")]
    fn in_another_loop_it_panics_with_advice() {
        let mut asleep = sleep(millis(1));
        let _ = poll(&context(), &mut asleep);
        let _ = poll(&context(), &mut asleep);
    }

    /// A waker whose drop drops another sleep: that needs the lock again.
    #[test]
    fn a_waker_may_drop_a_sleep() {
        struct Owner(#[expect(dead_code, reason = "it is dropped")] Mutex<Option<Sleep>>);
        impl Wake for Owner {
            fn wake(self: Arc<Self>) {}
        }
        let context = context();
        let owner = || {
            let mut owned = sleep(millis(1));
            assert_eq!(poll(&context, &mut owned), Poll::Pending);
            Waker::from(Arc::new(Owner(Mutex::new(Some(owned)))))
        };
        let mut asleep = sleep(millis(5));
        assert!(poll_with(&context, &mut asleep, &owner()).is_pending());
        assert!(poll_with(&context, &mut asleep, &owner()).is_pending());
        context.set_now(at(0));
        context.wake_sleeps(at(10_000));
        let mut other = sleep(millis(5));
        assert!(poll_with(&context, &mut other, &owner()).is_pending());
        drop((asleep, other));
        assert_eq!(lock(&context.sleeps().0).entries.len(), 0);
    }

    #[cfg(not(target_os = "wasi"))]
    #[test]
    fn dropped_on_another_thread_it_is_cancelled() {
        fn is_send_and_unpin<T: Send + Unpin + 'static>(_: &T) {}
        let context = context();
        let count = Arc::new(Count::default());
        let mut asleep = sleep(millis(5));
        is_send_and_unpin(&asleep);
        let waker = Waker::from(Arc::clone(&count));
        assert_eq!(poll_with(&context, &mut asleep, &waker), Poll::Pending);
        drop(waker);
        context.set_now(at(0));
        let dropped = std::thread::spawn(move || drop(asleep)).join();
        assert!(dropped.is_ok());
        assert_eq!(context.next_sleep(|| at(0)), None);
        context.wake_sleeps(at(10_000));
        assert_eq!((count.get(), Arc::strong_count(&count)), (0, 1));
    }
}
