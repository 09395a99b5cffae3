//! Fairness: deficit round robin between connections, in one currency.
//!
//! Work is counted in bytes: a byte read or written is one, and a request costs [`REQUEST`] more.
//! A connection's [`Turn`] ends when its cost reaches the turn's *quantum*. What is left of a quantum
//! when a connection has nothing more to do is kept as its deficit: it may use that the next time.
//!
//! Each iteration of the loop serves two queues within one [`Slice`] of [`SLICE`] bytes or
//! [`SLICE_TIME`]:
//!
//! 1. The newly ready. Each gets a first turn, with a short quantum if there are many.
//! 2. The backlog: connections whose last turn ended before their work did. They get further turns, with
//!    a long quantum, until the slice is spent. Then as many of them as had a first turn before get a
//!    short one, and at least one does.
//!
//! So a newly ready connection waits for the rest of one iteration: for a slice, a turn that
//! overruns it, and short turns for others that were newly ready. The backlog moves on in each iteration by as
//! much as the newly ready do, so it can't be starved by peers that send small requests without end.

use std::time::Duration;

use crate::time::Instant;

/// What one iteration of the loop may cost before the reactor is asked again, in bytes: about a millisecond
/// of copying. At half, only two large bodies go on between two waits; at double, newcomers wait twice as
/// long.
const SLICE: usize = 4 << 20;

/// What an iteration may take, where handlers are slow. At half, the reactor is asked twice as often while they
/// are; at double, peers that ask for little wait twice as long for them.
const SLICE_TIME: Duration = Duration::from_millis(20);

/// The clock is read after this many requests of a turn. At half, it is read twice as often, for each small
/// request of a pipeline; at double, a peer with a slow handler keeps the others waiting for 16 requests.
const REQUESTS_PER_CLOCK: u32 = 8;

/// What a request costs beside its bytes: one of a pipeline takes about as long as 4 KiB that are read and
/// written. So a short turn has 16 requests, and a normal one 64. At half, others wait for twice as many; at
/// double, a pipeline of 16 takes two turns among many connections, and two calls for its responses.
const REQUEST: usize = 4 << 10;

/// The quantum of a first turn among many: one read of a full buffer. At half, the buffer would have to be
/// smaller, too; at double, a newcomer among uploads waits for twice as much.
const SHORT: usize = 64 << 10;

/// The quantum of a first turn among few, and of each turn of a lone connection: a slice has 16 of these. At
/// half, a lone pipeline is interrupted by a wait every 32 requests; at double, 128 requests of it go first.
const NORMAL: usize = 256 << 10;

/// The quantum of a further turn among many. A body of 1 MiB comes in one of these, and is still in the
/// processor's cache when its response is made. At half, it takes two turns, with those of all others between;
/// at double, a slice has only two.
const LONG: usize = 1 << 20;

/// How far beyond its quantum a turn may write: a response is sent while it is in the cache, also when its
/// request has used up the quantum. At half, a response of 1 MiB may wait for the others with its second half;
/// at double, a turn of a peer that downloads can take three times as long as one of a peer that uploads.
const WRITTEN_ON_CREDIT: usize = LONG;

/// What one iteration of the loop has cost so far.
#[derive(Debug)]
pub(super) struct Slice {
    spent: usize,
    since: Instant,
    /// Turns that have cost anything. Where readiness is a hint, some turns find nothing to do.
    turns: usize,
    /// The larger of two numbers: of events, and of connections in the backlog when it began.
    crowd: usize,
    waiting: usize,
}

/// Ends a series of short pieces of work when it has taken [`SLICE_TIME`].
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

    /// Begins a turn. What the connection has left of its last quantum counts only while the slice lasts.
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

    /// Reads the time: the slice is spent, too, when it is over. Returns whether it is.
    pub(super) fn check_time(&mut self, now: Instant) -> bool {
        let is_over = now.saturating_since(self.since) >= SLICE_TIME;
        if is_over {
            self.spent = SLICE;
        }
        is_over
    }

    /// The quantum of a newly ready connection. The more there are the shorter it is: each waits for all of
    /// these turns.
    pub(super) fn first_quantum(&self) -> usize {
        (SLICE / self.crowd).clamp(SHORT, NORMAL)
    }

    /// How many turns have cost anything.
    pub(super) fn turns(&self) -> usize {
        self.turns
    }

    /// The quantum of the next turn of the backlog, in which `resumed` had one before, and at least `owed`
    /// get one. `None` if the others have waited for long enough.
    ///
    /// The more wait the longer it is: until the connection's next turn, the bodies of others take its
    /// place in the cache.
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

    /// Counts a piece of work. Returns whether the series has to end. The time is read before the second
    /// piece, and then after as many as in a turn.
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

    /// Counts a request, or a poll of one. Returns whether the time has to be checked.
    pub(super) fn add_request(&mut self) -> bool {
        self.spent += REQUEST;
        self.requests += 1;
        self.requests.is_multiple_of(REQUESTS_PER_CLOCK)
    }

    /// Ends the turn: it has taken too long.
    pub(super) fn end(&mut self) {
        self.quantum = 0;
    }

    /// Whether it is the others' turn.
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
    fn the_more_connections_there_are_the_shorter_first_and_the_longer_further_turns() {
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
    fn sixteen_requests_are_one_first_turn_in_any_crowd() {
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
    fn what_is_left_of_a_quantum_counts_while_the_slice_lasts() {
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
    fn a_spent_slice_allows_the_backlog_as_many_turns_as_it_is_owed() {
        let mut slice = Slice::new(100, 0, START);
        let mut turn = slice.begin_turn(SHORT, 0);
        slice.end_turn(&turn);
        assert_eq!(slice.turns(), 0, "it has cost nothing");
        turn.add_bytes(SLICE);
        slice.end_turn(&turn);
        assert_eq!(slice.turns(), 1);
        let quanta = [0, 1, 2, 3].map(|resumed| slice.further_quantum(resumed, 2));
        assert_eq!(quanta, [Some(SHORT), Some(SHORT), None, None]);
    }
}
