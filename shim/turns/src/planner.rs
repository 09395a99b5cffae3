//! [`Planner`]: decides which connections to poll next, and for how long.

use crate::budget::Budget;
use crate::sets::Sets;

/// Records which connections are busy, and decides what to poll next. It does no I/O and reads no clock: the caller
/// passes the time, in nanoseconds, and polls as the [`Plan`] says.
///
/// A wait goes like this:
///
/// ```text
/// begin_wait(now)
/// repeat {
///     plan(now, left)
///     poll as planned
///     polled_all(…) or polled_idle(…), if the plan included that
/// } until something was found
/// end_wait(now)
/// ```
///
/// Between two waits the caller reports what it has done, with [`record_progress_on`](Self::record_progress_on).
#[derive(Debug)]
pub struct Planner {
    sets: Sets,
    budget: Budget,
    /// When the last wait ended.
    wait_ended: u64,
    /// There was progress since then.
    has_progress: bool,
    /// The last time that a wait began after progress.
    progress_at: u64,
    mode: Mode,
}

/// What to poll. Times are in nanoseconds. The listeners are part of every poll but that of a window of idle
/// connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// The busy connections, for at most this long.
    Busy {
        /// How long to wait.
        wait: u64,
    },
    /// The busy connections; then some idle ones, in a poll that doesn't wait.
    BusyThenIdle {
        /// How long to wait for the busy ones.
        wait: u64,
        /// How many idle ones to poll: the ones that [`next_idle`](Planner::next_idle) returns.
        window: usize,
    },
    /// First the busy connections, in a poll that doesn't wait and is cheaper than one of all. If none of them is
    /// ready, all connections, for at most this long.
    All {
        /// How long to wait.
        wait: u64,
    },
}

/// What was found ready by polling as [`Plan::All`] says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// A busy connection, or a listener.
    pub busy: bool,
    /// An idle connection.
    pub idle: bool,
}

/// What to poll while there was progress within [`BUSY_FOR`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// The busy connections: the next event is most likely one of theirs.
    Busy,
    /// All connections, because only idle ones were ready in the last poll of all.
    All,
    /// Still all. Busy connections were reported since then, but there was no progress on them: on WASI 0.2, a
    /// stream that was drained is reported once more.
    AllUntilProgress,
}

/// How long a connection counts as busy after something has happened on it, in nanoseconds. A client that pauses
/// for longer than this between two requests doesn't notice the delay of one cycle (`lib.rs`), the shortest of which
/// takes as long. At half, a client on a network with 5 ms of delay would be idle at each request; at double, every
/// pause of a busy server delays idle connections by as much.
pub const BUSY_FOR: u64 = 10_000_000;

/// The shortest wait for busy connections before idle ones are polled, in nanoseconds. It limits how often a server
/// wakes up only to poll idle connections: 2,000 times a second, which costs some 1 % of a core. At half, it is
/// twice that; at double, an event of an idle connection is found 0.5 ms later. Hosts that count in milliseconds
/// round it up to one anyway.
const MIN_BUSY_WAIT: u64 = 500_000;

impl Planner {
    /// A planner without connections. `cost` is the guessed cost of polling one, until that is measured.
    #[must_use]
    pub fn new(cost: u64) -> Self {
        Self {
            sets: Sets::default(),
            budget: Budget::new(cost),
            wait_ended: 0,
            has_progress: false,
            progress_at: 0,
            mode: Mode::Busy,
        }
    }

    /// Records that a wait begins. Returns whether there was progress since the last one.
    pub fn begin_wait(&mut self, now: u64) -> bool {
        let has_progress = std::mem::take(&mut self.has_progress);
        if has_progress {
            self.progress_at = now;
            let worked = now.saturating_sub(self.wait_ended);
            self.budget.worked(worked, self.sets.idle());
            if self.mode == Mode::AllUntilProgress {
                self.mode = Mode::Busy;
            }
        }
        has_progress
    }

    /// Decides what to poll now. `left` is how long the wait may still take.
    pub fn plan(&mut self, now: u64, left: u64) -> Plan {
        self.advance(now);
        let idle = self.sets.idle();
        if idle == 0 {
            return Plan::Busy { wait: left };
        }
        // If there was no progress for a while, a poll of all delays no busy connection.
        let until_not_busy = (self.progress_at + BUSY_FOR).saturating_sub(now);
        if self.mode != Mode::Busy || until_not_busy == 0 {
            return Plan::All { wait: left };
        }
        let until_window = self.budget.until_window(idle).min(until_not_busy);
        let wait = left.min(until_window.max(MIN_BUSY_WAIT));
        match self.budget.window(idle) {
            0 => Plan::Busy { wait },
            window => Plan::BusyThenIdle { wait, window },
        }
    }

    /// Updates the budget, and which connections are idle, for the time `now`. [`plan`](Self::plan) does it, too.
    pub fn advance(&mut self, now: u64) {
        self.budget.accrue(now, self.sets.idle());
        self.sets.expire_busy(now, BUSY_FOR);
    }

    /// Records what was ready when the caller polled as [`Plan::All`] says.
    pub fn polled_all(&mut self, found: Found) {
        self.mode = match (found.busy, found.idle, self.mode) {
            // The next event may be one of an idle connection again.
            (false, true, _) => Mode::All,
            (true, false, Mode::All) => Mode::AllUntilProgress,
            _ => Mode::Busy,
        };
    }

    /// Records that `count` idle connections were polled without waiting, which took `took`. If none was ready, the
    /// budget is charged for it.
    pub fn polled_idle(&mut self, count: usize, took: u64, is_any_ready: bool) {
        self.budget.polled(took, count, is_any_ready);
    }

    /// Records that the wait has ended.
    pub const fn end_wait(&mut self, now: u64) {
        self.wait_ended = now;
    }

    /// When the last wait ended.
    #[must_use]
    pub const fn wait_ended(&self) -> u64 {
        self.wait_ended
    }

    /// Adds a connection, which is busy.
    pub fn insert(&mut self, slot: u32) {
        self.sets.insert(slot);
        self.sets.set_busy(slot, self.wait_ended);
    }

    /// Removes a connection.
    pub fn remove(&mut self, slot: u32) {
        self.sets.remove(slot);
    }

    /// Records that a call on a connection has succeeded. This is progress, and the connection is busy.
    pub fn record_progress_on(&mut self, slot: u32) {
        self.has_progress = true;
        self.sets.set_busy(slot, self.wait_ended);
    }

    /// Records progress that makes no connection busy, such as closing one.
    pub const fn record_progress(&mut self) {
        self.has_progress = true;
    }

    /// Makes a connection idle, even if something has just happened on it.
    pub fn set_idle(&mut self, slot: u32) {
        self.sets.set_idle(slot);
    }

    /// Whether a connection is idle.
    #[must_use]
    pub fn is_idle(&self, slot: u32) -> bool {
        self.sets.is_idle(slot)
    }

    /// The busy connections.
    #[must_use]
    pub fn busy(&self) -> &[u32] {
        self.sets.busy()
    }

    /// How many are idle.
    #[must_use]
    pub const fn idle(&self) -> usize {
        self.sets.idle()
    }

    /// Every connection, busy or idle.
    pub fn all(&self) -> impl Iterator<Item = u32> {
        self.sets.all()
    }

    /// Appends the next `count` idle connections for which `wanted` is true, or fewer if there are fewer. Each call
    /// begins where the last one ended.
    pub fn next_idle(&mut self, count: usize, wanted: impl Fn(u32) -> bool, to: &mut Vec<u32>) {
        self.sets.next_idle(count, wanted, to);
    }

    /// The measured cost of polling one connection.
    #[must_use]
    pub const fn poll_cost(&self) -> u64 {
        self.budget.poll_cost()
    }

    /// Returns how many idle connections may be tried now (instead of polled), at `cost` each, and charges the
    /// budget for that.
    pub fn charge_tries(&mut self, cost: u64) -> usize {
        let count = self.budget.affordable(cost).min(self.sets.idle());
        self.budget.charge(cost, count);
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000_000_000;
    /// Late enough for connections to have become idle.
    const START: u64 = 1_000_000_000;
    const FOUND_BUSY: Found = Found {
        busy: true,
        idle: false,
    };
    const FOUND_IDLE: Found = Found {
        busy: false,
        idle: true,
    };

    /// A planner with `idle` idle connections, from slot 0 on, and then a busy one with progress just now.
    fn planner(idle: u32) -> Planner {
        let mut planner = Planner::new(500);
        planner.end_wait(0);
        for slot in 0..idle {
            planner.insert(slot);
        }
        // Enough time for them to become idle, and then for the credit to reach its maximum.
        planner.advance(START / 2);
        planner.advance(START);
        planner.end_wait(START);
        planner.insert(idle);
        planner.record_progress_on(idle);
        assert!(planner.begin_wait(START));
        assert_eq!(
            (planner.idle(), planner.busy()),
            (idle as usize, &[idle][..])
        );
        planner
    }

    #[test]
    fn without_idle_connections_the_wait_is_not_cut() {
        let mut planner = planner(0);
        assert_eq!(planner.plan(START, HOUR), Plan::Busy { wait: HOUR });
        // Nor when nothing was busy for long.
        let later = START + 2 * BUSY_FOR;
        assert_eq!(planner.plan(later, 5), Plan::All { wait: 5 });
    }

    #[test]
    fn all_are_waited_for_when_nothing_is_busy() {
        let mut planner = planner(1000);
        let before = START + BUSY_FOR - 1;
        assert!(!matches!(planner.plan(before, HOUR), Plan::All { .. }));
        assert_eq!(
            planner.plan(START + BUSY_FOR, HOUR),
            Plan::All { wait: HOUR }
        );
    }

    #[test]
    fn idle_connections_are_polled_when_the_budget_permits() {
        let mut planner = planner(1000);
        // The credit has grown while nothing was busy.
        let Plan::BusyThenIdle { wait, window } = planner.plan(START, HOUR) else {
            panic!("there is credit");
        };
        assert_eq!((wait, window), (MIN_BUSY_WAIT, 512));
        planner.polled_idle(1000, 500_000, false);
        let Plan::Busy { wait } = planner.plan(START, HOUR) else {
            panic!("there is no credit");
        };
        assert!(wait > MIN_BUSY_WAIT && wait <= BUSY_FOR, "{wait}");
        assert_eq!(planner.plan(START, 7), Plan::Busy { wait: 7 });
        // A poll that finds something is free.
        let after = START + wait;
        let Plan::BusyThenIdle { window, .. } = planner.plan(after, HOUR) else {
            panic!("the wait was for a window");
        };
        planner.polled_idle(window, 500 * window as u64, true);
        assert!(matches!(
            planner.plan(after, HOUR),
            Plan::BusyThenIdle { .. }
        ));
    }

    #[test]
    fn all_are_polled_while_only_idle_ones_are_ready() {
        let mut planner = planner(10);
        planner.polled_all(FOUND_IDLE);
        planner.end_wait(START);
        // The response makes the connection busy, but it was the only request on it.
        planner.record_progress_on(3);
        assert!(planner.begin_wait(START + 1000));
        assert_eq!(planner.plan(START + 1000, 9), Plan::All { wait: 9 });
        planner.polled_all(FOUND_BUSY);
        // There was no progress on it yet.
        assert!(!planner.begin_wait(START + 2000));
        assert_eq!(planner.plan(START + 2000, 9), Plan::All { wait: 9 });
        planner.record_progress_on(3);
        assert!(planner.begin_wait(START + 3000));
        assert!(!matches!(planner.plan(START + 3000, 9), Plan::All { .. }));
    }

    #[test]
    fn after_two_reports_of_busy_connections_only_those_are_polled() {
        let mut planner = planner(10);
        planner.polled_all(FOUND_IDLE);
        planner.polled_all(FOUND_BUSY);
        planner.polled_all(FOUND_BUSY);
        assert!(!matches!(planner.plan(START, 9), Plan::All { .. }));
    }

    #[test]
    fn finding_both_kinds_or_none_ends_the_polls_of_all() {
        for found in [
            Found::default(),
            Found {
                busy: true,
                idle: true,
            },
        ] {
            let mut planner = planner(10);
            planner.polled_all(FOUND_IDLE);
            planner.polled_all(found);
            assert!(!matches!(planner.plan(START, 9), Plan::All { .. }));
        }
    }

    #[test]
    fn tries_are_charged_to_the_same_budget() {
        let mut planner = planner(100);
        assert_eq!(planner.charge_tries(1), 100);
        while planner.charge_tries(1000) > 0 {}
        let mut tried = 0;
        for now in (START..START + 10_000_000).step_by(10_000) {
            planner.advance(now);
            tried += planner.charge_tries(1000);
        }
        // A 64th of 10 ms pays for 156 tries of 1 µs.
        assert!((100..=156).contains(&tried), "{tried}");
    }
}
