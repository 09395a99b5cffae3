//! What both ends of each connection must have got, and why it may have ended.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::time::Duration;

use wasip1_poll::fake::{Client, Personality};

use super::link::{Far, Link, Mark, Near, ReadEnd, WriteEnd};
use super::plan::{End, Opening, STALLED, Taking};
use crate::conn::CloseReason;
use crate::event_loop::seeds::facts::{TICK, nanos};
use crate::event_loop::seeds::streams::Part;
use crate::event_loop::seeds::verdict::Reasons;
use crate::limits::Limits;

/// What the checks of all clients of a world use. Times are nanoseconds.
pub(super) struct Facts<'a> {
    limits: &'a Limits,
    clients: u64,
    stopped_at: u64,
    /// The deadline of the stop, at which everything is dropped.
    cut_at: u64,
    /// Within this time the loop acts upon what has happened.
    bound: u64,
    /// By how much the loop may act before a deadline: the time that it uses is that at which the turn began, and the
    /// clock may be wrong.
    slack: u64,
    /// If a call reports that nothing is ready, nothing is.
    is_truthful: bool,
    /// Idle connections may be closed for new ones, because accepting fails. Upgraded ones are not idle.
    is_evicting: bool,
    /// Memory may be short.
    is_short: bool,
}

impl<'a> Facts<'a> {
    pub(super) fn new(
        personality: Personality,
        limits: &'a Limits,
        clients: u64,
        (stopped_at, within): (u64, Duration),
    ) -> Self {
        let costs = personality.costs;
        let turn = clients * 12 * costs.failure.max(costs.call);
        let wrong_by = match personality.faults.clock {
            0 => 0,
            _ => 2_000_000,
        };
        Self {
            limits,
            clients,
            stopped_at,
            cut_at: stopped_at + nanos(within),
            bound: personality.found_within(clients, turn) + 2 * turn,
            slack: turn + wrong_by,
            is_truthful: personality.faults.again == 0 && personality.faults.accept_fails == 0,
            is_evicting: personality.faults.accept_fails > 0,
            is_short: limits.max_held < 1 << 20,
        }
    }

    /// Checks when the server ended, and the most memory that was held for connections.
    pub(super) fn check_end(&self, ended_at: u64, held: u64) {
        let by = self.cut_at + self.bound + self.slack;
        assert!(ended_at <= by, "it ended at {ended_at}, and should by {by}");
        // Both directions of each, 64 KiB, and 8 KiB for its request.
        let most = self.limits.max_held as u64 + self.clients * (136 << 10);
        assert!(held <= most, "{held} bytes held");
    }

    /// What the loop may take for one step of a connection: what has come is passed on in one turn, what the program
    /// makes of it is taken in the next, and the client checks every 2 ms.
    fn step(&self) -> u64 {
        2 * self.bound + 6_000_000
    }
}

/// Fails if an end of a connection didn't get what it must. Returns why it may have ended.
pub(super) fn judge(facts: &Facts<'_>, link: &Link) -> Reasons {
    let client = link.client.borrow();
    // It would have connected after the server's end.
    let Some(client) = client.as_ref() else {
        return Reasons::new();
    };
    let (near, far) = (link.near.borrow(), link.far.borrow());
    let (Some(accepted), Some(closed)) = (client.accepted_at(), client.closed_at()) else {
        let in_time = far.connected_at + facts.step() < facts.stopped_at;
        let is_excused = !facts.is_truthful || far.reset_at.is_some();
        assert!(!in_time || is_excused, "never accepted: {link:?}");
        return Reasons::new();
    };
    let case = Case {
        facts,
        link,
        client,
        near: &near,
        far: &far,
        accepted,
        closed,
    };
    case.check_response();
    if near.opened_at.is_some() {
        case.check_input();
        case.check_output();
        case.check_errors();
        case.check_close();
    }
    case.reasons()
}

/// One connection that was accepted.
struct Case<'a> {
    facts: &'a Facts<'a>,
    link: &'a Link,
    client: &'a Client,
    near: &'a Near,
    far: &'a Far,
    accepted: u64,
    closed: u64,
}

impl Case<'_> {
    #[track_caller]
    fn must(&self, is_so: bool, what: &str) {
        let Self { facts, link, .. } = self;
        assert!(
            is_so,
            "{what}: {link:#?}\naccepted {} closed {} written {} stopped {} cut {} bound {} {:?}",
            self.accepted,
            self.closed,
            self.client.written_at(),
            facts.stopped_at,
            facts.cut_at,
            facts.bound,
            facts.limits
        );
    }

    /// The request has the response that is due, and the program learns what has become of the upgrade.
    fn check_response(&self) {
        let (plan, opening) = (&self.link.plan, self.link.plan.opening);
        let is_opened = self.near.opened_at.is_some();
        self.must(!is_opened || opening.upgrades(), "upgraded");
        let Some(asked) = self.far.asked_at else {
            return;
        };
        let waits = plan.user.responds_after.map_or(0, |wait| wait.nanos());
        let pieces = 3 + plan.before as u64 + plan.heads().len() as u64 / plan.piece as u64;
        let due = asked.max(self.accepted) + waits + pieces * self.facts.step();
        if self.is_excused() || self.facts.is_short || due >= self.facts.stopped_at {
            return;
        }
        if opening.upgrades() {
            let at = self.near.opened_at.unwrap_or(u64::MAX);
            self.must(at <= due, "not upgraded in time");
        }
        let is_taken = matches!(
            opening,
            Opening::Otherwise | Opening::Refused | Opening::NoField
        );
        self.must(is_taken == self.near.has_failed, "whether it has failed");
        if matches!(plan.taking, Taking::Stalls(_)) {
            return;
        }
        let mut statuses = vec![200; plan.before];
        statuses.push(opening.status());
        self.must(self.far.statuses == statuses, "other statuses");
    }

    /// The program has read all that the client has sent, in time, and the end only after that.
    fn check_input(&self) {
        let sent = self.sent();
        if let Some((ReadEnd::End, at)) = self.near.read_end {
            let is_right = self.far.ended_at.is_some_and(|ended| ended <= at);
            let is_whole = self.near.read == sent;
            self.must(
                self.is_excused() || is_right && is_whole,
                "the end of the input",
            );
        }
        let user = &self.link.plan.user;
        let due = self.input_due();
        let is_owed = user.reads.is_none() && user.end != End::Drops && !self.may_stall();
        if self.is_excused() || self.facts.is_short || !is_owed || due >= self.facts.cut_at {
            return;
        }
        let in_time = self.near.read == sent && self.near.read_at <= due;
        self.must(in_time, "input that isn't read in time");
        if user.pause.is_none() {
            let opened = self.near.opened_at.unwrap_or(u64::MAX / 2);
            let from = opened + nanos(user.reads_after);
            self.check_pace(&self.far.sends, &self.near.reads, from, "input");
        }
        if self.far.ended_at.is_some() {
            let in_time = matches!(self.near.read_end, Some((ReadEnd::End, at)) if at <= due);
            self.must(in_time, "an end that isn't read in time");
        }
    }

    /// The client has got all that the program has written, in time.
    fn check_output(&self) {
        let due = self.output_due();
        let is_owed = !self.may_stall();
        if self.is_excused() || self.facts.is_short || !is_owed || due >= self.facts.cut_at {
            return;
        }
        let user = &self.link.plan.user;
        let is_written = self.near.written == user.length();
        self.must(is_written, "output that isn't taken from the program");
        if user.end != End::ClosesAtStop {
            let in_time = matches!(
                self.near.write_end,
                Some((WriteEnd::Closed | WriteEnd::Left, at)) if at <= due
            );
            self.must(in_time, "the output's end is late");
        }
        // A client that sends on when the program has gone is reset in the end, and loses what it hasn't taken.
        let is_lossy =
            self.client.is_reset() && self.far.taken_at + self.facts.step() >= self.closed;
        let has_all = self.far.taken == self.near.written && self.far.taken_at <= due;
        self.must(has_all || is_lossy, "output that the client hasn't got");
        if self.link.plan.taking == Taking::Prompt {
            self.check_pace(&self.near.writes, &self.far.takes, 0, "output");
        }
    }

    /// What one end has sent has soon arrived at the other end, which takes all that has arrived.
    fn check_pace(&self, sent: &[Mark], taken: &[Mark], from: u64, what: &str) {
        for &(count, at) in sent {
            let due = at.max(from) + self.transfer(count as u64);
            let by_then = taken.iter().take_while(|(_, at)| *at <= due).last();
            let by_then = by_then.map_or(0, |(count, _)| *count);
            let is_there = by_then >= count;
            self.must(
                is_there,
                &format!("{by_then} of {count} bytes of {what} by {due}"),
            );
        }
    }

    /// The longest time in which this many bytes are passed on.
    fn transfer(&self, bytes: u64) -> u64 {
        // What the client's system has room for is taken every 2 ms.
        let rooms = bytes / self.link.plan.room as u64;
        (bytes / 16_384 + 4) * self.facts.step() + rooms * 5_000_000
    }

    /// Each error of the program has a cause.
    fn check_errors(&self) {
        let read = match self.near.read_end {
            Some((ReadEnd::Failed(kind), at)) => Some((kind, at)),
            Some((ReadEnd::End | ReadEnd::Enough, _)) | None => None,
        };
        let write = match self.near.write_end {
            Some((WriteEnd::Failed(kind), at)) => Some((kind, at)),
            Some((WriteEnd::Closed | WriteEnd::Left, _)) | None => None,
        };
        for (kind, at) in [read, write].into_iter().flatten() {
            let is_right = match kind {
                ErrorKind::ConnectionReset => self.is_excused(),
                ErrorKind::ConnectionAborted => at + self.facts.slack >= self.facts.cut_at,
                ErrorKind::TimedOut => self.may_stall() && self.has_stalled_until(at),
                ErrorKind::NotConnected => self.link.plan.user.end == End::Drops,
                _ => false,
            };
            self.must(
                is_right || self.is_excused(),
                &format!("{kind} without a cause"),
            );
        }
    }

    /// The connection is open as long as it is used, and not much longer.
    fn check_close(&self) {
        if self.is_excused() {
            return;
        }
        let (near, far, facts) = (self.near, self.far, self.facts);
        let both_ended = match (far.ended_at, near.write_end) {
            (Some(ended), Some((WriteEnd::Closed, at))) => Some(ended.max(at)),
            _ => None,
        };
        let is_stalled = self.may_time_out();
        let is_cut = self.closed + facts.slack >= facts.cut_at;
        let has_cause = near.dropped_at.is_some_and(|at| at <= self.closed)
            || both_ended.is_some()
            || is_stalled
            || is_cut;
        self.must(has_cause, "closed without a cause");
        let window = nanos(facts.limits.rate_window) + TICK;
        let taken = match self.link.plan.taking {
            Taking::Stalls(_) => self.client.written_at() + 2 * window,
            Taking::Prompt | Taking::Slow(_) => self.output_due(),
        };
        let linger = nanos(facts.limits.linger_timeout) + TICK;
        for ended in [near.dropped_at, both_ended].into_iter().flatten() {
            let by = ended.max(taken).max(self.input_due()) + linger + facts.step();
            self.must(self.closed <= by, "open for too long");
        }
        // More than the client's system takes: the rest waits until it is given up.
        let is_stuck = matches!(self.link.plan.taking, Taking::Stalls(after) if near.written > after + 2 * STALLED);
        if is_stuck {
            let by = self.client.written_at() + 2 * window + facts.step();
            self.must(self.closed <= by, "takes nothing, and isn't closed");
        }
    }

    /// Why the connection may have been closed.
    fn reasons(&self) -> Reasons {
        if self.is_excused() || self.facts.is_short {
            return (0..CloseReason::ALL.len()).collect();
        }
        let mut reasons = BTreeSet::new();
        let mut may = |is_so: bool, reason: CloseReason| {
            if is_so {
                reasons.insert(reason.index());
            }
        };
        let (near, far, facts) = (self.near, self.far, self.facts);
        let is_stopped = self.closed + facts.slack >= facts.stopped_at;
        if near.opened_at.is_none() {
            may(is_stopped, CloseReason::Stopped);
            self.other_reasons(&mut may);
            return reasons;
        }
        let has_ended = near.dropped_at.is_some() || far.ended_at.is_some();
        may(has_ended, CloseReason::Upgraded);
        may(
            self.closed + facts.slack >= facts.cut_at,
            CloseReason::Stopped,
        );
        may(self.may_time_out(), CloseReason::WriteTimeout);
        reasons
    }

    /// The reasons of a connection that wasn't upgraded.
    fn other_reasons(&self, may: &mut impl FnMut(bool, CloseReason)) {
        let (far, facts) = (self.far, self.facts);
        let opening = self.link.plan.opening;
        let has_asked = far.asked_at.is_some();
        may(
            has_asked && opening == Opening::Refused,
            CloseReason::HandlerAskedClose,
        );
        may(
            has_asked && opening == Opening::NoTunnel,
            CloseReason::BadRequest,
        );
        may(
            has_asked && matches!(opening.status(), 500),
            CloseReason::HandlerFailed,
        );
        may(far.ended_at.is_some(), CloseReason::ClientClosed);
        may(facts.is_evicting, CloseReason::Evicted);
        let since = far.sent_at.max(self.accepted);
        let idle = nanos(facts.limits.idle_timeout);
        may(
            self.closed + facts.slack >= since + idle,
            CloseReason::IdleTimeout,
        );
    }

    /// How much of the new protocol the client has sent.
    fn sent(&self) -> usize {
        self.far.sent.saturating_sub(self.link.plan.heads().len())
    }

    /// Whether something has happened after which it can't be said what each end must get.
    fn is_excused(&self) -> bool {
        self.far.reset_at.is_some() || self.client.is_faulted()
    }

    /// Whether output may wait that the client doesn't take, or takes too slowly: when the program has dropped the
    /// connection, the rest of its output must be taken at the rate of HTTP.
    fn may_stall(&self) -> bool {
        let is_dropped = self.near.dropped_at.is_some();
        match self.link.plan.taking {
            Taking::Prompt => false,
            Taking::Slow(_) => is_dropped,
            Taking::Stalls(_) => true,
        }
    }

    /// Whether the connection may have been closed because its output wasn't taken.
    fn may_time_out(&self) -> bool {
        let is_dropped = self.near.dropped_at.is_some();
        self.may_stall() && (is_dropped || self.has_stalled_until(self.closed))
    }

    /// Whether the system of the client has taken nothing for long enough.
    fn has_stalled_until(&self, at: u64) -> bool {
        at + self.facts.slack >= self.client.written_at() + nanos(self.facts.limits.rate_window)
    }

    /// When the program has read everything.
    fn input_due(&self) -> u64 {
        let plan = &self.link.plan;
        let (user, sent) = (&plan.user, self.sent() as u64);
        let opened = self.near.opened_at.unwrap_or(u64::MAX / 2);
        let pieces = sent / plan.piece as u64 + 1;
        let reads = 2 * pieces + 2 * sent / user.buffer as u64 + sent / 4_096 + 10;
        let pause = user
            .pause
            .map_or(0, |pause| pause.nanos() + self.facts.step());
        let last = self.far.sent_at.max(self.far.ended_at.unwrap_or(0));
        let begin = last.max(opened) + nanos(user.reads_after);
        begin + reads * pause + (pieces + sent / 16_384 + 4) * self.facts.step()
    }

    /// When the program has written everything, and the client has it.
    fn output_due(&self) -> u64 {
        let user = &self.link.plan.user;
        let length = user.length() as u64;
        let waits = user.writes.iter().map(|part| match part {
            Part::Wait(wait) => wait.nanos() + self.facts.step(),
            Part::Data(_) => self.facts.step(),
        });
        let taking = match self.link.plan.taking {
            Taking::Slow(most) => (length / most as u64 + 2) * 5_000_000,
            Taking::Prompt | Taking::Stalls(_) => 0,
        };
        let opened = self.near.opened_at.unwrap_or(u64::MAX / 2);
        opened + waits.sum::<u64>() + taking + self.transfer(length)
    }
}
