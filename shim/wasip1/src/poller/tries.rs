//! How often connections are tried that are probably quiet.
//!
//! A *try* is a call that may answer `AGAIN`: the way to find out where a poll can't tell. What such a
//! call costs is measured, and what is spent on them is bounded.

use poll_turns::TIME_SHARE;

/// The part of the time that tries of busy connections take at most, when each may have nothing: 6 %. At
/// half (8) it is 12 %; at double 3 %, and the end of a busy connection is found half as soon.
const SHARE: u64 = 16;

/// Under load a listener that may have a connection is tried when this has passed, in nanoseconds: a
/// little less than a millisecond, as rounds take a part of it. Nothing a client notices, and some 1 µs
/// of each millisecond.
pub(super) const LISTENER_INTERVAL: u64 = 900_000;

/// The shortest and the longest time between two tries of one busy connection, in nanoseconds. Below the
/// first a try finds no more than the poll of the next round; beyond the second an end or a single byte
/// would wait for longer than a person notices. With 64 busy ones and `AGAIN` at 0.7 µs it is 0.7 ms;
/// only 4,500 busy ones reach the longest.
const INTERVAL_BOUNDS: (u64, u64) = (250_000, 50_000_000);

/// What a call can cost that answers `AGAIN`, in nanoseconds: bounds for nonsense of a host's clock. With
/// `RUST_BACKTRACE` set some hosts take 30 µs.
const COST_BOUNDS: (u64, u64) = (100, 100_000);

/// What a try costs.
#[derive(Debug)]
pub(super) struct Tries {
    cost: u64,
}

impl Default for Tries {
    fn default() -> Self {
        // A guess, until the first `AGAIN` of a listener is measured.
        Self { cost: 2_000 }
    }
}

impl Tries {
    /// What a call costs that answers `AGAIN`.
    pub(super) const fn cost(&self) -> u64 {
        self.cost
    }

    /// A call has answered `AGAIN`, and has taken `took`.
    pub(super) fn measured(&mut self, took: u64) {
        self.cost = took.clamp(COST_BOUNDS.0, COST_BOUNDS.1);
    }

    /// How long a connection that may have nothing is left alone, if `busy` are tried as often.
    pub(super) fn interval(&self, busy: usize) -> u64 {
        (SHARE * self.cost * busy as u64).clamp(INTERVAL_BOUNDS.0, INTERVAL_BOUNDS.1)
    }
}

/// A poll of all that takes longer than this has waited, so nothing was ready when it began. `price` is
/// what it costs to poll one of them; a poll may take a few times as long as the average.
pub(super) const fn max_immediate_poll(price: u64, idle: usize) -> u64 {
    1_000_000 + 4 * price * idle as u64
}

/// How long doubtful ones may stay unpolled when each poll of all has some that are surely ready: to find
/// out about them costs about one more poll of all, so this is [`TIME_SHARE`] again. At least 20 ms, two
/// turns of the idle.
pub(super) fn resolve_interval(price: u64, idle: usize) -> u64 {
    (TIME_SHARE * price * idle as u64).max(20_000_000)
}
