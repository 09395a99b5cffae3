//! What may be spent on tries of connections that are probably quiet.
//!
//! Looks at the idle are on the budget of [`poll_turns`]. Here a *try* has its price too: a call that
//! answers `AGAIN`, where a poll can't tell whether there is something.

use std::ops::{Deref, DerefMut};

pub(super) use poll_turns::BUSY_FOR;
use poll_turns::TIME_SHARE;

/// A busy connection that may have nothing is tried so often that it takes this part of the time.
const TRY_SHARE: u64 = 16;

/// Under load a listener that may have a connection is tried when this has passed.
pub(super) const LISTENER_EVERY: u64 = 900_000;

/// The shortest time between two tries of a busy connection that may well have nothing.
const TRY_EVERY: u64 = 250_000;

/// The longest.
const TRY_AT_LEAST_EVERY: u64 = 50_000_000;

#[derive(Debug)]
pub(super) struct Budget {
    looks: poll_turns::Budget,
    /// What a call costs that answers `AGAIN`.
    again: u64,
}

impl Default for Budget {
    fn default() -> Self {
        // Guesses, until there are measurements.
        Self {
            looks: poll_turns::Budget::new(500),
            again: 2_000,
        }
    }
}

impl Deref for Budget {
    type Target = poll_turns::Budget;

    fn deref(&self) -> &poll_turns::Budget {
        &self.looks
    }
}

impl DerefMut for Budget {
    fn deref_mut(&mut self) -> &mut poll_turns::Budget {
        &mut self.looks
    }
}

impl Budget {
    /// How many idle connections may be tried now, for nothing but `AGAIN`.
    pub(super) fn tries(&self) -> usize {
        self.affordable(self.again)
    }

    /// They were.
    pub(super) fn charge_tries(&mut self, count: usize) {
        let price = self.again;
        self.charge(price, count);
    }

    /// What a call costs that answers `AGAIN`.
    pub(super) const fn again(&self) -> u64 {
        self.again
    }

    /// A call has answered `AGAIN`.
    pub(super) fn again_took(&mut self, took: u64) {
        self.again = took.clamp(100, 100_000);
    }

    /// How long a busy connection that may have nothing is left alone, beside `busy` ones.
    pub(super) fn try_every(&self, busy: usize) -> u64 {
        (TRY_SHARE * self.again * busy as u64).clamp(TRY_EVERY, TRY_AT_LEAST_EVERY)
    }

    /// A poll of all that takes longer than this has waited.
    pub(super) fn longest_answer(&self, idle: usize) -> u64 {
        1_000_000 + 4 * self.price() * idle as u64
    }

    /// How long maybes may stay unresolved when every wait for everything has sure events.
    pub(super) fn resolve_every(&self, idle: usize) -> u64 {
        (TIME_SHARE * self.price() * idle as u64).max(20_000_000)
    }
}
