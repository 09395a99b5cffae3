//! [`Facts`]: what the checks of all clients of a world use: its limits, the faults of its runtime, and the bounds on
//! time and memory that follow from them.

use std::time::Duration;

use wasip1_poll::fake::Personality;

use super::peer::{Peer, PeerRef};
use super::plan::{Manner, Plan, Reading};
use crate::event_loop::phase::LATE_PIPELINES;
use crate::limits::Limits;

/// What the checks of all clients of a world use. Times are nanoseconds.
pub(super) struct Facts<'a> {
    pub(super) limits: &'a Limits,
    pub(super) personality: Personality,
    pub(super) stopped_at: u64,
    /// The listener couldn't be closed when the server stopped.
    pub(super) keeps_listeners: bool,
    /// If a call reports that nothing is ready, nothing is.
    pub(super) is_truthful: bool,
    /// Within this time the loop acts upon what has happened.
    pub(super) bound: u64,
    /// By how much the loop may act before a deadline: the time that it uses is that at which the turn began, and the
    /// clock may be wrong.
    pub(super) slack: u64,
    /// There may be as many connections as the limit allows.
    pub(super) is_at_limit: bool,
    /// Idle connections may be closed for new ones.
    pub(super) is_evicting: bool,
    /// Memory may be short.
    pub(super) is_short: bool,
    clients: usize,
    largest: usize,
    /// How long the slowest client needs at most to take all that it has asked for.
    slowest: u64,
    /// A client sends requests without waiting, and takes the responses slowly.
    has_slow_pipeline: bool,
}

impl<'a> Facts<'a> {
    pub(super) fn new(
        personality: Personality,
        limits: &'a Limits,
        work: Duration,
        peers: &[PeerRef],
        (stopped_at, keeps_listeners): (u64, bool),
    ) -> Self {
        let clients = peers.len();
        // What the loop does for all of them in one turn: this many requests each, and a few calls.
        let requests: u64 = peers
            .iter()
            .map(|peer| peer.borrow().plan.requests.len().min(64) as u64)
            .sum();
        let costs = personality.costs;
        let turn =
            requests * work.as_nanos() as u64 + clients as u64 * 12 * costs.failure.max(costs.call);
        let bound = personality.found_within(clients as u64, turn) + 2 * turn;
        let responses = peers.iter().map(|peer| {
            let peer = peer.borrow();
            let lengths = peer.plan.requests.iter().map(|it| it.response.len());
            lengths.max().unwrap_or(0)
        });
        let wrong_by = match personality.faults.clock {
            0 => 0,
            _ => 2_000_000,
        };
        let is_at_limit = limits.max_connections <= clients;
        let slowest = peers.iter().map(|peer| slowness(&peer.borrow().plan)).max();
        Self {
            limits,
            personality,
            stopped_at,
            keeps_listeners,
            is_truthful: personality.faults.again == 0 && personality.faults.accept_fails == 0,
            bound,
            slack: turn + wrong_by,
            is_at_limit,
            is_evicting: is_at_limit || personality.faults.accept_fails > 0,
            is_short: limits.max_held < 1 << 20,
            clients,
            largest: responses.max().unwrap_or(0),
            slowest: slowest.unwrap_or(0),
            has_slow_pipeline: peers.iter().any(|it| is_slow_pipeline(&it.borrow().plan)),
        }
    }

    /// How long stopping takes at most: clients take their responses, and connections linger. If the listener can't be
    /// closed, those that got 503 linger after that.
    pub(super) fn longest_stop(&self) -> u64 {
        let rate = 3 * nanos(self.limits.rate_window);
        let linger = nanos(self.limits.linger_timeout).min(1_000_000_000);
        let lingers = if self.keeps_listeners { 2 } else { 1 };
        let pipelines = match self.has_slow_pipeline {
            true => nanos(LATE_PIPELINES),
            false => 0,
        };
        rate + GRACE + pipelines + lingers * (linger + TICK) + 4 * TICK + self.bound + self.slowest
    }

    /// How long stopping takes at most if it has a deadline, at which all connections are closed.
    pub(super) fn longest_cut(&self, within: Duration) -> u64 {
        nanos(within) + self.bound + self.slack
    }

    /// The most bytes that may ever be held: the limit, and beyond it, for each connection a small response or two and
    /// what was read, and one large response.
    pub(super) fn most_held(&self) -> u64 {
        let each = (16 << 10) + (8 << 10) + (64 << 10);
        (self.limits.max_held + self.clients * each + self.largest) as u64
    }

    /// How long accepting may be paused in all: each failure of it pauses it for 50 ms.
    pub(super) fn rests(&self) -> u64 {
        match self.personality.faults.accept_fails {
            0 => 0,
            _ => 500_000_000,
        }
    }

    pub(super) fn show(&self, peer: &Peer) -> String {
        format!(
            "{}\nstopped at {}, keeps listeners {}, bound {}, evicting {}, short {}, {:#?}",
            peer.describe(),
            self.stopped_at,
            self.keeps_listeners,
            self.bound,
            self.is_evicting,
            self.is_short,
            self.limits
        )
    }
}

/// How long a client that reads slowly, but quickly enough, takes for all of its responses.
pub(super) fn slowness(plan: &Plan) -> u64 {
    let Reading::Slow { most, every } = plan.reading else {
        return 0;
    };
    let bytes: usize = plan.requests.iter().map(|it| it.response.len() + 200).sum();
    (bytes / most + 2) as u64 * nanos(every)
}

/// Whether a pipeline of this client may be served after the grace, because its responses are taken slowly.
fn is_slow_pipeline(plan: &Plan) -> bool {
    let is_pipeline = plan.requests.len() > 1 && !matches!(plan.manner, Manner::Turns(_));
    is_pipeline && matches!(plan.reading, Reading::Slow { .. })
}

pub(super) fn nanos(time: Duration) -> u64 {
    time.as_nanos() as u64
}

/// How long a server that stops waits for requests.
pub(super) const GRACE: u64 = 500_000_000;

/// Deadlines are rounded up to this.
pub(super) const TICK: u64 = 1 << 26;
