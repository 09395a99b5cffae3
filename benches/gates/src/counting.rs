//! An allocator that counts allocations.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, with a count for each thread.
#[derive(Debug)]
pub(crate) struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How many times the calling thread has allocated or reallocated so far.
pub(crate) fn allocations() -> u64 {
    ALLOCATIONS.get()
}

thread_local! {
    // It is initialized at compile time and has no destructor, so it doesn't allocate itself.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
}

#[allow(unsafe_code, reason = "the only way to see all allocations")]
// SAFETY: each method passes its arguments to the system's allocator and returns its result; the
// counter allocates nothing and can't unwind (it would take 2^64 allocations to overflow).
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `GlobalAlloc`, which is that of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above; `memory` is of `System`, as all of this allocator's is.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_has_its_own_count() {
        let before = allocations();
        let mut list = vec![0_u8; 100];
        list.reserve_exact(1000);
        assert_eq!(allocations() - before, 2);
        let elsewhere = std::thread::spawn(|| {
            let before = allocations();
            drop(std::hint::black_box(Box::new(1)));
            allocations() - before
        });
        assert_eq!(elsewhere.join().expect("it doesn't panic"), 1);
    }
}
