//! The bytes that all connections hold together, and how many they may.

use crate::limits::Limits;

/// The bytes held for all connections.
#[derive(Debug, Default)]
pub(in crate::conn) struct Budget {
    pub(in crate::conn) held: usize,
    pub(in crate::conn) peak: usize,
}

impl Budget {
    /// Replaces what one connection holds.
    pub(in crate::conn) fn replace(&mut self, before: usize, after: usize) {
        self.held = self.held.saturating_sub(before).saturating_add(after);
        self.peak = self.peak.max(self.held);
    }

    /// Whether nothing is held.
    pub(in crate::conn) fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Whether more than half of what can be held is.
    pub(in crate::conn) fn is_scarce(&self, limits: &Limits) -> bool {
        self.held > limits.max_held / 2
    }

    /// Whether `more` bytes can be held within the limits.
    pub(in crate::conn) fn has_room(&self, more: usize, limits: &Limits) -> bool {
        self.held.saturating_add(more) <= limits.max_held
    }

    /// Bytes that can be held beside those that are.
    pub(in crate::conn) fn room(&self, limits: &Limits) -> usize {
        limits.max_held.saturating_sub(self.held)
    }
}
