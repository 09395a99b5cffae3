//! The phases of the host: serving, draining, stopping.

use std::sync::atomic::{AtomicU8, Ordering};

/// The host's phase. It only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Phase {
    Serving,
    /// No connections are accepted. Idle connections end; current requests are finished.
    Draining,
    /// Every instance ends at once.
    Stopping,
}

/// The phase, which all threads share.
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

    /// Moves forward to `phase`. Does nothing if a later phase is reached already.
    pub(crate) fn advance(&self, phase: Phase) {
        self.0.fetch_max(phase as u8, Ordering::AcqRel);
    }
}
