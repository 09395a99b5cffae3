//! [`Sets`]: which slots are busy, which are idle, and which idle ones are next.

/// Slots, numbered from 0. Each is unused, busy or idle.
#[derive(Debug, Default)]
pub(crate) struct Sets {
    slots: Vec<Option<Slot>>,
    busy: Vec<u32>,
    /// How many are idle.
    idle: usize,
    /// The slot at which the next search for idle ones begins.
    cursor: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// When something last happened on it, in microseconds, wrapping around.
    last_active: u32,
    /// Its position in the list of busy slots. `None` if it is idle.
    busy_position: Option<u32>,
}

impl Sets {
    /// Adds a slot, which is idle.
    pub(crate) fn insert(&mut self, slot: u32) {
        let at = slot as usize;
        if self.slots.len() <= at {
            self.slots.resize(at + 1, None);
        }
        self.remove(slot);
        self.slots[at] = Some(Slot::default());
        self.idle += 1;
    }

    /// Removes a slot.
    pub(crate) fn remove(&mut self, slot: u32) {
        self.set_idle(slot);
        if let Some(found) = self.slots.get_mut(slot as usize)
            && found.take().is_some()
        {
            self.idle -= 1;
        }
    }

    /// Makes a slot busy, because something has happened on it.
    pub(crate) fn set_busy(&mut self, slot: u32, now: u64) {
        let Some(Some(found)) = self.slots.get_mut(slot as usize) else {
            return;
        };
        found.last_active = micros(now);
        if found.busy_position.is_none() {
            // There are no more busy slots than slots.
            found.busy_position = Some(self.busy.len() as u32);
            self.busy.push(slot);
            self.idle -= 1;
        }
    }

    /// Makes a slot idle, even if something has just happened on it.
    pub(crate) fn set_idle(&mut self, slot: u32) {
        let Some(Some(found)) = self.slots.get_mut(slot as usize) else {
            return;
        };
        let Some(at) = found.busy_position.take() else {
            return;
        };
        self.busy.swap_remove(at as usize);
        self.idle += 1;
        if let Some(&moved) = self.busy.get(at as usize)
            && let Some(Some(moved)) = self.slots.get_mut(moved as usize)
        {
            moved.busy_position = Some(at);
        }
    }

    /// Makes the busy slots idle on which nothing has happened for `nanos`.
    pub(crate) fn expire_busy(&mut self, now: u64, nanos: u64) {
        let mut at = 0;
        while let Some(&slot) = self.busy.get(at) {
            let last_active = self.slots[slot as usize].map_or(0, |found| found.last_active);
            if u64::from(micros(now).wrapping_sub(last_active)) * 1000 >= nanos {
                self.set_idle(slot);
            } else {
                at += 1;
            }
        }
    }

    /// Whether a slot is idle.
    pub(crate) fn is_idle(&self, slot: u32) -> bool {
        matches!(self.slots.get(slot as usize), Some(Some(found)) if found.busy_position.is_none())
    }

    /// The busy slots.
    pub(crate) fn busy(&self) -> &[u32] {
        &self.busy
    }

    /// How many are idle.
    pub(crate) const fn idle(&self) -> usize {
        self.idle
    }

    /// Every slot, busy or idle.
    pub(crate) fn all(&self) -> impl Iterator<Item = u32> {
        let slots = (0..).zip(&self.slots);
        slots.filter_map(|(slot, found)| found.map(|_| slot))
    }

    /// Appends the next `count` idle slots for which `wanted` is true, or fewer if there are fewer. Each call
    /// begins where the last one ended.
    pub(crate) fn next_idle(
        &mut self,
        count: usize,
        wanted: impl Fn(u32) -> bool,
        to: &mut Vec<u32>,
    ) {
        let most = to.len() + count;
        for _ in 0..self.slots.len() {
            if to.len() >= most {
                break;
            }
            if self.cursor >= self.slots.len() {
                self.cursor = 0;
            }
            let slot = u32::try_from(self.cursor).unwrap_or(u32::MAX);
            if self.is_idle(slot) && wanted(slot) {
                to.push(slot);
            }
            self.cursor += 1;
        }
    }
}

fn micros(nanos: u64) -> u32 {
    // It wraps around after 71 minutes, much longer than the durations that are compared.
    (nanos / 1000) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_is_busy_or_idle_or_removed() {
        let mut sets = Sets::default();
        for slot in 0..5 {
            sets.insert(slot);
        }
        for slot in [3, 1, 4] {
            sets.set_busy(slot, 1_000_000);
        }
        assert_eq!((sets.busy(), sets.idle()), (&[3, 1, 4][..], 2));
        sets.remove(3);
        assert_eq!((sets.busy(), sets.idle()), (&[4, 1][..], 2));
        sets.set_busy(1, 5_000_000);
        sets.expire_busy(6_000_000, 2_000_000);
        assert_eq!((sets.busy(), sets.idle()), (&[1][..], 3));
        assert!(sets.is_idle(4) && !sets.is_idle(1) && !sets.is_idle(3));
        assert_eq!(sets.all().collect::<Vec<_>>(), [0, 1, 2, 4]);
        sets.set_busy(3, 0);
        assert_eq!(sets.busy(), [1]);
    }

    #[test]
    fn idle_slots_come_in_turn() {
        let mut sets = Sets::default();
        for slot in 0..6 {
            sets.insert(slot);
        }
        sets.set_busy(2, 0);
        let mut next = |count| {
            let mut slots = Vec::new();
            sets.next_idle(count, |slot| slot != 4, &mut slots);
            slots
        };
        assert_eq!(next(3), [0, 1, 3]);
        assert_eq!(next(2), [5, 0]);
        assert_eq!(next(9), [1, 3, 5, 0]);
    }
}
