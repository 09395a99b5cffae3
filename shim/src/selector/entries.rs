//! The registered sources, in a table whose places are used again, each time with another
//! generation.

use super::entry::Entry;

/// Names a registration. It is never another's, even when its place is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    pub(super) fn to_token(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    pub(super) fn from_token(token: u64) -> Self {
        Self {
            index: token as u32,
            generation: (token >> 32) as u32,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Entries {
    slots: Vec<(u32, Option<Entry>)>,
    free: Vec<u32>,
}

impl Entries {
    /// The key that the next [`insert`](Self::insert) will use.
    pub(super) fn next_key(&mut self) -> Key {
        let index = match self.free.last() {
            Some(index) => *index,
            None => {
                let index = u32::try_from(self.slots.len());
                let index = index.expect("fewer sources than file descriptors");
                self.slots.push((0, None));
                self.free.push(index);
                index
            }
        };
        let (generation, _) = self.slots[index as usize];
        Key { index, generation }
    }

    pub(super) fn insert(&mut self, entry: Entry) -> Key {
        let key = self.next_key();
        self.free.pop();
        self.slots[key.index as usize].1 = Some(entry);
        key
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Entry> {
        match self.slots.get_mut(key.index as usize)? {
            (generation, entry) if *generation == key.generation => entry.as_mut(),
            _ => None,
        }
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Entry> {
        self.get_mut(key)?;
        let (generation, entry) = &mut self.slots[key.index as usize];
        *generation = generation.wrapping_add(1);
        self.free.push(key.index);
        entry.take()
    }
}
