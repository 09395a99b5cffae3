//! Sleeps against a clock that the test sets.

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

/// When a handler awaits a sleep, the loop may have last read the clock long ago.
#[test]
fn a_sleep_begins_when_the_clock_is_next_read() {
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
#[should_panic(expected = "mini_http::sleep is awaited outside a server. Await it in a handler")]
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
