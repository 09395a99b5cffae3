//! The settings that all instances of a host share.

use std::time::Duration;

use crate::metrics;

/// The settings of the guests.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) arguments: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    /// Directories: the path on this system, and the path in the guest.
    pub(crate) dirs: Vec<(String, String)>,
    pub(crate) sockets_first: bool,
    /// Listeners have `NONBLOCK` from the start.
    pub(crate) nonblock: bool,
    pub(crate) edge: bool,
    pub(crate) trace: bool,
    pub(crate) instances: usize,
    /// Bytes of memory that each instance may have.
    pub(crate) memory: usize,
    /// How many file descriptors each instance may have besides those that it is started with.
    pub(crate) max_open: Option<usize>,
    /// How long an instance may run without a call.
    pub(crate) max_spin: Option<Duration>,
    /// How long a drain may last.
    pub(crate) grace: Duration,
    pub(crate) restart: bool,
    /// How many listeners each instance is started with.
    pub(crate) listeners: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            arguments: Vec::new(),
            env: Vec::new(),
            dirs: Vec::new(),
            sockets_first: false,
            nonblock: false,
            edge: false,
            trace: false,
            instances: 1,
            // The most that a memory with addresses of 32 bits can have.
            memory: 1 << 32,
            max_open: None,
            max_spin: Some(Duration::from_secs(10)),
            grace: Duration::from_secs(10),
            restart: true,
            listeners: 0,
        }
    }
}

/// The limit to be shared where the process has none: the usual value of `fs.nr_open` in Linux.
const MAX_OPEN: usize = 1 << 20;
/// File descriptors that the host itself needs: the standard streams, signals, the listener of the metrics, and the
/// runtime of wasmtime-wasi, about ten together; and connections to the metrics.
const OWN: usize = 20 + metrics::CONNECTIONS;

impl Settings {
    /// How many file descriptors an instance may have, including those that it is started with. By default several
    /// instances share the limit of the process evenly, so that none can exhaust it for the others. A single instance
    /// has no limit but the system's.
    pub(crate) fn open_per_instance(&self) -> usize {
        let given = 3 + self.dirs.len() + self.listeners;
        if let Some(most) = self.max_open {
            return most.saturating_add(given);
        }
        if self.instances == 1 {
            return usize::MAX;
        }
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let limit = limit.map_or(MAX_OPEN, |limit| (limit as usize).min(MAX_OPEN));
        // Two for its waits, and each listener twice, because the host keeps one for a restart.
        let each = 2 + self.dirs.len() + 2 * self.listeners;
        let own = OWN + self.instances * each;
        limit.saturating_sub(own).max(1) / self.instances + given
    }
}
