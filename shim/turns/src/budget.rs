//! What may be spent on looking at connections that are probably quiet.
//!
//! Looks at the idle that find nothing are paid from a credit: one part in [`WORK_SHARE`] of the time
//! that the caller works, so that a request's price hardly grows, and one part in [`TIME_SHARE`] of
//! all time, so that nobody is forgotten when there is little work. A look that finds something is
//! free. What it costs to look at one is measured.
//!
//! Where there are few idle ones, that would buy more than is of use: so a turn of all of them takes
//! [`TURN`], if not longer.

/// The part of the caller's working time that is spent on the idle, at most.
const WORK_SHARE: u64 = 13;

/// The part of all time that is spent on the idle, while others are busy.
pub const TIME_SHARE: u64 = 64;

/// What one turn of all the idle takes at least, in nanoseconds.
const TURN: u64 = 10_000_000;

/// If there are fewer, a turn may be as much shorter: it costs next to nothing.
const FEW: u64 = 256;

/// How long a connection counts as busy after it last did something, in nanoseconds.
pub const BUSY_FOR: u64 = 10_000_000;

/// The most of one look at the idle under load: it delays the busy ones.
const WINDOW: usize = 512;

/// The least: below that the call itself costs more.
const SMALLEST_WINDOW: usize = 64;

/// Nanoseconds that may be spent.
#[derive(Debug)]
pub struct Budget {
    credit: u64,
    /// How many looks the pace of a [`TURN`] permits, times that.
    due: u64,
    /// When both were last counted.
    counted: u64,
    /// What it costs to look at one.
    price: u64,
    /// How long the caller works in a round.
    work: u64,
    /// When something last happened.
    progress: u64,
}

impl Budget {
    /// An empty budget. `price` is a guess at what it costs to look at one, until that is measured.
    #[must_use]
    pub const fn new(price: u64) -> Self {
        Self {
            credit: 0,
            due: 0,
            counted: 0,
            price,
            work: 20_000,
            progress: 0,
        }
    }

    /// Time has passed.
    pub fn accrue(&mut self, now: u64, idle: usize) {
        let earned = now.saturating_sub(self.counted) / TIME_SHARE;
        let passed = earned * TIME_SHARE;
        // The remainder isn't lost when rounds are short.
        self.counted += passed;
        self.earn(earned, idle);
        let most = (idle as u64).max(FEW);
        self.due = (self.due + most * passed.min(TURN)).min(most * TURN);
    }

    /// The caller has worked for `nanos` by the clock, until now.
    ///
    /// On a crowded machine most of that may have been another process' time, which would be earned
    /// by nobody's work; so a round that is far longer than others counts for less.
    pub fn worked(&mut self, nanos: u64, now: u64, idle: usize) {
        self.progress = now;
        let nanos = nanos.min(4 * self.work);
        self.work = ((self.work * 7 + nanos) / 8).max(5_000);
        self.earn(nanos / WORK_SHARE, idle);
    }

    fn earn(&mut self, earned: u64, idle: usize) {
        // More than one turn is no use.
        let most = self.price * idle.max(SMALLEST_WINDOW) as u64;
        self.credit = self.credit.saturating_add(earned).min(most);
    }

    /// A look at `count`, which waited for none of them, has taken `took`; and if it has `found`
    /// nothing, it is to be paid.
    pub fn looked(&mut self, took: u64, count: usize, found: bool) {
        if count >= SMALLEST_WINDOW {
            // As in `worked`.
            let each = (took / count as u64).min(4 * self.price);
            self.price = ((self.price * 7 + each) / 8).clamp(20, 20_000);
        }
        self.charge(if found { 0 } else { self.price }, count);
    }

    /// So many were looked at, at a cost of `price` each.
    pub fn charge(&mut self, price: u64, count: usize) {
        let count = count as u64;
        self.credit = self.credit.saturating_sub(price * count);
        self.due = self.due.saturating_sub(TURN * count);
    }

    /// How many may be looked at now, if that costs `price` each, which is at least 1.
    #[must_use]
    pub fn affordable(&self, price: u64) -> usize {
        (self.credit / price.max(1)).min(self.due / TURN) as usize
    }

    /// What it costs to look at one.
    #[must_use]
    pub const fn price(&self) -> u64 {
        self.price
    }

    /// When something last happened.
    #[must_use]
    pub const fn progress(&self) -> u64 {
        self.progress
    }

    /// What has happened just now was acted upon: it is a moment ago.
    pub const fn progress_was_used(&mut self) {
        self.progress = self.progress.saturating_sub(1);
    }

    /// Whether nothing has happened for so long that nobody is disturbed by a wait for all.
    #[must_use]
    pub const fn is_rested(&self, now: u64) -> bool {
        self.until_rested(now) == 0
    }

    const fn until_rested(&self, now: u64) -> u64 {
        (self.progress + BUSY_FOR).saturating_sub(now)
    }

    /// How many of the `idle` may be looked at now.
    #[must_use]
    pub fn window(&self, idle: usize) -> usize {
        let window = self.affordable(self.price).min(WINDOW).min(idle);
        if window < SMALLEST_WINDOW.min(idle) {
            0
        } else {
            window
        }
    }

    /// How long the busy ones may be waited for alone, from now.
    #[must_use]
    pub fn until_window(&self, now: u64, idle: usize) -> u64 {
        // A good window: waking up for a small one has its price, too.
        let idle = idle as u64;
        let wanted = (WINDOW as u64 / 2).min(idle);
        let earned = (wanted * self.price).saturating_sub(self.credit) * TIME_SHARE;
        let due = (wanted * TURN).saturating_sub(self.due) / idle.max(FEW);
        earned.max(due).min(self.until_rested(now)).max(1)
    }
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
            budget.worked(24_000, 640_000, 10_000);
        }
        assert_eq!(budget.window(10_000), 130);
        for _ in 0..100 {
            budget.worked(u64::MAX / 100, 640_000, 10_000);
        }
        assert_eq!(budget.window(10_000), WINDOW);
        budget.charge(500, 10_000);
        assert_eq!(budget.window(10_000), 0);
    }

    #[test]
    fn a_turn_takes_its_time_however_much_could_be_afforded() {
        for (idle, in_ten_turns) in [(1000, 10_000), (10, 2560)] {
            let mut budget = Budget::new(20);
            let mut looked_at = 0;
            for now in (0..=10 * TURN).step_by(100_000) {
                budget.accrue(now, idle);
                budget.worked(1_000_000, now, idle);
                let window = budget.window(idle);
                budget.looked(0, window, false);
                looked_at += window;
            }
            let least = in_ten_turns - SMALLEST_WINDOW;
            assert!((least..=in_ten_turns).contains(&looked_at), "{looked_at}");
        }
    }

    #[test]
    fn what_is_found_is_free_and_measured() {
        let mut budget = Budget::new(500);
        budget.accrue(64 * 500_000, 1000);
        budget.looked(64 * 1300, 64, true);
        assert_eq!((budget.price, budget.credit), (600, 500_000));
        budget.looked(64 * 600, 64, false);
        assert_eq!((budget.price, budget.credit), (600, 500_000 - 64 * 600));
    }

    #[test]
    fn rest_comes_after_the_last_progress() {
        let mut budget = Budget::new(500);
        budget.worked(0, 5, 0);
        assert!(!budget.is_rested(BUSY_FOR));
        assert!(budget.is_rested(BUSY_FOR + 5));
        assert_eq!(budget.until_window(BUSY_FOR, 5000), 5);
    }
}
