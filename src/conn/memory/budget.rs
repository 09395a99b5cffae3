//! [`Budget`]: counts the bytes that all connections hold together, and decides whether they may hold more. If not, a
//! request gets 503. Nothing else makes that decision.
//!
//! With several workers, each has a budget. What a worker may not use, because it is not in its share, counts as held
//! elsewhere. So the usual decision is the same as with one worker, and only where it is negative, more is taken from
//! the pool of all workers.

use std::cell::Cell;
use std::collections::TryReserveError;

use crate::conn::Refusal;
use crate::limits::Limits;
use crate::shares::Share;

/// The bytes held for all connections.
#[derive(Debug, Default)]
pub(in crate::conn) struct Budget {
    /// Includes what counts as held elsewhere.
    held: Cell<usize>,
    peak: Cell<usize>,
    part: Option<Part>,
}

/// What a budget has if it is that of one of several workers.
#[derive(Debug)]
struct Part {
    share: Share,
    /// All that isn't in the share.
    elsewhere: Cell<usize>,
    /// The peak of what the worker itself held, before the share last changed.
    peak: Cell<usize>,
}

/// Decisions.
impl Budget {
    /// Refuses what would hold `more` bytes for which there is no room.
    pub(in crate::conn) fn admit(&self, more: usize, limits: &Limits) -> Result<(), Refusal> {
        if self.has_room(more, limits) {
            return Ok(());
        }
        Err(Refusal::overloaded())
    }

    /// Refuses a body of this length if the whole budget has no room for it, before it is sent.
    pub(in crate::conn) fn admit_length(
        &self,
        length: u64,
        limits: &Limits,
    ) -> Result<(), Refusal> {
        match usize::try_from(length) {
            Ok(length) if length <= limits.max_held => Ok(()),
            Ok(_) | Err(_) => Err(Refusal::overloaded()),
        }
    }

    /// Refuses a large response of this much memory, if there is no room for it. One that is larger
    /// than all of the budget is sent when nothing else is held.
    pub(in crate::conn) fn admit_response(
        &self,
        memory: usize,
        limits: &Limits,
    ) -> Result<(), Refusal> {
        if self.held_in_all() == 0 {
            return Ok(());
        }
        self.admit(memory, limits)
    }

    /// How many more bytes a body may hold: the first of the wished numbers for which there is room, or what
    /// is left. Refuses the body if that is less than `least`. `free` is the number of bytes that stay free.
    pub(in crate::conn) fn grant(
        &self,
        wishes: [usize; 3],
        least: usize,
        free: usize,
        limits: &Limits,
    ) -> Result<usize, Refusal> {
        self.admit(least.saturating_add(free), limits)?;
        let fits = |wish: &usize| self.has_room(wish.saturating_add(free), limits);
        let granted = wishes.into_iter().find(fits);
        Ok(granted.unwrap_or_else(|| {
            let [largest, ..] = wishes;
            self.room_for(largest.saturating_add(free), limits) - free
        }))
    }

    /// Whether more than half of `max_held` is held.
    pub(in crate::conn) fn is_scarce(&self, limits: &Limits) -> bool {
        self.held.get() > limits.max_held / 2 && self.held_in_all() > limits.max_held / 2
    }

    /// Whether `more` bytes can be held within the limits.
    #[inline]
    pub(in crate::conn) fn has_room(&self, more: usize, limits: &Limits) -> bool {
        self.held.get().saturating_add(more) <= limits.max_held || self.take(more, limits)
    }

    /// How many more bytes can be held; with several workers, at least the slice of a share (`pool.rs`) if that is
    /// left.
    pub(in crate::conn) fn room(&self, limits: &Limits) -> usize {
        let slice = self.part.as_ref().map_or(0, |part| part.share.slice());
        self.room_for(slice, limits)
    }

    /// How many more bytes can be held; with several workers, up to `wished` are taken for it from the pool.
    pub(in crate::conn) fn room_for(&self, wished: usize, limits: &Limits) -> usize {
        if let Some(part) = &self.part {
            let held = self.held();
            part.share.reach(held.saturating_add(wished));
            self.share_changed(part, held, limits);
        }
        limits.max_held.saturating_sub(self.held.get())
    }
}

/// Numbers.
impl Budget {
    /// Replaces what one connection holds.
    pub(in crate::conn) fn replace(&mut self, before: usize, after: usize) {
        let held = self.held.get().saturating_sub(before).saturating_add(after);
        self.held.set(held);
        self.peak.set(self.peak.get().max(held));
    }

    /// The bytes that the connections of this worker hold.
    pub(in crate::conn) fn held(&self) -> usize {
        self.held.get() - self.elsewhere()
    }

    /// The most bytes that the connections of this worker have held.
    pub(in crate::conn) fn peak(&self) -> usize {
        let before = self.part.as_ref().map_or(0, |part| part.peak.get());
        before.max(self.peak.get() - self.elsewhere())
    }

    /// [`held`](Self::held) and [`peak`](Self::peak), for each iteration of the loop.
    #[inline]
    pub(in crate::conn) fn held_and_peak(&self) -> (usize, usize) {
        match self.part {
            None => (self.held.get(), self.peak.get()),
            Some(_) => (self.held(), self.peak()),
        }
    }

    /// The bytes that the connections of all workers hold, at least. Of what the other workers have taken, the most
    /// that they may keep as a reserve is left out: how much of it they use isn't known here.
    pub(in crate::conn) fn held_in_all(&self) -> usize {
        let Some(part) = &self.part else {
            return self.held.get();
        };
        part.share.used_by_others() + self.held()
    }

    fn elsewhere(&self) -> usize {
        self.part.as_ref().map_or(0, |part| part.elsewhere.get())
    }
}

/// Several workers.
impl Budget {
    /// Makes this the budget of one of several workers. It holds nothing yet.
    pub(in crate::conn) fn set_share(&mut self, share: Share, limits: &Limits) {
        self.part = Some(Part {
            share,
            elsewhere: Cell::new(limits.max_held),
            peak: Cell::new(0),
        });
        self.held.set(limits.max_held);
        self.peak.set(limits.max_held);
    }

    /// Gives back what this worker doesn't need of its share.
    pub(in crate::conn) fn give_back_spare(&self, limits: &Limits) {
        if let Some(part) = &self.part {
            let held = self.held();
            // What is held without a check, like a small response.
            part.share.covers(held);
            part.share.give_back_spare(held);
            self.share_changed(part, held, limits);
        }
    }

    /// Takes enough from the pool for `more` bytes. Returns false, and takes nothing, if too little is left.
    #[cold]
    #[inline(never)]
    fn take(&self, more: usize, limits: &Limits) -> bool {
        let Some(part) = &self.part else {
            return false;
        };
        let held = self.held();
        let has_room = part.share.covers(held.saturating_add(more));
        self.share_changed(part, held, limits);
        has_room
    }

    /// Called when the share may have changed. This worker holds `held` bytes.
    fn share_changed(&self, part: &Part, held: usize, limits: &Limits) {
        part.peak.set(self.peak());
        let elsewhere = limits.max_held.saturating_sub(part.share.taken());
        part.elsewhere.set(elsewhere);
        self.held.set(held + elsewhere);
        self.peak.set(held + elsewhere);
    }
}

/// Refuses what the allocator had no memory for.
pub(in crate::conn) fn allocated(reserved: Result<(), TryReserveError>) -> Result<(), Refusal> {
    reserved.map_err(|_| Refusal::overloaded())
}

#[cfg(all(test, not(target_os = "wasi")))]
mod tests {
    use super::*;
    use crate::handle::Handle;
    use crate::shares::Pools;

    const MIB: usize = 1 << 20;

    fn limits() -> Limits {
        Limits {
            max_held: 4 * MIB,
            ..Limits::default()
        }
    }

    /// The budgets of two workers.
    fn two(limits: &Limits) -> [Budget; 2] {
        let pools = Pools::new(limits, 2, &Handle::new());
        std::array::from_fn(|_| {
            let mut budget = Budget::default();
            budget.set_share(pools.held(), limits);
            budget
        })
    }

    #[test]
    fn a_worker_may_hold_what_the_others_leave() {
        let limits = limits();
        let [mut one, mut other] = two(&limits);
        assert_eq!((one.held(), one.peak(), one.held_in_all()), (0, 0, 0));
        other.admit(MIB, &limits).expect("it is free");
        other.replace(0, MIB);
        one.admit(3 * MIB, &limits).expect("so is that");
        one.replace(0, 3 * MIB);
        assert!(!one.has_room(1, &limits) && !other.has_room(1, &limits));
        assert_eq!((one.held(), other.held()), (3 * MIB, MIB));

        one.replace(3 * MIB, 10);
        assert!(!other.has_room(1, &limits), "it isn't given back yet");
        one.give_back_spare(&limits);
        other.admit(2 * MIB, &limits).expect("it is now");
        assert_eq!((one.held(), one.peak()), (10, 3 * MIB));
        let most = other.room_for(4 * MIB, &limits);
        // The other one keeps less than a slice.
        assert!((2 * MIB..3 * MIB).contains(&most), "{most}");
    }

    #[test]
    fn memory_is_scarce_for_all_workers() {
        let limits = limits();
        let [mut one, mut other] = two(&limits);
        for budget in [&one, &other] {
            assert!(!budget.is_scarce(&limits));
        }
        one.admit(2 * MIB, &limits).expect("it is free");
        one.replace(0, 2 * MIB);
        other.admit(MIB, &limits).expect("it is free");
        other.replace(0, MIB);
        assert!(one.is_scarce(&limits) && other.is_scarce(&limits));
        one.replace(2 * MIB, 0);
        one.give_back_spare(&limits);
        assert!(!one.is_scarce(&limits) && !other.is_scarce(&limits));
    }

    #[test]
    fn a_response_larger_than_all_is_sent_when_nothing_is_held() {
        let limits = limits();
        let [one, mut other] = two(&limits);
        one.admit_response(5 * MIB, &limits).expect("the only one");
        other.admit(MIB, &limits).expect("it is free");
        other.replace(0, MIB);
        one.admit_response(5 * MIB, &limits)
            .expect_err("beside another");
    }

    #[test]
    fn a_body_gets_what_it_asks_for_or_what_is_left() {
        let limits = limits();
        let [mut one, other] = two(&limits);
        let grant =
            |budget: &Budget, least| budget.grant([3 * MIB, 2 * MIB, MIB], least, 1000, &limits);
        assert_eq!(grant(&one, 10).expect("room"), 3 * MIB);
        one.replace(0, 3 * MIB);
        one.give_back_spare(&limits);
        let left = grant(&other, 10).expect("room");
        assert!((MIB - 200_000..MIB).contains(&left), "{left}");
        assert!(grant(&other, MIB).is_err());
    }

    #[test]
    fn the_share_of_a_worker_that_ends_returns_to_the_pool() {
        let limits = limits();
        let [mut one, other] = two(&limits);
        one.admit(4 * MIB, &limits).expect("it is free");
        one.replace(0, 4 * MIB);
        assert!(!other.has_room(1, &limits));
        drop(one);
        assert!(other.has_room(4 * MIB, &limits));
    }
}
