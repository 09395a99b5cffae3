//! The deadlines of all connections: a heap.
//!
//! A deadline that only moves later, as that of an idle connection does with each request, leaves the
//! entry where it is: when the entry is due, the owner looks at the real deadline and sets it again. So
//! a request costs one comparison. An earlier deadline, or none, leaves a stale entry behind, which is
//! dropped when it comes up, or when more than half of the entries are stale.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::time::Instant;

/// Slots by the time at which they are due.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    /// The earliest first. An entry is stale unless `due` has the same time for its slot.
    heap: BinaryHeap<Reverse<(Instant, u32)>>,
    /// When each slot is due, or `NOT_SET`.
    due: Vec<Instant>,
    /// How many slots are due at some time: entries that aren't stale.
    live: usize,
}

impl Deadlines {
    const NOT_SET: Instant = Instant::from_nanos(u64::MAX);

    /// The heap is cleared of stale entries only from this length on: a shorter one has less than 1 KiB,
    /// which isn't worth the time.
    const WORTH_CLEARING: usize = 64;

    /// Sets when `slot` is due: at `at`, or earlier if an earlier time was set before.
    pub(crate) fn set(&mut self, slot: usize, at: Instant) {
        if self.due.get(slot).is_some_and(|&due| due <= at) {
            return;
        }
        grow(&mut self.due, slot + 1, Self::NOT_SET);
        if self.due[slot] == Self::NOT_SET {
            self.live += 1;
        }
        self.due[slot] = at;
        self.heap.push(Reverse((at, slot as u32)));
        self.drop_stale();
    }

    /// Removes the deadline of `slot`.
    pub(crate) fn cancel(&mut self, slot: usize) {
        if let Some(due) = self.due.get_mut(slot)
            && *due != Self::NOT_SET
        {
            *due = Self::NOT_SET;
            self.live -= 1;
            self.drop_stale();
        }
    }

    /// The time from `now` until a slot is due.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Duration> {
        let (at, _) = self.first()?;
        Some(at.saturating_since(now))
    }

    /// Takes out a slot that is due at `now`. Call until it returns `None`.
    pub(crate) fn expired(&mut self, now: Instant) -> Option<usize> {
        let (at, slot) = self.first()?;
        if at > now {
            return None;
        }
        self.heap.pop();
        self.due[slot] = Self::NOT_SET;
        self.live -= 1;
        Some(slot)
    }

    /// How many entries there are, stale ones too.
    #[cfg(test)]
    pub(crate) fn length(&self) -> usize {
        self.heap.len()
    }

    /// The first entry that isn't stale; those before it are dropped.
    fn first(&mut self) -> Option<(Instant, usize)> {
        loop {
            let &Reverse((at, slot)) = self.heap.peek()?;
            let slot = slot as usize;
            if self.due[slot] == at {
                return Some((at, slot));
            }
            self.heap.pop();
        }
    }

    /// Drops the stale entries if there are more of them than of the others, so that the heap's length
    /// is bounded by the number of slots. Each costs a constant time, spread over the calls.
    fn drop_stale(&mut self) {
        let length = self.heap.len();
        if length >= Self::WORTH_CLEARING && length > 2 * self.live {
            let due = &mut self.due;
            // A slot that was cancelled and set to the same time again has two: the first is kept.
            self.heap.retain(|&Reverse((at, slot))| {
                let is_first = due[slot as usize] == at;
                if is_first {
                    due[slot as usize] = Self::NOT_SET;
                }
                is_first
            });
            for &Reverse((at, slot)) in &self.heap {
                due[slot as usize] = at;
            }
        }
    }
}

/// Makes a table of slots as long as this, if it is shorter. It grows by an eighth and doesn't
/// double: an idle connection's memory is counted in hundreds of bytes.
pub(crate) fn grow<T: Clone>(table: &mut Vec<T>, length: usize, value: T) {
    if length > table.capacity() {
        table.reserve_exact(length - table.len() + length / 8 + 16);
    }
    if length > table.len() {
        table.resize(length, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn expired(deadlines: &mut Deadlines, now: Instant) -> Vec<usize> {
        std::iter::from_fn(|| deadlines.expired(now)).collect()
    }

    #[test]
    fn slots_are_due_in_the_order_of_their_deadlines() {
        let mut deadlines = Deadlines::default();
        deadlines.set(3, at(10));
        deadlines.set(1, at(900));
        deadlines.set(2, at(7));
        assert_eq!(deadlines.next(at(4)), Some(Duration::from_millis(3)));
        assert_eq!(expired(&mut deadlines, at(6)), []);
        assert_eq!(expired(&mut deadlines, at(10)), [2, 3]);
        assert_eq!(expired(&mut deadlines, at(2000)), [1]);
        assert_eq!(deadlines.next(at(2000)), None);
    }

    #[test]
    fn an_earlier_deadline_moves_a_slot_and_a_later_one_does_not() {
        let mut deadlines = Deadlines::default();
        deadlines.set(0, at(500));
        deadlines.set(0, at(50));
        deadlines.set(0, at(700));
        assert_eq!(expired(&mut deadlines, at(50)), [0]);
        assert_eq!(expired(&mut deadlines, at(2000)), []);
    }

    #[test]
    fn a_cancelled_slot_is_never_due_and_ends_no_wait() {
        let mut deadlines = Deadlines::default();
        deadlines.set(0, at(5));
        deadlines.set(1, at(6));
        deadlines.cancel(0);
        deadlines.cancel(0);
        deadlines.cancel(9);
        assert_eq!(deadlines.next(at(0)), Some(Duration::from_millis(6)));
        assert_eq!(expired(&mut deadlines, at(6)), [1]);
    }

    #[test]
    fn stale_entries_never_outnumber_the_others_by_much() {
        let mut deadlines = Deadlines::default();
        for round in 0..100_000 {
            let slot = round % 100;
            deadlines.set(slot, at(60_000 + round as u64));
            if slot % 3 == 0 {
                deadlines.cancel(slot);
            } else {
                deadlines.set(slot, at(30_000 + round as u64));
            }
            assert!(deadlines.heap.len() <= 2 * 100 + Deadlines::WORTH_CLEARING);
        }
        for _ in 0..100_000 {
            deadlines.set(7, at(1));
            deadlines.cancel(7);
            assert!(deadlines.heap.len() <= 2 * 100 + Deadlines::WORTH_CLEARING);
        }
    }

    /// Against a model that keeps the deadline of each slot in a map.
    #[test]
    fn agrees_with_a_plain_map_through_thousands_of_random_steps() {
        use std::collections::BTreeMap;
        let mut seed = 1_u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        let mut now = 5;
        let (mut deadlines, mut model) = (Deadlines::default(), BTreeMap::<usize, u64>::new());
        for _ in 0..20_000 {
            let slot = random(50) as usize;
            match random(10) {
                0..5 => {
                    let deadline = now + random(1000);
                    deadlines.set(slot, at(deadline));
                    let earliest = model.entry(slot).or_insert(u64::MAX);
                    *earliest = (*earliest).min(deadline);
                }
                5..7 => {
                    deadlines.cancel(slot);
                    model.remove(&slot);
                }
                _ => {
                    let next = model.values().min().map(|due| due.saturating_sub(now));
                    assert_eq!(deadlines.next(at(now)), next.map(Duration::from_millis));
                    let leap = if random(20) == 0 { 900 } else { 30 };
                    now += random(leap);
                    let mut due = expired(&mut deadlines, at(now));
                    due.sort_unstable();
                    let expected = model.iter().filter(|(_, due)| **due <= now);
                    let expected: Vec<usize> = expected.map(|(slot, _)| *slot).collect();
                    assert_eq!(due, expected);
                    model.retain(|_, due| *due > now);
                }
            }
        }
    }
}
