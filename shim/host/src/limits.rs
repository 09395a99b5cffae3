//! The memory limit of a guest.

use std::sync::Arc;

use wasmtime::{Module, ResourceLimiter, Result};

use crate::counters::Counters;
use crate::error::Error;

/// The size of a page of memory.
const PAGE: usize = 1 << 16;
/// The size of a table's element in the host.
const ELEMENT: usize = 8;

/// Checks that a module with one memory and one table can start with `most` bytes. Otherwise each start would trap.
/// With several of them only the largest are counted.
pub(crate) fn check_initial(module: &Module, most: usize) -> std::result::Result<(), Error> {
    let initial = module.resources_required();
    let bytes = |count: Option<u64>, size: usize| {
        usize::try_from(count.unwrap_or(0)).map_or(usize::MAX, |count| count.saturating_mul(size))
    };
    let memory = bytes(initial.max_initial_memory_size, PAGE);
    let table = bytes(initial.max_initial_table_size, ELEMENT);
    let least = memory.saturating_add(table);
    if least > most {
        return Err(Error::new(format!(
            "the module's initial memory has {memory} bytes, and its table {table}, but the memory limit is {most} \
             bytes: set --memory to {least} or more"
        )));
    }
    Ok(())
}

/// Counts the bytes of all memories and tables together. At the limit they don't grow any more, and the guest runs out
/// of memory.
#[derive(Debug)]
pub(crate) struct Limits {
    most: usize,
    used: usize,
    /// The bytes of the last growth of a memory, which may still fail.
    last: usize,
    counters: Arc<Counters>,
}

impl Limits {
    pub(crate) fn new(most: usize, counters: Arc<Counters>) -> Self {
        counters.memory.set(0);
        Self {
            most,
            used: 0,
            last: 0,
            counters,
        }
    }

    /// Counts a growth. Returns how many bytes it takes, or `None` if it isn't permitted.
    fn grow(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Option<usize> {
        // wasmtime would refuse it after this. It must not be counted.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return None;
        }
        let more = desired.saturating_sub(current);
        let used = self.used.checked_add(more)?;
        if used > self.most {
            return None;
        }
        self.set(used);
        Some(more)
    }

    fn set(&mut self, used: usize) {
        self.used = used;
        self.counters.memory.set(used as u64);
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, now: usize, desired: usize, most: Option<usize>) -> Result<bool> {
        let more = self.grow(now, desired, most);
        self.last = more.unwrap_or(0);
        Ok(more.is_some())
    }

    fn table_growing(&mut self, now: usize, desired: usize, most: Option<usize>) -> Result<bool> {
        let bytes = |elements: usize| elements.saturating_mul(ELEMENT);
        let more = self.grow(bytes(now), bytes(desired), most.map(bytes));
        Ok(more.is_some())
    }

    /// The system has no memory for the last growth.
    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> Result<()> {
        let last = std::mem::take(&mut self.last);
        self.set(self.used - last);
        Ok(())
    }

    // Nothing is done in `table_grow_failed`. wasmtime calls it for a size that overflows, and has not called
    // `table_growing` before. A guest can cause that with a table of 64 bits as often as it wants.
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

    #[test]
    fn a_growth_that_fails_takes_nothing() {
        let counters = Arc::new(Counters::default());
        let mut limits = Limits::new(100, counters.clone());
        assert!(limits.memory_growing(0, 60, None).expect("no error"));
        for _ in 0..9 {
            // The memory has a maximum of its own, which wasmtime checks after this.
            assert!(!limits.memory_growing(60, 90, Some(70)).expect("no error"));
            assert_eq!(counters.memory.get(), 60);
            assert!(limits.memory_growing(60, 70, Some(70)).expect("no error"));
            let failed = wasmtime::Error::msg("the system has none");
            limits.memory_grow_failed(failed).expect("no error");
            assert_eq!(counters.memory.get(), 60);
        }
        assert!(!limits.table_growing(0, 5, Some(2)).expect("no error"));
        assert!(limits.memory_growing(60, 100, None).expect("no error"));
        // A table's size that overflows fails without the question whether it may grow.
        let failed = wasmtime::Error::msg("overflow");
        limits.table_grow_failed(failed).expect("no error");
        assert_eq!(counters.memory.get(), 100);
    }
}
