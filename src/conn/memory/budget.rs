//! [`Budget`]: counts the bytes that all connections hold together, and decides whether they may hold more. If not, a
//! request gets 503. Nothing else makes that decision.

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

    /// Refuses a body of this length if the whole budget has no room for it, before it is sent.
    pub(in crate::conn) fn admit_length(
        &self,
        length: u64,
        limits: &Limits,
    ) -> Result<(), Refusal> {
        match usize::try_from(length) {
            Ok(length) if length <= limits.max_held => Ok(()),
            Ok(_) | Err(_) => Err(Refusal::overloaded()),
        }
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
    /// is left. Refuses it if that is less than `least`. `apart` is the number of bytes that stay free.
    pub(in crate::conn) fn grant(
        &self,
        wishes: [usize; 3],
        least: usize,
        apart: usize,
        limits: &Limits,
    ) -> Result<usize, Refusal> {
        self.admit(least.saturating_add(apart), limits)?;
        let room = self.room(limits) - apart;
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

    /// How many more bytes can be held.
    pub(in crate::conn) fn room(&self, limits: &Limits) -> usize {
        limits.max_held.saturating_sub(self.held)
    }
}

/// Refuses what the allocator had no memory for.
pub(in crate::conn) fn allocated(reserved: Result<(), TryReserveError>) -> Result<(), Refusal> {
    reserved.map_err(|_| Refusal::overloaded())
}
