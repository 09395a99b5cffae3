//! A random number generator for the moments of samples.

use std::hash::{BuildHasher, RandomState};

/// xorshift, which is good enough for that.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new() -> Self {
        // std's only source of randomness.
        Self(RandomState::new().hash_one(0_u8) | 1)
    }

    /// A number below `bound`, which isn't 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
