//! The phase of a host: serving, draining or stopping.

use std::sync::atomic::{AtomicU8, Ordering};

/// The host's phase. It only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Phase {
    Serving,
    /// No new connections. Idle connections see the end of their stream; requests that have arrived finish.
    Draining,
    /// Every instance ends at once.
    Stopping,
}

/// The phase, as all threads see it.
#[derive(Debug, Default)]
pub(crate) struct SharedPhase(AtomicU8);

impl SharedPhase {
    pub(crate) fn get(&self) -> Phase {
        match self.0.load(Ordering::Acquire) {
            0 => Phase::Serving,
            1 => Phase::Draining,
            _ => Phase::Stopping,
        }
    }

    /// Changes to `phase`, unless it is already past that.
    pub(crate) fn advance(&self, phase: Phase) {
        self.0.fetch_max(phase as u8, Ordering::AcqRel);
    }
}
