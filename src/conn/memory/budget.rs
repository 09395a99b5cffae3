//! The bytes that all connections hold together, how many they may, and 503 for the rest. That is
//! decided here and nowhere else.

use std::collections::TryReserveError;

use crate::conn::Refusal;
use crate::limits::Limits;

/// The bytes held for all connections.
#[derive(Debug, Default)]
pub(in crate::conn) struct Budget {
    pub(in crate::conn) held: usize,
    pub(in crate::conn) peak: usize,
}

impl Budget {
    /// Refuses what would hold `more` bytes for which there is no room.
    pub(in crate::conn) fn admit(&self, more: usize, limits: &Limits) -> Result<(), Refusal> {
        if self.has_room(more, limits) {
            return Ok(());
        }
        Err(Refusal::overloaded())
    }

    /// Refuses a large response of so much memory, if there is no room for it. One that is larger
    /// than all of the budget is sent when nothing else is held.
    pub(in crate::conn) fn admit_response(
        &self,
        memory: usize,
        limits: &Limits,
    ) -> Result<(), Refusal> {
        if self.held == 0 {
            return Ok(());
        }
        self.admit(memory, limits)
    }

    /// How many more bytes a body gets: the first of the wished numbers for which there is room, or what
    /// is left. Refuses it if that is less than `least`.
    pub(in crate::conn) fn grant(
        &self,
        wishes: [usize; 3],
        least: usize,
        limits: &Limits,
    ) -> Result<usize, Refusal> {
        self.admit(least, limits)?;
        let room = self.room(limits);
        Ok(wishes
            .into_iter()
            .find(|&wish| wish <= room)
            .unwrap_or(room))
    }

    /// Replaces what one connection holds.
    pub(in crate::conn) fn replace(&mut self, before: usize, after: usize) {
        self.held = self.held.saturating_sub(before).saturating_add(after);
        self.peak = self.peak.max(self.held);
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

/// Refuses what the allocator had no memory for.
pub(in crate::conn) fn allocated(reserved: Result<(), TryReserveError>) -> Result<(), Refusal> {
    reserved.map_err(|_| Refusal::overloaded())
}
