//! `sleep`: futures that are ready when a time has passed, and the table of those of a loop.

#[cfg(test)]
mod tests;

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
/// async fn handler() -> mini_http::Response<String> {
///     mini_http::sleep(Duration::from_millis(200)).await;
///     mini_http::Response::new("200 ms later".into())
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
    /// It will sleep for `duration` from the moment at which the loop next reads the clock.
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
