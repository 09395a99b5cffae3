//! [`Budget`]: how much time may be spent on polling idle connections while others are busy.
//!
//! The budget has a credit of time, which grows in two ways. A thirteenth ([`WORK_SHARE`]) of the caller's working
//! time is added, so that a request costs hardly more. And a 64th ([`TIME_SHARE`]) of all elapsed time is added, so
//! that idle connections are polled even if there is little work. A poll that finds nothing is paid from the
//! credit. A poll that finds something is free. The cost of polling one connection is measured.
//!
//! With few idle connections, the credit would pay for more polls than are useful. So polling each of them once (a
//! cycle) takes at least [`MIN_CYCLE`].

/// One part in this many of the caller's working time may be spent on idle connections. On the scripted runtime,
/// with 64 busy connections and 5,000 idle ones, a request costs 3.4 % more than without idle ones, and an event of
/// an idle one is found within 28 ms (median) and 50 ms (maximum). At half it is 6.1 %, 13 and 29 ms; at double
/// 2.0 %, 44 and 78 ms.
const WORK_SHARE: u64 = 13;

/// One part in this many of the elapsed time may be spent on idle connections while others are busy: 1.6 %. This
/// matters when the caller has little work. At half (32) it is 3.1 % of a core, and cycles take half the time; at
/// double it is 0.8 %, and they take twice the time.
pub const TIME_SHARE: u64 = 64;

/// The shortest cycle, in nanoseconds. A connection counts as busy for as long as this, and no client notices such
/// a delay. At half, a small number of idle connections is polled twice as often, with no gain for any client; at
/// double a client waits for 20 ms.
const MIN_CYCLE: u64 = crate::BUSY_FOR;

/// With fewer idle connections than this, a cycle may be shorter in proportion, because it costs next to nothing.
/// At 0.5 µs each, polling 256 in each [`MIN_CYCLE`] takes 1.3 % of a core, about as much as [`TIME_SHARE`]
/// permits. At half or double it takes half or twice as much.
const FULL_CYCLE_FROM: u64 = 256;

/// The largest window: how many idle connections one poll has at most. Such a poll delays the busy connections by
/// 0.25 to 0.5 ms, at 0.5 to 1 µs for each idle one. Half or double changes nothing else by more than 2 % on the
/// scripted runtime, so this delay is the reason.
const MAX_WINDOW: usize = 512;

/// The smallest window. The call itself costs 5 to 10 µs, and each connection in it 0.5 µs. At half, the call is
/// half of the cost; double only makes polls rarer.
const MIN_WINDOW: usize = 64;

/// The least and the most that polling one connection can cost, in nanoseconds. No system call does it for less
/// than the first; the second is for interpreters on slow machines. They only limit the harm of a wrong clock.
const POLL_COST_BOUNDS: (u64, u64) = (20, 20_000);

/// How long the caller works in an iteration, in nanoseconds: a guess for a few requests. After 20 iterations it no
/// longer matters.
const INITIAL_WORK: u64 = 20_000;
/// The least that is assumed of an iteration, in nanoseconds. One request takes no less.
const MIN_WORK: u64 = 5_000;

/// The time that may be spent on idle connections. All times are in nanoseconds.
#[derive(Debug)]
pub(crate) struct Budget {
    /// The time that may be spent now.
    credit: u64,
    /// How many connections may be polled now without making a cycle shorter than [`MIN_CYCLE`]. In units of a
    /// connection divided by [`MIN_CYCLE`], so that it is an integer.
    quota: u64,
    /// The elapsed time up to this moment is counted in `credit` and `quota`.
    accrued_until: u64,
    /// The cost of polling one connection, as an average.
    poll_cost: u64,
    /// How long the caller works in an iteration, as an average.
    work: u64,
}

impl Budget {
    /// An empty budget. `poll_cost` is the guessed cost of polling one connection, until that is measured.
    pub(crate) const fn new(poll_cost: u64) -> Self {
        Self {
            credit: 0,
            quota: 0,
            accrued_until: 0,
            poll_cost,
            work: INITIAL_WORK,
        }
    }

    /// Adds the share of the time that has elapsed until `now`.
    pub(crate) fn accrue(&mut self, now: u64, idle: usize) {
        let earned = now.saturating_sub(self.accrued_until) / TIME_SHARE;
        let passed = earned * TIME_SHARE;
        // The remainder is counted the next time, so short iterations lose nothing.
        self.accrued_until += passed;
        self.earn(earned, idle);
        let most = (idle as u64).max(FULL_CYCLE_FROM);
        self.quota = (self.quota + most * passed.min(MIN_CYCLE)).min(most * MIN_CYCLE);
    }

    /// Adds the share of the time for which the caller has worked.
    pub(crate) fn worked(&mut self, nanos: u64, idle: usize) {
        let nanos = without_outlier(nanos, self.work);
        self.work = average(self.work, nanos).max(MIN_WORK);
        self.earn(nanos / WORK_SHARE, idle);
    }

    fn earn(&mut self, earned: u64, idle: usize) {
        // Credit for more than one cycle is of no use.
        let most = self.poll_cost * idle.max(MIN_WINDOW) as u64;
        self.credit = self.credit.saturating_add(earned).min(most);
    }

    /// Records a poll of `count` idle connections that didn't wait, and took `took`. Its cost is charged, unless
    /// one of them was ready.
    pub(crate) fn polled(&mut self, took: u64, count: usize, is_any_ready: bool) {
        if count >= MIN_WINDOW {
            let each = without_outlier(took / count as u64, self.poll_cost);
            self.poll_cost =
                average(self.poll_cost, each).clamp(POLL_COST_BOUNDS.0, POLL_COST_BOUNDS.1);
        }
        self.charge(if is_any_ready { 0 } else { self.poll_cost }, count);
    }

    /// Charges for polling or trying `count` connections, at `cost` each.
    pub(crate) fn charge(&mut self, cost: u64, count: usize) {
        let count = count as u64;
        self.credit = self.credit.saturating_sub(cost * count);
        self.quota = self.quota.saturating_sub(MIN_CYCLE * count);
    }

    /// How many connections may be polled or tried now, at `cost` each. A `cost` of 0 counts as 1.
    pub(crate) fn affordable(&self, cost: u64) -> usize {
        (self.credit / cost.max(1)).min(self.quota / MIN_CYCLE) as usize
    }

    /// The cost of polling one connection.
    pub(crate) const fn poll_cost(&self) -> u64 {
        self.poll_cost
    }

    /// How many of the `idle` connections to poll now. 0 if only a window that is too small can be paid.
    pub(crate) fn window(&self, idle: usize) -> usize {
        let window = self.affordable(self.poll_cost).min(MAX_WINDOW).min(idle);
        if window < MIN_WINDOW.min(idle) {
            0
        } else {
            window
        }
    }

    /// How long it takes until a good window can be paid, if the caller does no work until then.
    pub(crate) fn until_window(&self, idle: usize) -> u64 {
        // Not the smallest window: each one is another wake-up.
        let idle = idle as u64;
        let wanted = (MAX_WINDOW as u64 / 2).min(idle);
        let until_credit = (wanted * self.poll_cost).saturating_sub(self.credit) * TIME_SHARE;
        let until_quota =
            (wanted * MIN_CYCLE).saturating_sub(self.quota) / idle.max(FULL_CYCLE_FROM);
        until_credit.max(until_quota).max(1)
    }
}

/// Cuts a measured time to four times the average. On a busy machine, a long time is mostly time of another
/// process. If the cost has really risen, the average follows within a few iterations, because each may raise it by
/// 3/8. At twice the average, ordinary times are cut; at eight times, one outlier counts as much as eight other
/// times.
fn without_outlier(nanos: u64, average: u64) -> u64 {
    nanos.min(4 * average)
}

/// A moving average over about eight iterations. Single ones hardly show in it, and it follows a change of load
/// within milliseconds. Four or sixteen would do as well.
fn average(before: u64, now: u64) -> u64 {
    (before * 7 + now) / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_time_is_added_even_in_short_iterations() {
        let mut budget = Budget::new(500);
        for now in 0..=640_000 {
            budget.accrue(now, 10_000);
        }
        assert_eq!(budget.credit, 10_000);
        // 10 µs pay for 20 polls, which are fewer than a window.
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
    fn a_cycle_is_not_shortened_by_a_large_credit() {
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
    fn a_poll_that_finds_something_is_free_but_measured() {
        let mut budget = Budget::new(500);
        budget.accrue(64 * 500_000, 1000);
        budget.polled(64 * 1300, 64, true);
        assert_eq!((budget.poll_cost, budget.credit), (600, 500_000));
        budget.polled(64 * 600, 64, false);
        assert_eq!((budget.poll_cost, budget.credit), (600, 500_000 - 64 * 600));
    }
}
