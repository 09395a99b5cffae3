//! What may be spent on looking at connections that are probably quiet.
//!
//! A `poll_oneoff` costs time for each subscription, so idle connections would tax every round of
//! the busy ones. Looks at the idle that find nothing are paid from a credit: one part in
//! [`WORK_SHARE`] of the time that the caller works, so that a request's price hardly grows, and
//! one part in [`TIME_SHARE`] of all time, so that nobody is forgotten when there is little work. A
//! look that finds something is free. What a subscription costs is measured.

/// The part of the caller's working time that is spent on the idle.
const WORK_SHARE: u64 = 12;

/// The part of all time that is spent on the idle, while others are busy.
const TIME_SHARE: u64 = 64;

/// A busy connection that may have nothing is tried so often that it takes this part of the time.
const TRY_SHARE: u64 = 16;

/// How long a connection counts as busy after it last did something.
pub(super) const BUSY_FOR: u64 = 10_000_000;

/// Under load a listener that may have a connection is tried when this has passed.
pub(super) const LISTENER_EVERY: u64 = 900_000;

/// The shortest time between two tries of a busy connection that may well have nothing.
const TRY_EVERY: u64 = 250_000;

/// The longest.
const TRY_AT_LEAST_EVERY: u64 = 50_000_000;

/// The most subscriptions of one look at the idle under load: it delays the busy ones.
const WINDOW: u64 = 512;

/// The least: below that the call itself costs more.
const SMALLEST_WINDOW: u64 = 64;

#[derive(Debug)]
pub(super) struct Budget {
    /// Nanoseconds that may be spent.
    credit: u64,
    /// When the credit was last counted.
    counted: u64,
    /// What a subscription costs, in nanoseconds.
    subscription: u64,
    /// What a call costs that answers `AGAIN`.
    again: u64,
    /// How long the caller works in a round.
    work: u64,
    /// When something last happened.
    pub(super) progress: u64,
}

impl Default for Budget {
    fn default() -> Self {
        // Guesses, until there are measurements.
        Self {
            credit: 0,
            counted: 0,
            subscription: 500,
            again: 2_000,
            work: 20_000,
            progress: 0,
        }
    }
}

impl Budget {
    /// Time has passed.
    pub(super) fn accrue(&mut self, now: u64, idle: usize) {
        let earned = now.saturating_sub(self.counted) / TIME_SHARE;
        // The remainder isn't lost when rounds are short.
        self.counted += earned * TIME_SHARE;
        self.earn(earned, idle);
    }

    /// The caller has worked for `nanos`, by the clock.
    ///
    /// On a crowded machine most of that may have been another process' time, which would be
    /// earned by nobody's work; so a round that is far longer than others counts for less.
    pub(super) fn worked(&mut self, nanos: u64, idle: usize) {
        let nanos = nanos.min(4 * self.work);
        self.work = ((self.work * 7 + nanos) / 8).max(5_000);
        self.earn(nanos / WORK_SHARE, idle);
    }

    fn earn(&mut self, earned: u64, idle: usize) {
        // More than one turn is no use.
        let most = self.subscription * (idle as u64).max(SMALLEST_WINDOW);
        self.credit = self.credit.saturating_add(earned).min(most);
    }

    /// `count` idle connections were looked at in vain.
    pub(super) fn charge_look(&mut self, count: usize) {
        self.charge(self.subscription * count as u64);
    }

    fn charge(&mut self, cost: u64) {
        self.credit = self.credit.saturating_sub(cost);
    }

    /// Whether nothing has happened for so long that nobody is disturbed by a wait for all.
    pub(super) fn is_rested(&self, now: u64) -> bool {
        self.until_rested(now) == 0
    }

    fn until_rested(&self, now: u64) -> u64 {
        (self.progress + BUSY_FOR).saturating_sub(now)
    }

    /// How many of the `idle` connections may be looked at now.
    pub(super) fn window(&self, idle: usize) -> usize {
        let idle = idle as u64;
        let window = (self.credit / self.subscription).min(WINDOW).min(idle);
        if window < SMALLEST_WINDOW.min(idle) {
            0
        } else {
            window as usize
        }
    }

    /// How long the busy ones may be waited for alone.
    pub(super) fn until_window(&self, now: u64, idle: usize) -> u64 {
        // A good window: waking up for a small one has its price, too.
        let wanted = self.subscription * (WINDOW / 2).min(idle as u64);
        let earned = wanted.saturating_sub(self.credit) * TIME_SHARE;
        earned.min(self.until_rested(now)).max(1)
    }

    /// How many idle connections may be tried now, for nothing but `AGAIN`.
    pub(super) fn tries(&self) -> usize {
        (self.credit / self.again) as usize
    }

    /// They were.
    pub(super) fn charge_tries(&mut self, count: usize) {
        self.charge(self.again * count as u64);
    }

    /// A poll of `count` subscriptions, none of which waited, has taken `took`.
    pub(super) fn measured(&mut self, took: u64, count: usize) {
        if count >= SMALLEST_WINDOW as usize {
            // As in `worked`.
            let each = (took / count as u64).min(4 * self.subscription);
            self.subscription = ((self.subscription * 7 + each) / 8).clamp(20, 20_000);
        }
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
        1_000_000 + 4 * self.subscription * idle as u64
    }

    /// How long maybes may stay unresolved when every wait for everything has sure events.
    pub(super) fn resolve_every(&self, idle: usize) -> u64 {
        (TIME_SHARE * self.subscription * idle as u64).max(20_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_time_is_earned_however_short_the_rounds() {
        let mut budget = Budget::default();
        for now in 0..=640_000 {
            budget.accrue(now, 1000);
        }
        assert_eq!(budget.credit, 10_000);
        // 10 µs are 20 subscriptions: too few.
        assert_eq!(budget.window(1000), 0);
        assert_eq!(budget.window(10), 10);
        for _ in 0..30 {
            budget.worked(36_000, 1000);
        }
        assert_eq!(budget.window(1000), 200);
        for _ in 0..100 {
            budget.worked(u64::MAX / 100, 1000);
        }
        assert_eq!(budget.window(10_000), WINDOW as usize);
        budget.charge_look(1000);
        assert_eq!(budget.window(10_000), 0);
    }

    #[test]
    fn rest_comes_after_the_last_progress() {
        let budget = Budget {
            progress: 5,
            ..Budget::default()
        };
        assert!(!budget.is_rested(BUSY_FOR));
        assert!(budget.is_rested(BUSY_FOR + 5));
        assert_eq!(budget.until_window(BUSY_FOR, 5000), 5);
    }
}
