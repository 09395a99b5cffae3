//! The counters of responses.

use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Histogram;
use crate::conn::CloseReason;
use crate::handle::add_many;
use crate::observe::ResponseEvent;
use crate::time::nanos;

/// The counters of responses, to which the loop adds.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    responses: [AtomicU64; 5],
    refusals: [AtomicU64; CloseReason::ALL.len()],
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    handler_times: [AtomicU64; Histogram::BOUNDS.len() + 1],
    handler_nanos: AtomicU64,
}

/// Their values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Measurements {
    pub(super) responses: [u64; 5],
    pub(super) refusals: [u64; CloseReason::ALL.len()],
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) handler_times: Histogram,
}

impl Measured {
    /// Counts a response. Called by the event loop's thread only.
    pub(crate) fn count(&self, event: &ResponseEvent<'_>) {
        let class = event.status().map(|status| status.as_u16() / 100);
        let index = class.and_then(|class| usize::from(class).checked_sub(1));
        if let Some(counter) = index.and_then(|index| self.responses.get(index)) {
            add_many(counter, 1);
        }
        if let Some(refusal) = event.refusal() {
            add_many(&self.refusals[refusal.reason().index()], 1);
        }
        add_many(&self.bytes_in, event.bytes_in());
        add_many(&self.bytes_out, event.bytes_out());
        if let Some(time) = event.handler_time() {
            add_many(&self.handler_times[Histogram::place(time)], 1);
            add_many(&self.handler_nanos, nanos(time));
        }
    }

    /// The current values.
    pub(crate) fn read(&self) -> Measurements {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Measurements {
            responses: std::array::from_fn(|class| read(&self.responses[class])),
            refusals: std::array::from_fn(|reason| read(&self.refusals[reason])),
            bytes_in: read(&self.bytes_in),
            bytes_out: read(&self.bytes_out),
            handler_times: Histogram {
                counts: std::array::from_fn(|place| read(&self.handler_times[place])),
                nanos: read(&self.handler_nanos),
            },
        }
    }
}

impl AddAssign<&Self> for Measurements {
    fn add_assign(&mut self, other: &Self) {
        let add = |sums: &mut [u64], more: &[u64]| {
            sums.iter_mut()
                .zip(more)
                .for_each(|(sum, more)| *sum += more);
        };
        add(&mut self.responses, &other.responses);
        add(&mut self.refusals, &other.refusals);
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.handler_times += &other.handler_times;
    }
}
