//! The deadlines of all connections: a timer wheel.
//!
//! Setting, moving and taking away a deadline takes constant time. Deadlines are rounded up to a
//! tick of 67 ms, so that many of them end in one wake-up. A deadline that only moves later, as
//! that of an idle connection does with each request, is left where it stands; when the wheel
//! comes by, the owner looks at the real deadline and sets it again.

use std::time::Duration;

use super::links::{Links, List, grow};
use crate::time::Instant;

/// Slots by the tick in which they are due.
#[derive(Debug)]
pub(super) struct Wheel {
    /// The slots due in each tick, by the tick's number modulo `TICKS`.
    ticks: Box<[List; Self::TICKS]>,
    /// Which ticks have slots, a bit each.
    occupied: [u64; Self::TICKS / 64],
    links: Links,
    /// The tick each slot is in, or `NOT_SET`.
    tick_of: Vec<u64>,
    /// All ticks up to this one are done.
    done: u64,
    /// No slot is in a tick before this one: where to look first.
    earliest: u64,
}

impl Wheel {
    /// A tick is 2^26 ns, 67 ms; the wheel spans 68 s. A later deadline is looked at on the way.
    const TICK_BITS: u32 = 26;
    const TICKS: usize = 1024;
    const NOT_SET: u64 = u64::MAX;

    pub(super) fn new(now: Instant) -> Self {
        Self {
            ticks: Box::new([List::EMPTY; Self::TICKS]),
            occupied: [0; Self::TICKS / 64],
            links: Links::default(),
            tick_of: Vec::new(),
            done: now.as_nanos() >> Self::TICK_BITS,
            earliest: 0,
        }
    }

    /// Says, at `now`, that `slot` is due at `deadline`, and not before it.
    pub(super) fn set(&mut self, slot: usize, deadline: Instant, now: Instant) {
        let tick = (deadline.as_nanos() >> Self::TICK_BITS) + 1;
        if self.tick_of.get(slot).is_some_and(|&set| set <= tick) {
            return;
        }
        // Without a deadline nothing has moved the wheel in a wait, and the new one would be looked
        // at for every turn of the wheel that was slept.
        if self.next_tick().is_none() {
            self.pass(now);
        }
        let tick = tick.clamp(self.done + 1, self.done + Self::TICKS as u64 - 1);
        grow(&mut self.tick_of, slot + 1, Self::NOT_SET);
        self.cancel(slot);
        self.tick_of[slot] = tick;
        self.earliest = self.earliest.min(tick);
        let place = Self::place(tick);
        self.ticks[place].push(&mut self.links, slot);
        self.occupied[place / 64] |= 1 << (place % 64);
    }

    /// Says that `slot` is not due at any time.
    pub(super) fn cancel(&mut self, slot: usize) {
        let Some(tick_of) = self.tick_of.get_mut(slot) else {
            return;
        };
        let tick = std::mem::replace(tick_of, Self::NOT_SET);
        if tick == Self::NOT_SET {
            return;
        }
        let place = Self::place(tick);
        self.ticks[place].remove(&mut self.links, slot);
        if self.ticks[place].is_empty() {
            self.occupied[place / 64] &= !(1 << (place % 64));
        }
    }

    /// The time from `now` to the next tick with a slot in it.
    pub(super) fn next(&mut self, now: Instant) -> Option<Duration> {
        let tick = self.next_tick()?;
        Some(Instant::from_nanos(tick << Self::TICK_BITS).saturating_since(now))
    }

    /// Takes out a slot that is due at `now`, or may be. Call until it gives `None`.
    pub(super) fn expired(&mut self, now: Instant) -> Option<usize> {
        match self.next_tick() {
            Some(tick) if tick <= now.as_nanos() >> Self::TICK_BITS => {
                self.done = self.done.max(tick - 1);
                let slot = self.ticks[Self::place(tick)].first()?;
                self.cancel(slot);
                Some(slot)
            }
            Some(_) | None => {
                self.pass(now);
                None
            }
        }
    }

    /// Takes note that there is nothing up to `now`.
    fn pass(&mut self, now: Instant) {
        self.done = self.done.max(now.as_nanos() >> Self::TICK_BITS);
    }

    #[inline]
    fn next_tick(&mut self) -> Option<u64> {
        let from = self.earliest.max(self.done + 1);
        // Mostly it stands where it was found last.
        if from < u64::MAX && self.is_occupied(Self::place(from)) {
            return Some(from);
        }
        self.find_tick(from)
    }

    /// The first tick with a slot in it, from this one on.
    #[inline(never)]
    fn find_tick(&mut self, from: u64) -> Option<u64> {
        let start = Self::place(from);
        let (start_word, start_bit) = (start / 64, start % 64);
        let words = self.occupied.len();
        // The word of the start comes first for its upper bits, and last for its lower ones.
        let next = (0..=words).find_map(|step| {
            let word = (start_word + step) % words;
            let mask = match step {
                0 => u64::MAX << start_bit,
                _ if step == words => !(u64::MAX << start_bit),
                _ => u64::MAX,
            };
            let bits = self.occupied[word] & mask;
            (bits != 0).then(|| {
                let place = word * 64 + bits.trailing_zeros() as usize;
                let ahead = (place + Self::TICKS - start) % Self::TICKS;
                from + ahead as u64
            })
        });
        self.earliest = next.unwrap_or(u64::MAX);
        next
    }

    fn is_occupied(&self, place: usize) -> bool {
        self.occupied[place / 64] & 1 << (place % 64) != 0
    }

    fn place(tick: u64) -> usize {
        (tick % Self::TICKS as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: u64 = 1 << Wheel::TICK_BITS;

    fn at(tick: u64) -> Instant {
        Instant::from_nanos(tick * TICK)
    }

    fn expired(wheel: &mut Wheel, now: Instant) -> Vec<usize> {
        std::iter::from_fn(|| wheel.expired(now)).collect()
    }

    #[test]
    fn a_slot_is_due_after_its_deadline_and_within_a_tick() {
        for start in [0, 5, 1023, 1024, 5000] {
            let mut wheel = Wheel::new(at(start));
            wheel.set(3, at(start + 10), at(start));
            wheel.set(1, at(start + 900), at(start));
            assert_eq!(expired(&mut wheel, at(start + 10)), []);
            assert_eq!(wheel.next(at(start + 10)), Some(Duration::from_nanos(TICK)));
            assert_eq!(expired(&mut wheel, at(start + 11)), [3]);
            assert_eq!(expired(&mut wheel, at(start + 2000)), [1]);
            assert_eq!(wheel.next(at(start + 2000)), None);
        }
    }

    #[test]
    fn an_earlier_deadline_moves_a_slot_and_a_later_one_does_not() {
        let mut wheel = Wheel::new(at(0));
        wheel.set(0, at(500), at(0));
        wheel.set(0, at(50), at(0));
        wheel.set(0, at(700), at(0));
        assert_eq!(expired(&mut wheel, at(51)), [0]);
        assert_eq!(expired(&mut wheel, at(2000)), []);
    }

    #[test]
    fn a_cancelled_slot_is_never_due() {
        let mut wheel = Wheel::new(at(0));
        wheel.set(0, at(5), at(0));
        wheel.set(1, at(5), at(0));
        wheel.cancel(0);
        wheel.cancel(0);
        wheel.cancel(9);
        assert_eq!(expired(&mut wheel, at(6)), [1]);
    }

    #[test]
    fn a_deadline_beyond_the_wheel_is_looked_at_on_the_way() {
        let mut wheel = Wheel::new(at(0));
        wheel.set(0, at(100_000), at(0));
        assert_eq!(expired(&mut wheel, at(1023)), [0]);
        wheel.set(0, Instant::from_nanos(u64::MAX), at(1023));
        assert_eq!(expired(&mut wheel, at(3000)), [0]);
    }

    #[test]
    fn a_deadline_set_after_a_long_sleep_is_not_looked_at_before() {
        let mut wheel = Wheel::new(at(0));
        wheel.set(0, at(5000 + 900), at(5000));
        assert_eq!(expired(&mut wheel, at(5000)), []);
        assert_eq!(wheel.next(at(5000)), Some(Duration::from_nanos(901 * TICK)));
    }

    #[test]
    fn a_deadline_in_the_past_is_due_with_the_next_tick() {
        let mut wheel = Wheel::new(at(100));
        wheel.set(0, at(7), at(100));
        assert_eq!(expired(&mut wheel, at(101)), [0]);
    }

    /// Against a model that keeps the tick of each slot in a map.
    #[test]
    fn agrees_with_a_plain_map_through_thousands_of_random_steps() {
        use std::collections::BTreeMap;
        let mut seed = 1_u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        let mut now = 5;
        let (mut wheel, mut model) = (Wheel::new(at(now)), BTreeMap::<usize, u64>::new());
        for _ in 0..20_000 {
            let slot = random(50) as usize;
            match random(10) {
                0..5 => {
                    let deadline = now + random(1000);
                    wheel.set(slot, at(deadline), at(now));
                    let tick = model.entry(slot).or_insert(u64::MAX);
                    *tick = (*tick).min(deadline + 1);
                }
                5..7 => {
                    wheel.cancel(slot);
                    model.remove(&slot);
                }
                _ => {
                    let next = model
                        .values()
                        .min()
                        .map(|tick| tick.saturating_sub(now) * TICK);
                    assert_eq!(wheel.next(at(now)), next.map(Duration::from_nanos));
                    let leap = if random(20) == 0 { 900 } else { 30 };
                    now += random(leap);
                    let mut due = expired(&mut wheel, at(now));
                    due.sort_unstable();
                    let expected = model.iter().filter(|(_, tick)| **tick <= now);
                    let expected: Vec<usize> = expected.map(|(slot, _)| *slot).collect();
                    assert_eq!(due, expected);
                    model.retain(|_, tick| *tick > now);
                }
            }
        }
    }
}
