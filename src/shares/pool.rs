//! Pools and shares, where there are threads.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::handle::Handle;
use crate::limits::Limits;

/// The pools of a server: one for each of its limits that the workers share.
#[derive(Clone, Debug)]
pub(crate) struct Pools {
    connections: Arc<Pool>,
    held: Arc<Pool>,
    requests: Arc<Pool>,
}

/// What is left of a limit. It has cache lines of its own, and so has each pool: see `Shared` in `handle.rs`.
#[derive(Debug)]
#[repr(align(128))]
struct Pool {
    most: usize,
    workers: usize,
    /// The slice: how much a worker takes at once, and may keep unused.
    slice: usize,
    free: AtomicUsize,
    /// A worker waits for more than is left.
    is_wanted: AtomicBool,
    /// Wakes the workers.
    server: Handle,
}

/// What a worker has taken of a limit. Dropping the share returns it to the pool.
#[derive(Debug)]
pub(crate) struct Share {
    pool: Arc<Pool>,
    taken: Cell<usize>,
}

/// The largest slice of a number of connections or requests. With 16, a worker takes something from the pool for one
/// connection in 16 at most.
const MAX_SLICE: usize = 16;

/// The largest slice of memory, in bytes: two of the largest buffers that are used again, so that responses of
/// usual size don't touch the pool.
const MAX_SLICE_BYTES: usize = 128 << 10;

/// A slice is at most this part of a worker's even share. A worker keeps less than two slices: with 64, 1/32 of the
/// limit is out of reach at most. If the limit is so small that the slice is 1, all of it is within reach.
const SLICES: usize = 64;

impl Pools {
    /// The pools of a server with this number of workers.
    pub(crate) fn new(limits: &Limits, workers: usize, server: &Handle) -> Self {
        let pool = |most: usize, largest: usize| {
            Arc::new(Pool {
                most,
                workers,
                slice: (most / workers / SLICES).clamp(1, largest),
                free: AtomicUsize::new(most),
                is_wanted: AtomicBool::new(false),
                server: server.clone(),
            })
        };
        Self {
            connections: pool(limits.max_connections, MAX_SLICE),
            held: pool(limits.max_held, MAX_SLICE_BYTES),
            requests: pool(limits.max_requests, MAX_SLICE),
        }
    }

    /// An empty share of [`Limits::max_connections`].
    pub(crate) fn connections(&self) -> Share {
        Share::of(&self.connections)
    }

    /// An empty share of [`Limits::max_held`].
    pub(crate) fn held(&self) -> Share {
        Share::of(&self.held)
    }

    /// An empty share of [`Limits::max_requests`].
    pub(crate) fn requests(&self) -> Share {
        Share::of(&self.requests)
    }
}

impl Share {
    fn of(pool: &Arc<Pool>) -> Self {
        Self {
            pool: Arc::clone(pool),
            taken: Cell::new(0),
        }
    }

    /// Whether the worker may use this much in all. Takes more if it has less.
    #[inline]
    pub(crate) fn covers(&self, used: usize) -> bool {
        used <= self.taken.get() || self.take(used - self.taken.get())
    }

    /// Takes what this share lacks of `used`, or whatever is left.
    pub(crate) fn reach(&self, used: usize) {
        let missing = used.saturating_sub(self.taken.get());
        if missing > 0 {
            self.take_at_least(0, missing);
        }
    }

    pub(crate) fn slice(&self) -> usize {
        self.pool.slice
    }

    /// How much the worker has.
    pub(crate) fn taken(&self) -> usize {
        self.taken.get()
    }

    /// How much the other workers use, at least: without what they may keep unused.
    pub(crate) fn used_by_others(&self) -> usize {
        let others = self.taken_by_all() - self.taken();
        let kept = 2 * (self.slice() - 1) * (self.pool.workers - 1);
        others.saturating_sub(kept)
    }

    fn taken_by_all(&self) -> usize {
        self.pool.most - self.pool.free.load(Ordering::Relaxed)
    }

    /// Gives back what exceeds `used` and a reserve; the reserve, too, if another worker waits.
    pub(crate) fn give_back_spare(&self, used: usize) {
        let spare = self.taken.get().saturating_sub(used);
        if self.is_wanted() {
            self.give_back(spare);
        } else if spare > 2 * (self.slice() - 1) {
            self.give_back(spare - (self.slice() - 1));
        }
    }

    /// Records that the worker waits until it may use this much in all. Returns true if it may now.
    #[cold]
    pub(crate) fn want(&self, used: usize) -> bool {
        self.pool.is_wanted.store(true, Ordering::SeqCst);
        // Only after the flag is set: a worker that gave back its share before that has not woken this one.
        if self.covers(used) {
            return true;
        }
        self.pool.server.wake_workers();
        false
    }

    /// Whether any worker waits for more.
    pub(crate) fn is_wanted(&self) -> bool {
        self.pool.is_wanted.load(Ordering::Relaxed)
    }

    /// Takes `more`, or a whole slice if that is larger and left. Returns false, and takes nothing, if less than
    /// `more` is left.
    #[cold]
    #[inline(never)]
    fn take(&self, more: usize) -> bool {
        self.take_at_least(more, more.max(self.slice()))
    }

    /// Takes `wished`, or what is left if that is less. Takes nothing if less than `least` is left.
    fn take_at_least(&self, least: usize, wished: usize) -> bool {
        let free = &self.pool.free;
        let before = free.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |free| {
            (least <= free).then(|| free - wished.min(free))
        });
        let Ok(before) = before else {
            return false;
        };
        self.taken.set(self.taken.get() + wished.min(before));
        true
    }

    fn give_back(&self, count: usize) {
        if count == 0 {
            return;
        }
        self.taken.set(self.taken.get() - count);
        self.pool.free.fetch_add(count, Ordering::SeqCst);
        if self.pool.is_wanted.swap(false, Ordering::SeqCst) {
            self.pool.server.wake_workers();
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back(self.taken.get());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn pools(max_connections: usize, workers: usize) -> Pools {
        let limits = Limits {
            max_connections,
            ..Limits::default()
        };
        Pools::new(&limits, workers, &Handle::new())
    }

    #[test]
    fn a_small_limit_is_used_up_to_the_last_one() {
        let pools = pools(10, 3);
        let (one, other) = (pools.connections(), pools.connections());
        assert!(other.covers(1));
        for used in 1..=9 {
            assert!(one.covers(used));
        }
        assert!(!one.covers(10));
        assert!(other.covers(1) && !other.covers(2));
        other.give_back_spare(0);
        assert!(one.covers(10));
        drop(one);
        assert!(other.covers(10));
    }

    #[test]
    fn few_calls_touch_the_pool_of_a_large_limit() {
        let pools = pools(10_000, 2);
        let share = pools.connections();
        let mut changes = 0;
        for used in (0..100).chain((0..100).rev()) {
            let before = share.taken_by_all();
            assert!(share.covers(used));
            share.give_back_spare(used);
            changes += usize::from(share.taken_by_all() != before);
        }
        assert!(changes <= 14, "{changes}");
        let spare = share.taken_by_all();
        assert!(spare < 2 * MAX_SLICE, "{spare} are kept for nothing");
    }

    #[test]
    fn the_reserves_of_others_are_given_back_when_wanted() {
        let pools = pools(10_000, 2);
        let (one, other) = (pools.connections(), pools.connections());
        assert!(other.covers(1));
        assert!(!one.covers(9_999));
        assert!(!one.want(9_999));
        other.give_back_spare(1);
        assert!(one.covers(9_999));
        assert!(!one.is_wanted(), "it has been given");
    }

    #[test]
    fn the_shares_never_exceed_the_limit() {
        let pools = pools(100, 4);
        thread::scope(|scope| {
            for worker in 0..4_usize {
                let pools = &pools;
                scope.spawn(move || {
                    let share = pools.connections();
                    for round in 0..10_000 {
                        let used = (round * (worker + 7)) % 60;
                        if share.covers(used) {
                            assert!(share.taken() >= used);
                        }
                        assert!(share.taken_by_all() <= 100);
                        share.give_back_spare(used.min(share.taken()));
                    }
                });
            }
        });
        assert_eq!(pools.connections().taken_by_all(), 0);
    }
}
