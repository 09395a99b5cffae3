//! Fairness: deficit round robin between connections.
//!
//! Work is measured in bytes: each byte that is read or written costs 1, and each request costs [`REQUEST`] in
//! addition. A connection's [`Turn`] ends when its cost reaches the turn's *quantum*. If a connection has nothing more
//! to do before that, the rest of the quantum is kept as its *deficit*, for its next turn.
//!
//! Each iteration of the loop serves two queues within one [`Slice`] of [`SLICE`] bytes or [`SLICE_TIME`]:
//!
//! 1. Newly ready connections, which the reactor has just reported. Each gets a first turn. The quantum is short if
//!    there are many.
//! 2. The backlog: connections whose last turn ended before their work did. They get further turns with a long
//!    quantum, until the slice is spent. After that, further turns have the quantum of a first turn, and they end as
//!    soon as the backlog has had as many turns as the newly ready connections had, and at least one.
//!
//! So a newly ready connection waits at most for the rest of one iteration: for a slice, a turn that overruns it, and
//! the short turns. In each iteration the backlog gets at least as many turns as the newly ready connections (unless
//! it is shorter), so peers that send small requests without a pause can't starve it.

use std::time::Duration;

use crate::time::Instant;

/// What one iteration of the loop may cost, in bytes: about a millisecond of copying. At half, only two large bodies
/// make progress between two waits. At double, new connections wait twice as long.
const SLICE: usize = 4 << 20;

/// How long an iteration may take if handlers are slow. At half, the loop waits in the reactor twice as often. At
/// double, connections with small requests wait twice as long.
const SLICE_TIME: Duration = Duration::from_millis(20);

/// A turn reads the clock after this many requests. At half, it does so twice as often, also for pipelines of small
/// requests. At double, a connection with a slow handler keeps the others waiting for 16 requests.
const REQUESTS_PER_CLOCK: u32 = 8;

/// What a request costs in addition to its bytes: a pipelined request takes about as long as reading and writing
/// 4 KiB. So a short turn has 16 requests, and a normal one 64. At half, the other connections wait for twice as many.
/// At double, a pipeline of 16 takes two turns among many connections, and two calls for its responses.
const REQUEST: usize = 4 << 10;

/// The quantum of a first turn among many connections: one read of a full buffer. At half, the buffer would have to be
/// smaller, too. At double, a new connection among uploads waits twice as long.
const SHORT: usize = 64 << 10;

/// The quantum of a first turn among few connections, and of each turn of a single one: a slice has 16 of these. At
/// half, a single pipeline is interrupted every 32 requests. At double, other connections wait for 128 of its
/// requests.
const NORMAL: usize = 256 << 10;

/// The quantum of a further turn among many connections. A body of 1 MiB is received in one such turn, so it is still
/// in the processor's cache when its response is made. At half, it takes two turns, with the turns of all other
/// connections between them. At double, a slice has only two such turns.
const LONG: usize = 1 << 20;

/// How far a turn may exceed its quantum by writing. So a response is sent while it is in the cache, even if its
/// request has used up the quantum. At half, the second half of a response of 1 MiB may wait for the turns of other
/// connections. At double, the turn of a download can take three times as long as that of an upload.
const WRITTEN_ON_CREDIT: usize = LONG;

/// What one iteration of the loop has cost so far.
#[derive(Debug)]
pub(super) struct Slice {
    spent: usize,
    since: Instant,
    /// How many turns have cost anything. If readiness is only a hint, some turns find nothing to do.
    turns: usize,
    /// How many connections share the slice: the number of events, or of connections in the backlog when the
    /// iteration began, whichever is larger.
    crowd: usize,
    /// How many connections were in the backlog when the iteration began.
    waiting: usize,
}

/// Limits a series of short pieces of work to [`SLICE_TIME`].
#[derive(Debug)]
pub(super) struct Clock {
    since: Option<Instant>,
    pieces: u32,
}

/// What one turn of a connection has cost so far.
#[derive(Debug)]
pub(super) struct Turn {
    quantum: usize,
    spent: usize,
    requests: u32,
}

impl Slice {
    /// Begins an iteration at this moment, with this number of events and this many in the backlog.
    pub(super) fn new(events: usize, waiting: usize, now: Instant) -> Self {
        Self {
            spent: 0,
            since: now,
            turns: 0,
            crowd: events.max(waiting).max(1),
            waiting,
        }
    }

    /// Begins a turn. The deficit of the connection counts only until the slice is spent.
    pub(super) fn begin_turn(&self, quantum: usize, deficit: usize) -> Turn {
        let kept = if self.is_spent() { 0 } else { deficit };
        Turn {
            quantum: quantum.max(kept),
            spent: 0,
            requests: 0,
        }
    }

    /// Adds a turn's cost.
    pub(super) fn end_turn(&mut self, turn: &Turn) {
        self.spent = self.spent.saturating_add(turn.spent);
        self.turns += usize::from(turn.spent > 0);
    }

    /// Marks the slice as spent if its time is over. Returns whether it is over.
    pub(super) fn check_time(&mut self, now: Instant) -> bool {
        let is_over = now.saturating_since(self.since) >= SLICE_TIME;
        if is_over {
            self.spent = SLICE;
        }
        is_over
    }

    /// The quantum of a newly ready connection. The more connections there are, the shorter it is, because each of
    /// them waits for the turns of all.
    pub(super) fn first_quantum(&self) -> usize {
        (SLICE / self.crowd).clamp(SHORT, NORMAL)
    }

    /// How many turns have cost anything.
    pub(super) fn turns(&self) -> usize {
        self.turns
    }

    /// The quantum of the next turn for the backlog, after `resumed` turns in this iteration. `None` if the slice is
    /// spent and the backlog has had the `owed` turns.
    ///
    /// The more connections wait, the longer it is: by the connection's next turn, the bodies of the others will have
    /// displaced its body from the cache.
    pub(super) fn further_quantum(&self, resumed: usize, owed: usize) -> Option<usize> {
        match self.is_spent() {
            false => Some(self.waiting.saturating_mul(NORMAL).clamp(NORMAL, LONG)),
            true if resumed < owed => Some(self.first_quantum()),
            true => None,
        }
    }

    fn is_spent(&self) -> bool {
        self.spent >= SLICE
    }
}

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            since: None,
            pieces: 0,
        }
    }

    /// Counts a piece of work. Returns whether the series has to end. Reads the clock after the first piece, and then
    /// once in [`REQUESTS_PER_CLOCK`] pieces.
    pub(super) fn is_over(&mut self, now: impl FnOnce() -> Instant) -> bool {
        self.pieces += 1;
        match self.since {
            None => {
                self.since = Some(now());
                false
            }
            Some(since) => {
                self.pieces.is_multiple_of(REQUESTS_PER_CLOCK)
                    && now().saturating_since(since) >= SLICE_TIME
            }
        }
    }
}

impl Turn {
    /// Counts bytes that were read or written.
    pub(super) fn add_bytes(&mut self, count: usize) {
        self.spent += count;
    }

    /// Counts a request, or a poll of its future. Returns whether the clock has to be read.
    pub(super) fn add_request(&mut self) -> bool {
        self.spent += REQUEST;
        self.requests += 1;
        self.requests.is_multiple_of(REQUESTS_PER_CLOCK)
    }

    /// Ends the turn: it has taken too long.
    pub(super) fn end(&mut self) {
        self.quantum = 0;
    }

    /// Whether the quantum is used up.
    pub(super) fn is_over(&self) -> bool {
        self.spent >= self.quantum
    }

    /// Whether output may still be written.
    pub(super) fn may_write(&self) -> bool {
        self.spent < self.quantum + WRITTEN_ON_CREDIT
    }

    /// What is left of the quantum.
    pub(super) fn left(&self) -> usize {
        self.quantum.saturating_sub(self.spent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Instant = Instant::from_nanos(1_000_000_000);

    #[test]
    fn with_more_connections_first_turns_are_shorter_and_further_turns_longer() {
        for (events, waiting, first, further) in [
            (0, 0, NORMAL, NORMAL),
            (16, 1, NORMAL, NORMAL),
            (0, 2, NORMAL, 2 * NORMAL),
            (0, 16, NORMAL, LONG),
            (32, 0, 2 * SHORT, NORMAL),
            (0, 64, SHORT, LONG),
            (usize::MAX, usize::MAX, SHORT, LONG),
        ] {
            let slice = Slice::new(events, waiting, START);
            assert_eq!(slice.first_quantum(), first, "{events} {waiting}");
            let quantum = slice.further_quantum(0, 0);
            assert_eq!(quantum, Some(further), "{events} {waiting}");
        }
    }

    #[test]
    fn a_short_turn_has_sixteen_requests() {
        let mut turn = Slice::new(10_000, 0, START).begin_turn(SHORT, 0);
        turn.add_bytes(16 * 200);
        let allowed = (1..).take_while(|_| {
            let may = !turn.is_over();
            turn.add_request();
            may
        });
        assert_eq!(allowed.count(), 16);
    }

    #[test]
    fn a_deficit_counts_until_the_slice_is_spent() {
        let mut slice = Slice::new(100, 0, START);
        let mut turn = slice.begin_turn(LONG, 0);
        turn.add_bytes(100);
        slice.end_turn(&turn);
        let deficit = turn.left();
        assert_eq!(deficit, LONG - 100);
        assert_eq!(slice.begin_turn(SHORT, deficit).left(), deficit);
        assert!(slice.check_time(START + SLICE_TIME));
        assert_eq!(slice.begin_turn(SHORT, deficit).left(), SHORT);
    }

    #[test]
    fn when_the_slice_is_spent_the_backlog_still_gets_the_turns_it_is_owed() {
        let mut slice = Slice::new(100, 0, START);
        let mut turn = slice.begin_turn(SHORT, 0);
        slice.end_turn(&turn);
        assert_eq!(slice.turns(), 0, "a turn without cost is not counted");
        turn.add_bytes(SLICE);
        slice.end_turn(&turn);
        assert_eq!(slice.turns(), 1);
        let quanta = [0, 1, 2, 3].map(|resumed| slice.further_quantum(resumed, 2));
        assert_eq!(quanta, [Some(SHORT), Some(SHORT), None, None]);
    }
}
