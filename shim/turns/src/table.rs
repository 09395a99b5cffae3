//! [`Table`]: values in numbered slots, with keys that are not reused (a generational arena).

use crate::key::Key;

/// Values in numbered slots. When a slot is used again, its key has another generation.
///
/// The slots are in pages, which never move. So when the table grows, nothing is copied and no holes are left
/// in memory. That matters in wasm, where memory never shrinks.
#[derive(Debug)]
pub struct Table<T> {
    pages: Vec<Vec<Slot<T>>>,
    free: Vec<u32>,
    len: usize,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

/// Slots in a page. At half, the list of pages is twice as long; at double, a server
/// with few connections has memory for 128 of them.
const PAGE: usize = 64;

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            pages: Vec::new(),
            free: Vec::new(),
            len: 0,
        }
    }
}

impl<T> Table<T> {
    /// How many values there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The key that the next inserted value gets.
    #[must_use]
    pub fn next_key(&self) -> Key {
        match self.free.last() {
            Some(&index) => {
                let slot = self.slot(index as usize);
                Key::new(index, slot.map_or(0, |slot| slot.generation))
            }
            None => Key::new(self.slots() as u32, 0),
        }
    }

    /// Inserts a value. Returns its key, which is the former [`next_key`](Self::next_key).
    pub fn insert(&mut self, value: T) -> Key {
        let key = self.next_key();
        self.len += 1;
        let free = self.free.pop();
        if let Some(slot) = free.and_then(|index| self.slot_mut(index as usize)) {
            slot.value = Some(value);
            return key;
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
        key
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&T> {
        let slot = self.slot(key.index())?;
        slot.value.as_ref().filter(|_| slot.is_of(key))
    }

    /// The value of a key.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slot_mut(key.index())?;
        let is_of = slot.is_of(key);
        slot.value.as_mut().filter(|_| is_of)
    }

    /// Removes the value of a key. Its slot may be used again.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slot_mut(key.index())?;
        if !slot.is_of(key) {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.len -= 1;
        self.free.push(key.index() as u32);
        Some(value)
    }

    /// The value in a slot, whatever its key is.
    #[must_use]
    pub fn at(&self, index: usize) -> Option<&T> {
        self.slot(index)?.value.as_ref()
    }

    /// The value in a slot, whatever its key is.
    pub fn at_mut(&mut self, index: usize) -> Option<&mut T> {
        self.slot_mut(index)?.value.as_mut()
    }

    /// The key of the value in a slot, if there is one.
    #[must_use]
    pub fn key_at(&self, index: usize) -> Option<Key> {
        let slot = self.slot(index)?;
        let key = Key::new(index as u32, slot.generation);
        slot.value.as_ref().map(|_| key)
    }

    /// The keys of all values.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        (0..self.slots())
            .filter_map(|index| self.key_at(index))
            .collect()
    }

    /// All values, each with the number of its slot.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let slots = (0..).zip(self.pages.iter().flatten());
        slots.filter_map(|(index, slot)| Some((index, slot.value.as_ref()?)))
    }

    /// All values.
    pub fn into_values(self) -> impl Iterator<Item = T> {
        let slots = self.pages.into_iter().flatten();
        slots.filter_map(|slot| slot.value)
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

impl<T> Slot<T> {
    /// Whether a key of this slot is that of its current value, not of an earlier one.
    fn is_of(&self, key: Key) -> bool {
        Key::new(0, self.generation).generation() == key.generation()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_used_again_has_another_key() {
        let mut table = Table::default();
        let first = table.next_key();
        assert_eq!(table.insert("a"), first);
        let other = table.insert("b");
        assert_eq!(table.remove(first), Some("a"));
        assert_eq!(table.remove(first), None);
        assert_eq!(
            (table.at(first.index()), table.key_at(first.index())),
            (None, None)
        );
        let second = table.insert("c");
        assert_eq!(second.index(), first.index());
        assert_eq!(table.get(first), None);
        assert_eq!(table.get_mut(first), None);
        assert_eq!(table.get(second), Some(&"c"));
        assert_eq!(table.get_mut(second), Some(&mut "c"));
        assert_eq!(table.at_mut(second.index()), Some(&mut "c"));
        assert_eq!(table.keys(), [second, other]);
        assert_eq!(table.len(), 2);
        let values: Vec<_> = table.iter().map(|(index, value)| (index, *value)).collect();
        assert_eq!(values, [(0, "c"), (1, "b")]);
        assert_eq!(table.into_values().collect::<Vec<_>>(), ["c", "b"]);
    }

    #[test]
    fn thousands_of_values_keep_their_keys() {
        let mut table = Table::default();
        let keys: Vec<Key> = (0..1000).map(|value| table.insert(value)).collect();
        assert_eq!(table.keys(), keys);
        for (value, key) in keys.iter().enumerate() {
            assert_eq!(table.get_mut(*key), Some(&mut value.clone()));
            assert_eq!(table.remove(*key), Some(value));
        }
        assert_eq!((table.is_empty(), table.keys()), (true, vec![]));
    }
}
