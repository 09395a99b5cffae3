//! [`Account`]: how many bytes the budget counts for one connection.

use super::Budget;

/// The bytes that the budget counts for one connection. Nothing else changes the budget's count.
#[derive(Debug, Default)]
pub(in crate::conn) struct Account {
    held: usize,
}

impl Account {
    /// The bytes that are counted.
    pub(in crate::conn) fn held(&self) -> usize {
        self.held
    }

    /// Counts `held` bytes in place of those that were counted before.
    pub(in crate::conn) fn set(&mut self, budget: &mut Budget, held: usize) {
        if held != self.held {
            budget.replace(self.held, held);
            self.held = held;
        }
    }

    /// Counts `more` bytes in addition.
    pub(in crate::conn) fn grow(&mut self, budget: &mut Budget, more: usize) {
        self.set(budget, self.held + more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_the_sum_of_the_accounts() {
        let mut budget = Budget::default();
        let (mut one, mut other) = (Account::default(), Account::default());
        one.set(&mut budget, 100);
        other.grow(&mut budget, 30);
        other.grow(&mut budget, 7);
        assert_eq!((one.held(), other.held(), budget.held()), (100, 37, 137));
        one.set(&mut budget, 0);
        assert_eq!((budget.held(), budget.peak()), (37, 137));
    }
}
