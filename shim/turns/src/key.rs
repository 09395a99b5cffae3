//! [`Key`]: identifies a value in a [`Table`](crate::Table), by its slot and the slot's generation.

/// Identifies a value in a [`Table`](crate::Table), such as a connection in its event loop: the index of a
/// slot and the slot's generation, so that the next value in the same slot has another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// Half the bits of a `usize` hold the slot's index, the other half its generation.
    const HALF: u32 = usize::BITS / 2;
    const MASK: usize = (1 << Self::HALF) - 1;

    /// The number of slots that a key can distinguish on this target.
    pub const MAX_SLOTS: usize = Self::MASK;

    /// The key of generation `generation` of slot `index`. Generations wrap around at half the bits of
    /// a `usize`.
    #[must_use]
    pub const fn new(index: u32, generation: u32) -> Self {
        Self {
            index,
            generation: (generation as usize & Self::MASK) as u32,
        }
    }

    /// The slot's index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.index as usize
    }

    /// The slot's generation.
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.generation
    }

    /// The key as a number, for use as the token of an event of mio.
    #[must_use]
    pub const fn to_usize(self) -> usize {
        (self.generation as usize) << Self::HALF | self.index as usize
    }

    /// The key that [`to_usize`](Self::to_usize) returned `number` for.
    #[must_use]
    pub const fn from_usize(number: usize) -> Self {
        Self::new((number & Self::MASK) as u32, (number >> Self::HALF) as u32)
    }

    /// The key as a number, for use as the `userdata` of an event of WASI.
    #[must_use]
    pub const fn to_u64(self) -> u64 {
        (self.generation as u64) << 32 | self.index as u64
    }

    /// The key that [`to_u64`](Self::to_u64) returned `number` for.
    #[must_use]
    pub const fn from_u64(number: u64) -> Self {
        Self::new(number as u32, (number >> 32) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_same_after_conversion_to_a_number_and_back() {
        let key = Key::new(7, 9);
        assert_eq!(Key::from_usize(key.to_usize()), key);
        assert_eq!(Key::from_u64(key.to_u64()), key);
        let wrapped = Key::new(0, u32::MAX);
        assert_eq!(Key::from_usize(wrapped.to_usize()), wrapped);
        assert_eq!(Key::from_u64(wrapped.to_u64()), wrapped);
        assert_ne!(Key::new(7, 10), key);
    }
}
