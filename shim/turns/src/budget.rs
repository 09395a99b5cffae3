//! What may be spent on polling connections that are probably quiet.
//!
//! Polls of the idle that find nothing are paid from a credit: one part in [`WORK_SHARE`] of the time
//! that the caller works, so that a request's price hardly grows, and one part in [`TIME_SHARE`] of
//! all time, so that no connection is forgotten when there is little work. A poll that finds something
//! is free. What it costs to poll one is measured.
//!
//! Where there are few idle ones, that would buy more than is of use: so a turn of all of them takes
//! [`MIN_CYCLE`], if not longer.

/// The part of the caller's working time that is spent on the idle, at most. On the scripted runtime, with
/// 64 busy connections beside 5,000 idle ones, a request costs 3.4 % more than beside none, and an idle
/// one is found within 28 ms (median) and 50 ms (most). At half it is 6.1 %, 13 and 29 ms; at double
/// 2.0 %, 44 and 78 ms.
const WORK_SHARE: u64 = 13;

/// The part of all time that is spent on the idle while others are busy: 1.6 %. It counts when the
/// caller does little. At half (32) that is 3.1 % of a core and turns take half the time; at double the
/// other way round.
pub const TIME_SHARE: u64 = 64;

/// What one turn of all the idle takes at least, in nanoseconds: as long as a connection counts as busy,
/// so that one which becomes idle isn't polled sooner again than it was before. At half, few idle ones
/// are polled twice as often for no client's gain; at double a client waits 20 ms.
const MIN_CYCLE: u64 = crate::BUSY_FOR;

/// If there are fewer, a turn may be as much shorter: it costs next to nothing. At 0.5 µs each, 256 a
/// [`MIN_CYCLE`] are 1.3 % of a core, about [`TIME_SHARE`]; half or double would be as much less or more.
const FULL_CYCLE_FROM: u64 = 256;

/// The most of one poll of the idle under load: it delays the busy ones, by 0.25 to 0.5 ms at 0.5 to 1 µs
/// each. At half or double nothing else changes by more than 2 % on the scripted runtime, so this delay
/// decides.
const MAX_WINDOW: usize = 512;

/// The least: below that the call itself costs more than what it asks about (5 to 10 µs against
/// 0.5 µs each). At half, the call is half of the cost; double only makes polls rarer.
const MIN_WINDOW: usize = 64;

/// Bounds of what polling one can cost, in nanoseconds. A system call's part is never less than the
/// first; the second is for interpreters on slow machines. They only bound nonsense of a host's clock.
const POLL_COST_BOUNDS: (u64, u64) = (20, 20_000);

/// How long the caller works in a round, in nanoseconds: a guess at the start, for some requests, which
/// is forgotten after 20 rounds; and the least that is believed, for one request is no less.
const INITIAL_WORK: u64 = 20_000;
const MIN_WORK: u64 = 5_000;

/// Nanoseconds that may be spent.
#[derive(Debug)]
pub(crate) struct Budget {
    credit: u64,
    /// How many polls of one the pace of a [`MIN_CYCLE`] permits, times that.
    quota: u64,
    /// When both were last counted.
    accrued_until: u64,
    /// What it costs to poll one.
    poll_cost: u64,
    /// How long the caller works in a round.
    work: u64,
}

impl Budget {
    /// An empty budget. `cost` is a guess at what it costs to poll one, until that is measured.
    pub(crate) const fn new(poll_cost: u64) -> Self {
        Self {
            credit: 0,
            quota: 0,
            accrued_until: 0,
            poll_cost,
            work: INITIAL_WORK,
        }
    }

    /// Time has passed.
    pub(crate) fn accrue(&mut self, now: u64, idle: usize) {
        let earned = now.saturating_sub(self.accrued_until) / TIME_SHARE;
        let passed = earned * TIME_SHARE;
        // The remainder isn't lost when rounds are short.
        self.accrued_until += passed;
        self.earn(earned, idle);
        let most = (idle as u64).max(FULL_CYCLE_FROM);
        self.quota = (self.quota + most * passed.min(MIN_CYCLE)).min(most * MIN_CYCLE);
    }

    /// The caller has worked for `nanos` by the clock.
    pub(crate) fn worked(&mut self, nanos: u64, idle: usize) {
        let nanos = without_outlier(nanos, self.work);
        self.work = average(self.work, nanos).max(MIN_WORK);
        self.earn(nanos / WORK_SHARE, idle);
    }

    fn earn(&mut self, earned: u64, idle: usize) {
        // More than one turn is no use.
        let most = self.poll_cost * idle.max(MIN_WINDOW) as u64;
        self.credit = self.credit.saturating_add(earned).min(most);
    }

    /// A poll of `count`, which waited for none of them, has taken `took`; unless one of them was ready,
    /// it is to be paid.
    pub(crate) fn polled(&mut self, took: u64, count: usize, is_any_ready: bool) {
        if count >= MIN_WINDOW {
            let each = without_outlier(took / count as u64, self.poll_cost);
            self.poll_cost =
                average(self.poll_cost, each).clamp(POLL_COST_BOUNDS.0, POLL_COST_BOUNDS.1);
        }
        self.charge(if is_any_ready { 0 } else { self.poll_cost }, count);
    }

    /// This many were polled or tried, at a cost of `cost` each.
    pub(crate) fn charge(&mut self, cost: u64, count: usize) {
        let count = count as u64;
        self.credit = self.credit.saturating_sub(cost * count);
        self.quota = self.quota.saturating_sub(MIN_CYCLE * count);
    }

    /// How many may be polled or tried now, if that costs `cost` each, which is at least 1.
    pub(crate) fn affordable(&self, cost: u64) -> usize {
        (self.credit / cost.max(1)).min(self.quota / MIN_CYCLE) as usize
    }

    /// What it costs to poll one.
    pub(crate) const fn poll_cost(&self) -> u64 {
        self.poll_cost
    }

    /// How many of the `idle` may be polled now.
    pub(crate) fn window(&self, idle: usize) -> usize {
        let window = self.affordable(self.poll_cost).min(MAX_WINDOW).min(idle);
        if window < MIN_WINDOW.min(idle) {
            0
        } else {
            window
        }
    }

    /// How long it takes until a good window can be paid by time alone.
    pub(crate) fn until_window(&self, idle: usize) -> u64 {
        // A good window: waking up for a small one has its price, too.
        let idle = idle as u64;
        let wanted = (MAX_WINDOW as u64 / 2).min(idle);
        let until_credit = (wanted * self.poll_cost).saturating_sub(self.credit) * TIME_SHARE;
        let until_quota =
            (wanted * MIN_CYCLE).saturating_sub(self.quota) / idle.max(FULL_CYCLE_FROM);
        until_credit.max(until_quota).max(1)
    }
}

/// On a crowded machine most of a long time by the clock was another process' time: what is more than
/// four times the average isn't believed. A cost that has really risen is caught up with in a few rounds,
/// as each may raise the average by 3/8. At two times ordinary rounds are cut; at eight, one bad round
/// counts as much as eight good ones.
fn without_outlier(nanos: u64, average: u64) -> u64 {
    nanos.min(4 * average)
}

/// A moving average over about eight rounds: smooth enough for single rounds not to show, and quick
/// enough to follow a load within milliseconds. Four or sixteen would do as well.
fn average(before: u64, now: u64) -> u64 {
    (before * 7 + now) / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_time_is_earned_however_short_the_rounds() {
        let mut budget = Budget::new(500);
        for now in 0..=640_000 {
            budget.accrue(now, 10_000);
        }
        assert_eq!(budget.credit, 10_000);
        // 10 µs are 20 of them: too few.
        assert_eq!(budget.window(10_000), 0);
        assert_eq!(budget.window(10), 10);
        for _ in 0..30 {
            budget.worked(24_000, 10_000);
        }
        assert_eq!(budget.window(10_000), 130);
        for _ in 0..100 {
            budget.worked(u64::MAX / 100, 10_000);
        }
        assert_eq!(budget.window(10_000), MAX_WINDOW);
        budget.charge(500, 10_000);
        assert_eq!(budget.window(10_000), 0);
    }

    #[test]
    fn a_turn_takes_its_time_however_much_could_be_afforded() {
        for (idle, in_ten_cycles) in [(1000, 10_000), (10, 2560)] {
            let mut budget = Budget::new(20);
            let mut polled = 0;
            for now in (0..=10 * MIN_CYCLE).step_by(100_000) {
                budget.accrue(now, idle);
                budget.worked(1_000_000, idle);
                let window = budget.window(idle);
                budget.polled(0, window, false);
                polled += window;
            }
            let least = in_ten_cycles - MIN_WINDOW;
            assert!((least..=in_ten_cycles).contains(&polled), "{polled}");
        }
    }

    #[test]
    fn what_is_found_is_free_and_measured() {
        let mut budget = Budget::new(500);
        budget.accrue(64 * 500_000, 1000);
        budget.polled(64 * 1300, 64, true);
        assert_eq!((budget.poll_cost, budget.credit), (600, 500_000));
        budget.polled(64 * 600, 64, false);
        assert_eq!((budget.poll_cost, budget.credit), (600, 500_000 - 64 * 600));
    }
}
