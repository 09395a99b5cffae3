//! What an instance has done, for `--metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one thread changes and others read.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds to it. Only the instance's own thread does, so that no locked operation is needed.
    pub(crate) fn add(&self, n: u64) {
        self.set(self.get() + n);
    }

    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of one instance. They go on when it is started again.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Connections that are open.
    pub(crate) connections: Counter,
    pub(crate) accepted: Counter,
    pub(crate) bytes_read: Counter,
    pub(crate) bytes_written: Counter,
    /// Calls to the host, of all kinds.
    pub(crate) calls: Counter,
    pub(crate) polls: Counter,
    pub(crate) subscriptions: Counter,
    pub(crate) events: Counter,
    pub(crate) traps: Counter,
    /// Bytes of the guest's memories and tables.
    pub(crate) memory: Counter,
}
