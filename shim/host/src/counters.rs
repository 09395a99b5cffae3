//! What an instance has done, for `--metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one thread changes and others read.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds to it. Only the instance's own thread does, so no locked operation is needed.
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

/// A counter as Prometheus sees it.
#[derive(Debug)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    /// Prometheus' type: a `gauge` also falls, a `counter` only rises.
    pub(crate) kind: &'static str,
    pub(crate) meaning: &'static str,
    pub(crate) counter: fn(&Counters) -> &Counter,
}

impl Counters {
    /// The instance has ended: it has no connections and no memory any more.
    pub(crate) fn instance_ended(&self) {
        self.connections.set(0);
        self.memory.set(0);
    }
}

/// Defines each counter with its type, its name and its meaning for Prometheus.
macro_rules! counters {
    ($( $kind:ident $field:ident $name:literal $meaning:literal; )*) => {
        /// The counters of one instance. They go on when it is restarted.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(
                #[doc = $meaning]
                pub(crate) $field: Counter,
            )*
        }

        /// All counters, in the order of the output.
        pub(crate) const METRICS: &[Metric] = &[$(
            Metric {
                name: $name,
                kind: stringify!($kind),
                meaning: $meaning,
                counter: |counters| &counters.$field,
            },
        )*];
    };
}

counters! {
    gauge connections "wasip1_connections" "Open connections.";
    counter accepted "wasip1_accepted_total" "Connections accepted.";
    counter bytes_read "wasip1_read_bytes_total" "Bytes read from connections.";
    counter bytes_written "wasip1_written_bytes_total" "Bytes written to connections.";
    counter calls "wasip1_calls_total" "Calls of the guest to the host.";
    counter polls "wasip1_polls_total" "Calls of poll_oneoff.";
    counter subscriptions "wasip1_subscriptions_total" "Subscriptions of all polls.";
    counter events "wasip1_events_total" "Events of all polls.";
    counter traps "wasip1_traps_total" "Traps that have ended the instance.";
    gauge memory "wasip1_memory_bytes" "Memory and tables of the guest.";
}
