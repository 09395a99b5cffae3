//! The signal to stop: set once by a handle, seen by the loop and by futures.

use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use poll_turns::{Key, Table};

use crate::executor::lock;
use crate::handle::Handle;
use crate::time;

/// A future that is ready when the server is stopped. Made by
/// [`Handle::stopping`](crate::Handle::stopping).
///
/// It never panics. It can be polled on any thread and by any executor, and dropped at any time: it
/// leaves nothing behind. Polled again after it was ready, it is ready again.
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct Stopping {
    handle: Handle,
    /// The entry with its waker, since it was first polled.
    key: Option<Key>,
}

impl Stopping {
    pub(crate) fn new(handle: Handle) -> Self {
        Self { handle, key: None }
    }
}

impl Future for Stopping {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        match this.handle.stop_signal().poll(&mut this.key, cx.waker()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

impl Drop for Stopping {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.handle.stop_signal().remove(key);
        }
    }
}

/// Whether, and how soon, a server is to stop; and the wakers of the futures that wait for that.
///
/// Wakers are cloned, dropped and called without the lock: in each of these calls an executor can drop
/// a future that waits, too.
pub(crate) struct StopSignal {
    /// The time until everything is dropped, in nanoseconds, or `NOT_SET`.
    within: AtomicU64,
    /// Made for the first future that waits, and taken when the signal is set.
    wakers: Mutex<Option<Box<dyn Wakers>>>,
}

/// A table of wakers, behind a trait: so its code, about 1 KiB, is only in programs in which something
/// waits.
trait Wakers: Send {
    fn table(&mut self) -> &mut Table<Waker>;

    fn wake_all(self: Box<Self>);
}

impl Wakers for Table<Waker> {
    fn table(&mut self) -> &mut Table<Waker> {
        self
    }

    fn wake_all(self: Box<Self>) {
        self.into_values().for_each(Waker::wake);
    }
}

impl Default for StopSignal {
    fn default() -> Self {
        Self {
            within: AtomicU64::new(Self::NOT_SET),
            wakers: Mutex::new(None),
        }
    }
}

impl StopSignal {
    const NOT_SET: u64 = u64::MAX;

    pub(crate) fn is_set(&self) -> bool {
        self.within.load(Ordering::Acquire) != Self::NOT_SET
    }

    pub(crate) fn within(&self) -> Option<Duration> {
        let within = self.within.load(Ordering::Acquire);
        (within != Self::NOT_SET).then(|| Duration::from_nanos(within))
    }

    /// Sets the signal. The shortest of the times counts: a later call with a longer one would mean a later deadline.
    pub(crate) fn set(&self, within: Duration) {
        let within = time::nanos(within).min(Self::NOT_SET - 1);
        self.within.fetch_min(within, Ordering::AcqRel);
        let wakers = lock(&self.wakers).take();
        if let Some(wakers) = wakers {
            wakers.wake_all();
        }
    }

    /// Whether it is set. If it isn't, `waker` will be woken, under the entry `key`.
    fn poll(&self, key: &mut Option<Key>, waker: &Waker) -> bool {
        if self.is_set() || key.is_some_and(|key| self.has(key, waker)) {
            return self.is_set();
        }
        let waker = waker.clone();
        let mut wakers = lock(&self.wakers);
        // Once more, under the lock: `set` sets the signal before it takes the wakers.
        if self.is_set() {
            return true;
        }
        let table = wakers.get_or_insert_with(|| Box::new(Table::default()));
        let table = table.table();
        let replaced = match key.and_then(|key| table.get_mut(key)) {
            Some(known) => Some(std::mem::replace(known, waker)),
            None => {
                *key = Some(table.insert(waker));
                None
            }
        };
        drop(wakers);
        drop(replaced);
        false
    }

    /// Whether the entry of this key has this waker.
    fn has(&self, key: Key, waker: &Waker) -> bool {
        let mut wakers = lock(&self.wakers);
        let known = wakers.as_mut().and_then(|wakers| wakers.table().get(key));
        known.is_some_and(|known| known.will_wake(waker))
    }

    fn remove(&self, key: Key) {
        let mut wakers = lock(&self.wakers);
        let removed = wakers.as_mut().map(|wakers| wakers.table().remove(key));
        drop(wakers);
        drop(removed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn poll(stopping: &mut Stopping, count: &Arc<Count>) -> Poll<()> {
        let waker = Waker::from(Arc::clone(count));
        Pin::new(stopping).poll(&mut Context::from_waker(&waker))
    }

    #[test]
    fn many_wait_at_once_and_each_is_woken_once() {
        let handle = Handle::new();
        let count = Arc::new(Count::default());
        let mut waiting: Vec<_> = (0..1000).map(|_| handle.stopping()).collect();
        for _ in 0..2 {
            for stopping in &mut waiting {
                assert_eq!(poll(stopping, &count), Poll::Pending);
            }
        }
        let early = waiting.drain(..400);
        drop(early);
        handle.stop();
        assert_eq!(count.0.load(Ordering::Relaxed), 600);
        handle.stop();
        assert_eq!(count.0.load(Ordering::Relaxed), 600);
        for stopping in &mut waiting {
            assert_eq!(poll(stopping, &count), Poll::Ready(()));
            assert_eq!(poll(stopping, &count), Poll::Ready(()));
        }
        assert_eq!(poll(&mut handle.stopping(), &count), Poll::Ready(()));
        drop(waiting);
        assert_eq!(Arc::strong_count(&count), 1);
    }

    #[test]
    fn a_dropped_future_leaves_no_waker_behind() {
        let handle = Handle::new();
        let count = Arc::new(Count::default());
        for _ in 0..10_000 {
            assert_eq!(poll(&mut handle.stopping(), &count), Poll::Pending);
            let mut wakers = lock(&handle.stop_signal().wakers);
            let wakers = wakers.as_mut().expect("one has waited").table();
            assert_eq!((wakers.len(), wakers.next_key().index()), (0, 0));
        }
        handle.stop();
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        assert_eq!(Arc::strong_count(&count), 1);
    }

    #[test]
    fn the_waker_of_the_last_poll_is_woken() {
        let handle = Handle::new();
        let (first, last) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let mut stopping = handle.stopping();
        assert_eq!(poll(&mut stopping, &first), Poll::Pending);
        assert_eq!(poll(&mut stopping, &last), Poll::Pending);
        handle.stop();
        let of = |count: &Count| count.0.load(Ordering::Relaxed);
        assert_eq!((of(&first), of(&last)), (0, 1));
    }

    #[test]
    fn the_shortest_time_counts() {
        let handle = Handle::new();
        assert_eq!((handle.stop_timeout(), handle.is_stopping()), (None, false));
        let seconds = Duration::from_secs;
        for (within, shortest) in [
            (Duration::MAX, Duration::from_nanos(u64::MAX - 1)),
            (seconds(40), seconds(40)),
            (seconds(5), seconds(5)),
            (seconds(10), seconds(5)),
            (Duration::ZERO, Duration::ZERO),
        ] {
            handle.stop_within(within);
            assert_eq!(handle.stop_timeout(), Some(shortest));
            assert!(handle.is_stopping());
        }
        let handle = Handle::new();
        handle.stop();
        assert_eq!(handle.stop_timeout(), Some(seconds(30)));
    }

    #[cfg(not(target_os = "wasi"))]
    #[test]
    fn a_stop_at_the_time_of_a_poll_is_not_missed() {
        fn is_send<T: Send + 'static>(_: &T) {}
        for _ in 0..300 {
            let handle = Handle::new();
            let mut stopping = handle.stopping();
            is_send(&stopping);
            let waiting = std::thread::spawn(move || {
                struct Unpark(std::thread::Thread);
                impl Wake for Unpark {
                    fn wake(self: Arc<Self>) {
                        self.0.unpark();
                    }
                }
                let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
                let mut cx = Context::from_waker(&waker);
                for _ in 0..100 {
                    if Pin::new(&mut stopping).poll(&mut cx).is_ready() {
                        return true;
                    }
                    std::thread::park_timeout(Duration::from_secs(5));
                }
                false
            });
            handle.stop();
            let started = std::time::Instant::now();
            assert!(waiting.join().is_ok_and(|was_ready| was_ready));
            assert!(started.elapsed() < Duration::from_secs(4), "it was lost");
        }
    }
}
