//! The connections of a loop, by keys that are never mistaken for one another.

use crate::key::Key;

/// Values in numbered slots. A slot is used again, with another generation in its key.
///
/// The slots lie in pages, which never move: growing copies nothing and leaves no holes behind, and
/// that is what a connection costs in a wasm memory, which never shrinks.
#[derive(Debug)]
pub(super) struct Slab<T> {
    pages: Vec<Vec<Slot<T>>>,
    free: Vec<u32>,
    occupied: usize,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

/// Slots in a page.
const PAGE: usize = 64;

impl<T> Slab<T> {
    pub(super) fn new() -> Self {
        Self {
            pages: Vec::new(),
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
            Some(&index) => {
                let slot = self.slot(index as usize);
                Key::new(index, slot.map_or(0, |slot| slot.generation))
            }
            None => Key::new(self.slots() as u32, 0),
        }
    }

    /// Puts a value under [`next_key`](Self::next_key).
    pub(super) fn insert(&mut self, value: T) {
        self.occupied += 1;
        let free = self.free.pop();
        if let Some(slot) = free.and_then(|index| self.slot_mut(index as usize)) {
            slot.value = Some(value);
            return;
        }
        let slot = Slot {
            generation: 0,
            value: Some(value),
        };
        match self.pages.last_mut() {
            Some(page) if page.len() < PAGE => page.push(slot),
            Some(_) | None => {
                let mut page = Vec::with_capacity(PAGE);
                page.push(slot);
                self.pages.push(page);
            }
        }
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slot_mut(key.index())?;
        if Key::new(0, slot.generation).generation() != key.generation() {
            return None;
        }
        slot.value.as_mut()
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        self.get_mut(key)?;
        let slot = self.slot_mut(key.index())?;
        slot.generation = slot.generation.wrapping_add(1);
        let value = slot.value.take();
        self.occupied -= 1;
        self.free.push(key.index() as u32);
        value
    }

    /// The key of the value in a slot, if there is one.
    pub(super) fn key_at(&self, index: usize) -> Option<Key> {
        let slot = self.slot(index)?;
        slot.value
            .as_ref()
            .map(|_| Key::new(index as u32, slot.generation))
    }

    /// The keys of all values.
    pub(super) fn keys(&self) -> Vec<Key> {
        (0..self.slots())
            .filter_map(|index| self.key_at(index))
            .collect()
    }

    /// How many slots there are, free ones too.
    fn slots(&self) -> usize {
        match self.pages.last() {
            Some(last) => (self.pages.len() - 1) * PAGE + last.len(),
            None => 0,
        }
    }

    fn slot(&self, index: usize) -> Option<&Slot<T>> {
        self.pages.get(index / PAGE)?.get(index % PAGE)
    }

    fn slot_mut(&mut self, index: usize) -> Option<&mut Slot<T>> {
        self.pages.get_mut(index / PAGE)?.get_mut(index % PAGE)
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

    #[test]
    fn thousands_of_values_keep_their_keys() {
        let mut slab = Slab::new();
        let keys: Vec<Key> = (0..1000)
            .map(|value| {
                let key = slab.next_key();
                slab.insert(value);
                key
            })
            .collect();
        assert_eq!(slab.keys(), keys);
        for (value, key) in keys.iter().enumerate() {
            assert_eq!(slab.get_mut(*key), Some(&mut value.clone()));
            assert_eq!(slab.remove(*key), Some(value));
        }
        assert_eq!((slab.len(), slab.keys()), (0, vec![]));
    }
}
