//! [`Counters`] of a server.
//!
//! | what | where |
//! |---|---|
//! | the counters of responses, which have to be turned on | `measured` |
//! | how long handlers take | [`Histogram`] |
//! | the text that Prometheus reads | `prometheus` |

mod histogram;
mod measured;
mod prometheus;

pub use self::histogram::Histogram;
pub(crate) use self::measured::{Measured, Measurements};
use crate::conn::CloseReason;

/// Counters of a server, since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Connections accepted so far.
    pub accepted: u64,
    /// Connections open now.
    pub active: u64,
    /// Closed connections whose sockets can't be dropped yet, because their clients have not taken all
    /// output. Only on WASI 0.2; see [`Limits::max_connections`](crate::Limits::max_connections).
    pub lingering: u64,
    /// Requests passed to the handler.
    pub requests: u64,
    /// Connections closed because a request was refused: malformed, incomplete, too large, too slow, or
    /// over the memory limit.
    pub refused: u64,
    /// Bytes of memory held for all connections now; see [`Limits::max_held`](crate::Limits::max_held).
    pub held: u64,
    /// The highest value of [`held`](Self::held) so far. With several workers, the sum of their highest
    /// values, which they may have had at different times.
    pub held_peak: u64,
    pub(crate) closed: [u64; CloseReason::ALL.len()],
    pub(crate) measured: Measurements,
}

impl Counters {
    /// Connections closed for this reason.
    #[must_use]
    pub fn closed(&self, reason: CloseReason) -> u64 {
        self.closed[reason.index()]
    }

    /// Responses of a class, from 1 to 5: `responses(4)` are those with a status from 400 to 499. For another class, 0.
    /// They are counted when they are sent or given up.
    ///
    /// This and the counters `refusals`, `bytes_in`, `bytes_out` and `handler_times` stay 0 unless
    /// [`Server::count_responses`](crate::Server::count_responses), `on_response` or `access_log` has turned them on.
    #[must_use]
    pub fn responses(&self, class: u8) -> u64 {
        let index = usize::from(class).checked_sub(1);
        let responses = &self.measured.responses;
        index.map_or(0, |index| responses.get(index).copied().unwrap_or(0))
    }

    /// Responses that the server has made by itself and that have this [`Refusal::reason`](crate::Refusal::reason).
    #[must_use]
    pub fn refusals(&self, reason: CloseReason) -> u64 {
        self.measured.refusals[reason.index()]
    }

    /// Bytes of requests whose responses were sent or given up: heads and bodies.
    #[must_use]
    pub fn bytes_in(&self) -> u64 {
        self.measured.bytes_in
    }

    /// Bytes of responses that were sent: heads and bodies.
    #[must_use]
    pub fn bytes_out(&self) -> u64 {
        self.measured.bytes_out
    }

    /// The times of handlers, as in [`ResponseEvent::handler_time`](crate::ResponseEvent::handler_time).
    #[must_use]
    pub fn handler_times(&self) -> &Histogram {
        &self.measured.handler_times
    }

    /// All counters in the text format of Prometheus (version 0.0.4). Send it with the `Content-Type`
    /// [`PROMETHEUS`](Self::PROMETHEUS). Names begin with `mini_http_`.
    #[must_use]
    pub fn to_prometheus(&self) -> String {
        prometheus::text(self)
    }

    /// The `Content-Type` of [`to_prometheus`](Self::to_prometheus).
    pub const PROMETHEUS: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// Adds the counters of another worker.
    pub(crate) fn add(&mut self, other: &Self) {
        // All fields are named, so that none is forgotten.
        let Self {
            accepted,
            active,
            lingering,
            requests,
            refused,
            held,
            held_peak,
            closed,
            measured,
        } = other;
        self.accepted += accepted;
        self.active += active;
        self.lingering += lingering;
        self.requests += requests;
        self.refused += refused;
        self.held += held;
        self.held_peak += held_peak;
        for (sum, more) in self.closed.iter_mut().zip(closed) {
            *sum += more;
        }
        self.measured += measured;
    }

    /// Connections closed for any reason.
    #[must_use]
    pub fn closed_in_all(&self) -> u64 {
        self.closed.iter().sum()
    }
}
