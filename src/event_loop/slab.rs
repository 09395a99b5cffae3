//! The connections of a loop, by keys that are never mistaken for one another.

use crate::key::Key;

/// Values in numbered slots. A slot is used again, with another generation in its key.
#[derive(Debug)]
pub(super) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    occupied: usize,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slab<T> {
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            occupied: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.occupied
    }

    /// The key that the next inserted value gets.
    pub(super) fn next_key(&self) -> Key {
        match self.free.last() {
            Some(&index) => Key::new(index, self.slots[index as usize].generation),
            None => Key::new(self.slots.len() as u32, 0),
        }
    }

    /// Puts a value under [`next_key`](Self::next_key).
    pub(super) fn insert(&mut self, value: T) {
        self.occupied += 1;
        match self.free.pop() {
            Some(index) => self.slots[index as usize].value = Some(value),
            None => self.slots.push(Slot {
                generation: 0,
                value: Some(value),
            }),
        }
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index())?;
        if Key::new(0, slot.generation).generation() != key.generation() {
            return None;
        }
        slot.value.as_mut()
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        self.get_mut(key)?;
        let slot = &mut self.slots[key.index()];
        slot.generation = slot.generation.wrapping_add(1);
        self.occupied -= 1;
        self.free.push(key.index() as u32);
        slot.value.take()
    }

    /// The key of the value in a slot, if there is one.
    pub(super) fn key_at(&self, index: usize) -> Option<Key> {
        let slot = self.slots.get(index)?;
        slot.value
            .as_ref()
            .map(|_| Key::new(index as u32, slot.generation))
    }

    /// The keys of all values.
    pub(super) fn keys(&self) -> Vec<Key> {
        (0..self.slots.len())
            .filter_map(|index| self.key_at(index))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_used_again_has_another_key() {
        let mut slab = Slab::new();
        let first = slab.next_key();
        slab.insert("a");
        let other = slab.next_key();
        slab.insert("b");
        assert_eq!(slab.remove(first), Some("a"));
        assert_eq!(slab.remove(first), None);
        let second = slab.next_key();
        slab.insert("c");
        assert_eq!(second.index(), first.index());
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.get_mut(second), Some(&mut "c"));
        assert_eq!(slab.keys(), [second, other]);
        assert_eq!(slab.len(), 2);
    }
}
