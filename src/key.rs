//! Names of connections that are never mistaken for one another.

/// The name of one connection in its event loop: a slot and the slot's generation, so that the
/// next connection in the same slot has another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// Half the bits of a `usize` number the slot, the other half its generation.
    const HALF: u32 = usize::BITS / 2;
    const MASK: usize = (1 << Self::HALF) - 1;

    /// The most slots that can be told apart on this machine.
    pub(crate) const MAX_SLOTS: usize = Self::MASK;

    /// The key of generation `generation` of slot `index`.
    #[must_use]
    pub const fn new(index: u32, generation: u32) -> Self {
        Self {
            index,
            generation: (generation as usize & Self::MASK) as u32,
        }
    }

    /// The slot.
    #[must_use]
    pub const fn index(self) -> usize {
        self.index as usize
    }

    /// The slot's generation.
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.generation
    }

    /// The key as a number, to be carried by a poll event.
    #[must_use]
    pub const fn to_usize(self) -> usize {
        (self.generation as usize) << Self::HALF | self.index as usize
    }

    /// The key from [`to_usize`](Self::to_usize)'s number.
    #[must_use]
    pub const fn from_usize(number: usize) -> Self {
        Self::new((number & Self::MASK) as u32, (number >> Self::HALF) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_way_through_a_number() {
        let key = Key::new(7, 9);
        assert_eq!(Key::from_usize(key.to_usize()), key);
        let wrapped = Key::new(0, u32::MAX);
        assert_eq!(Key::from_usize(wrapped.to_usize()), wrapped);
        assert_ne!(Key::new(7, 10), key);
    }
}
