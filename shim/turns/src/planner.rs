//! [`Planner`]: what to poll next.

use crate::budget::Budget;
use crate::sets::Sets;

/// Which connections are busy, and what to poll next. There is no I/O and no clock in it: times come in,
/// in nanoseconds, and a [`Plan`] goes out.
///
/// A wait goes like this:
///
/// ```text
/// begin(now)
/// loop { plan(now, left); poll; polled_all(…) or polled_idle(…) } until something was found
/// end(now)
/// ```
///
/// and between two waits [`record_progress_on`](Self::record_progress_on) reports what the caller has done.
#[derive(Debug)]
pub struct Planner {
    sets: Sets,
    budget: Budget,
    /// When the last wait returned.
    wait_ended: u64,
    /// There was progress since then.
    has_progress: bool,
    /// When a wait last began after progress.
    progress_at: u64,
    mode: Mode,
}

/// What to poll. Times are in nanoseconds; the listeners are part of each but the window of idle ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// The busy connections, for at most this long.
    Busy {
        /// How long to wait.
        wait: u64,
    },
    /// The same; then, in a poll that doesn't wait, this many idle ones.
    BusyThenIdle {
        /// How long to wait for the busy ones.
        wait: u64,
        /// How many [`next_idle`](Planner::next_idle) to poll.
        window: usize,
    },
    /// The busy ones in a poll that doesn't wait, which is cheaper than one of all; if none of them is
    /// ready, all, for at most this long.
    All {
        /// How long to wait.
        wait: u64,
    },
}

/// What was ready when [`Plan::All`] was followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// A busy connection, or a listener.
    pub busy: bool,
    /// An idle connection.
    pub idle: bool,
}

/// What is polled while something was busy lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// The busy ones: where something has happened, more will.
    Busy,
    /// Everyone, as only idle ones were ready in the last poll of all.
    All,
    /// Everyone still: busy ones were reported since, but nothing has come of that yet. On WASI 0.2 a
    /// stream that was read until it was empty is reported once more.
    AllUntilProgress,
}

/// How long a connection counts as busy after it last did something, in nanoseconds. A client that waits
/// longer than this between two requests doesn't notice one turn of the idle (the least is as long). At
/// half, clients on a network with 5 ms of delay would be idle at each request; at double, every pause
/// of a busy server delays the idle by as much.
pub const BUSY_FOR: u64 = 10_000_000;

/// How long the busy ones are waited for at least before idle ones are polled, in nanoseconds. It bounds
/// the number of times that a server wakes up only for the idle: 2,000 a second, which costs some 1 % of
/// a core. At half, it would be twice that; at double, an idle one is found 0.5 ms later. Hosts that count
/// milliseconds round up to one in any case.
const MIN_BUSY_WAIT: u64 = 500_000;

impl Planner {
    /// Without connections. `cost` is a guess at what it costs to poll one, until that is measured.
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

    /// A wait begins. Returns whether there was progress since the last one.
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

    /// What to poll now, when a wait may last for `left`.
    pub fn plan(&mut self, now: u64, left: u64) -> Plan {
        self.advance(now);
        let idle = self.sets.idle();
        if idle == 0 {
            return Plan::Busy { wait: left };
        }
        // After a rest nobody is disturbed by a poll of all.
        let until_rested = (self.progress_at + BUSY_FOR).saturating_sub(now);
        if self.mode != Mode::Busy || until_rested == 0 {
            return Plan::All { wait: left };
        }
        let until_window = self.budget.until_window(idle).min(until_rested);
        let wait = left.min(until_window.max(MIN_BUSY_WAIT));
        match self.budget.window(idle) {
            0 => Plan::Busy { wait },
            window => Plan::BusyThenIdle { wait, window },
        }
    }

    /// Time has passed: the budget grows, and connections become idle. [`plan`](Self::plan) does it, too.
    pub fn advance(&mut self, now: u64) {
        self.budget.accrue(now, self.sets.idle());
        self.sets.expire_busy(now, BUSY_FOR);
    }

    /// [`Plan::All`] was followed, and this was ready.
    pub fn polled_all(&mut self, found: Found) {
        self.mode = match (found.busy, found.idle, self.mode) {
            // To wait for the busy ones alone would be wrong.
            (false, true, _) => Mode::All,
            (true, false, Mode::All) => Mode::AllUntilProgress,
            _ => Mode::Busy,
        };
    }

    /// A window of `count` idle ones was polled without a wait, which has taken `took`. If nothing was
    /// ready, that was for nothing, and is paid from the budget.
    pub fn polled_idle(&mut self, count: usize, took: u64, is_any_ready: bool) {
        self.budget.polled(took, count, is_any_ready);
    }

    /// The wait is over.
    pub const fn end_wait(&mut self, now: u64) {
        self.wait_ended = now;
    }

    /// When the last wait was over.
    #[must_use]
    pub const fn wait_ended(&self) -> u64 {
        self.wait_ended
    }

    /// A connection is new: it is busy.
    pub fn insert(&mut self, slot: u32) {
        self.sets.insert(slot);
        self.sets.set_busy(slot, self.wait_ended);
    }

    /// A connection is gone.
    pub fn remove(&mut self, slot: u32) {
        self.sets.remove(slot);
    }

    /// A call on a connection has succeeded: it is busy, and there is progress.
    pub fn record_progress_on(&mut self, slot: u32) {
        self.has_progress = true;
        self.sets.set_busy(slot, self.wait_ended);
    }

    /// There is progress, but not of a connection that is busy for it.
    pub const fn record_progress(&mut self) {
        self.has_progress = true;
    }

    /// A connection is idle, whatever has happened.
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

    /// Appends the next `count` idle ones in turn that are `wanted`; fewer if there are fewer.
    pub fn next_idle(&mut self, count: usize, wanted: impl Fn(u32) -> bool, to: &mut Vec<u32>) {
        self.sets.next_idle(count, wanted, to);
    }

    /// What it costs to poll one connection, as measured.
    #[must_use]
    pub const fn poll_cost(&self) -> u64 {
        self.budget.poll_cost()
    }

    /// How many idle ones the budget has room for now at a cost of `cost` each, where they are not
    /// polled but tried. They are paid for.
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
    /// Later than the rest after the beginning.
    const START: u64 = 1_000_000_000;
    const FOUND_BUSY: Found = Found {
        busy: true,
        idle: false,
    };
    const FOUND_IDLE: Found = Found {
        busy: false,
        idle: true,
    };

    /// With `idle` idle connections from 0 up, and one busy one behind them that has just made progress.
    fn planner(idle: u32) -> Planner {
        let mut planner = Planner::new(500);
        planner.end_wait(0);
        for slot in 0..idle {
            planner.insert(slot);
        }
        // Time enough to be idle, and then for a full budget.
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
    fn the_busy_alone_are_waited_for_to_the_end() {
        let mut planner = planner(0);
        assert_eq!(planner.plan(START, HOUR), Plan::Busy { wait: HOUR });
        // Also when nothing was busy for long.
        let later = START + 2 * BUSY_FOR;
        assert_eq!(planner.plan(later, 5), Plan::All { wait: 5 });
    }

    #[test]
    fn everyone_is_waited_for_after_a_rest() {
        let mut planner = planner(1000);
        let before = START + BUSY_FOR - 1;
        assert!(!matches!(planner.plan(before, HOUR), Plan::All { .. }));
        assert_eq!(
            planner.plan(START + BUSY_FOR, HOUR),
            Plan::All { wait: HOUR }
        );
    }

    #[test]
    fn a_window_of_the_idle_comes_when_it_can_be_paid() {
        let mut planner = planner(1000);
        // The credit was earned while nothing was busy.
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
        // What was found is free.
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
    fn everyone_is_polled_while_only_idle_ones_are_ready() {
        let mut planner = planner(10);
        planner.polled_all(FOUND_IDLE);
        planner.end_wait(START);
        // What is done about it makes them busy, but that is all that they have asked for.
        planner.record_progress_on(3);
        assert!(planner.begin_wait(START + 1000));
        assert_eq!(planner.plan(START + 1000, 9), Plan::All { wait: 9 });
        planner.polled_all(FOUND_BUSY);
        // Nothing has come of it yet.
        assert!(!planner.begin_wait(START + 2000));
        assert_eq!(planner.plan(START + 2000, 9), Plan::All { wait: 9 });
        planner.record_progress_on(3);
        assert!(planner.begin_wait(START + 3000));
        assert!(!matches!(planner.plan(START + 3000, 9), Plan::All { .. }));
    }

    #[test]
    fn busy_ones_that_are_reported_twice_are_waited_for_alone() {
        let mut planner = planner(10);
        planner.polled_all(FOUND_IDLE);
        planner.polled_all(FOUND_BUSY);
        planner.polled_all(FOUND_BUSY);
        assert!(!matches!(planner.plan(START, 9), Plan::All { .. }));
    }

    #[test]
    fn what_is_ready_on_both_sides_or_on_none_ends_the_polls_of_everyone() {
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
    fn tries_are_bought_from_the_same_budget() {
        let mut planner = planner(100);
        assert_eq!(planner.charge_tries(1), 100);
        while planner.charge_tries(1000) > 0 {}
        let mut bought = 0;
        for now in (START..START + 10_000_000).step_by(10_000) {
            planner.advance(now);
            bought += planner.charge_tries(1000);
        }
        // A 64th of 10 ms are 156 of 1 µs.
        assert!((100..=156).contains(&bought), "{bought}");
    }
}
