//! Reports without a poll, while nearly every busy connection has something in each round.
//!
//! Under a full load a poll says what was to be expected: that the clients who were answered in the
//! last round have asked again. So it is left out for as long as that holds, and the busy ones are
//! reported to be tried. Those that have nothing cost a call that answers `AGAIN`, and when they cost
//! more than [`AFFORDABLE`], there are polls again: for one round, and for twice as many each time
//! that this happens anew.

use super::budget::LISTENER_EVERY;
use super::slots::Interest;
use super::{Poller, Ready};
use crate::wasi::Wasi;

#[derive(Debug, Default)]
pub(super) struct Speculation {
    /// The last poll of the busy ones has found nearly all of them ready.
    promises: bool,
    /// So many were reported in the last round without a poll.
    tried: usize,
    /// So many of them had nothing.
    refused: usize,
    /// So many polls come before it is tried again.
    pause: u32,
    /// How long the last pause was.
    last_pause: u32,
}

/// What those that have nothing may cost for each that is tried, in nanoseconds: well below what its
/// place in a poll costs.
const AFFORDABLE: u64 = 100;

/// With fewer busy ones a poll is cheap, and that all were ready says little.
const LEAST: usize = 8;

const LONGEST_PAUSE: u32 = 64;

impl Speculation {
    /// A connection had nothing, where a call that says so costs `again`.
    pub(super) fn refused(&mut self) {
        self.refused += 1;
    }

    /// A poll of `busy` connections has found so many `ready`.
    pub(super) fn polled(&mut self, ready: usize, busy: usize, again: u64) {
        self.promises = busy >= LEAST && is_worth_it(busy.saturating_sub(ready), busy, again);
        self.pause = self.pause.saturating_sub(1);
    }

    /// Whether to do without a poll now.
    fn dares(&mut self, again: u64) -> bool {
        let refused = std::mem::take(&mut self.refused);
        let tried = std::mem::take(&mut self.tried);
        if tried > 0 {
            if is_worth_it(refused, tried, again) {
                self.last_pause = 0;
            } else {
                self.promises = false;
                self.last_pause = (self.last_pause * 2).clamp(1, LONGEST_PAUSE);
                self.pause = self.last_pause;
            }
        }
        self.promises && self.pause == 0
    }
}

fn is_worth_it(refused: usize, tried: usize, again: u64) -> bool {
    refused as u64 * again <= tried as u64 * AFFORDABLE
}

impl<W: Wasi> Poller<W> {
    /// Reports the busy ones without a poll, if that is likely to be right. Tells whether it did.
    pub(super) fn speculate(&mut self, now: u64, ready: &mut Vec<Ready>) -> bool {
        let dares = self.speculation.dares(self.budget.again());
        // Those that were ready may be gone.
        if !dares || self.slots.busy().len() < LEAST {
            return false;
        }
        let before = ready.len();
        for &index in self.slots.busy() {
            let slot = self.slots.at(index);
            if slot.interest != Interest::READ || !slot.is_polled() {
                // Room to write is worth waiting for.
                ready.truncate(before);
                return false;
            }
            ready.push(self.slots.tentative(index));
        }
        self.speculation.tried = ready.len() - before;
        let mut listeners = 0;
        while let Some(&index) = self.slots.listeners().get(listeners) {
            listeners += 1;
            let slot = self.slots.at(index);
            if slot.is_polled() && slot.is_due(now, LISTENER_EVERY) {
                self.slots.tried(index, now);
                ready.push(self.slots.tentative(index));
            }
        }
        true
    }
}
