//! The memory limit of a guest.

use std::sync::Arc;

use wasmtime::{ResourceLimiter, Result};

use crate::counters::Counters;

/// The size of a table's element in the host.
const ELEMENT: usize = 8;

/// Counts the bytes of all memories and tables together. At the limit they don't grow any more, and the guest runs out
/// of memory.
#[derive(Debug)]
pub(crate) struct Limits {
    most: usize,
    used: usize,
    counters: Arc<Counters>,
}

impl Limits {
    pub(crate) fn new(most: usize, counters: Arc<Counters>) -> Self {
        counters.memory.set(0);
        Self {
            most,
            used: 0,
            counters,
        }
    }

    fn grow(&mut self, current: usize, desired: usize) -> bool {
        let Some(used) = self.used.checked_add(desired.saturating_sub(current)) else {
            return false;
        };
        if used > self.most {
            return false;
        }
        self.used = used;
        self.counters.memory.set(used as u64);
        true
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, now: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        Ok(self.grow(now, desired))
    }

    fn table_growing(&mut self, now: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        let bytes = |elements: usize| elements.saturating_mul(ELEMENT);
        Ok(self.grow(bytes(now), bytes(desired)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_share_one_limit() {
        let counters = Arc::new(Counters::default());
        let mut limits = Limits::new(100, counters.clone());
        assert!(limits.memory_growing(0, 60, None).expect("no error"));
        assert!(limits.table_growing(0, 4, None).expect("no error"));
        assert!(!limits.memory_growing(60, 69, None).expect("no error"));
        assert!(limits.memory_growing(60, 68, None).expect("no error"));
        assert!(!limits.table_growing(4, usize::MAX, None).expect("no error"));
        assert_eq!(counters.memory.get(), 100);
    }
}
