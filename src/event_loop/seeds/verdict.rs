//! What each client must have got, may have missed, and why its connection has ended.

use std::collections::BTreeSet;

use super::book::Book;
use super::facts::{Facts, GRACE, TICK, nanos, slowness};
use super::peer::Peer;
use super::plan::{Manner, Reading};
use crate::conn::CloseReason;

/// Why a connection may have been closed; empty if the loop never had it.
pub(super) type Reasons = BTreeSet<usize>;

/// Fails if the client didn't get what it must. Returns why its connection may have ended.
pub(super) fn judge(facts: &Facts<'_>, peer: &Peer, book: &Book) -> Reasons {
    if is_missed(facts, peer) {
        return Reasons::new();
    }
    let accepted_at = peer.client.accepted_at().expect("it was accepted");
    let case = Case {
        facts,
        peer,
        book,
        accepted_at,
    };
    case.check_responses();
    case.check_latency();
    case.check_closing();
    case.reasons()
}

/// Whether the loop never had the client's connection. Fails if it must have had it.
pub(super) fn is_missed(facts: &Facts<'_>, peer: &Peer) -> bool {
    if peer.client.accepted_at().is_some() && !peer.is_untaken {
        return false;
    }
    // When the server stops it accepts all that wait, beyond the limit of connections, too.
    let is_late = peer.connected_at >= facts.stopped_at;
    let waited = facts.stopped_at.saturating_sub(peer.connected_at);
    let in_time = waited <= facts.bound + facts.rests();
    let may_be_missed = !facts.is_truthful && (in_time || facts.is_at_limit);
    assert!(
        is_late || may_be_missed || peer.broken_at.is_some(),
        "never accepted: {}",
        facts.show(peer)
    );
    true
}

/// One client that was accepted.
struct Case<'a> {
    facts: &'a Facts<'a>,
    peer: &'a Peer,
    book: &'a Book,
    accepted_at: u64,
}

impl Case<'_> {
    /// Each whole request gets a response, up to the last one, unless there is an excuse.
    fn check_responses(&self) {
        let Peer {
            plan, responded, ..
        } = self.peer;
        if let Some((status, at)) = self.peer.refusal {
            assert!(
                self.may_refuse(status, at),
                "refused with {status}: {}",
                self.show()
            );
        }
        if let Some(at) = self.peer.cut_short_at {
            assert!(at >= self.facts.stopped_at, "cut short: {}", self.show());
            assert!(
                self.has_served_what_had_come() || self.may_miss(),
                "whole requests were left when it stopped: {}",
                self.show()
            );
        }
        if self.was_last() || *responded == self.peer.sent_at.len() {
            return;
        }
        assert!(
            self.is_excused(),
            "request {} has no response: {}",
            plan.requests[*responded].number,
            self.show()
        );
    }

    /// Whether the server has said that nothing follows.
    fn was_last(&self) -> bool {
        self.peer.is_over
    }

    /// Whether the first complete request without a response needs none.
    fn is_excused(&self) -> bool {
        let (at, facts) = (self.peer.responded, self.facts);
        let (begun, sent) = (self.peer.begun_at[at], self.peer.sent_at[at]);
        let by = sent.max(self.accepted_at) + facts.bound + self.backlog();
        self.is_broken()
            || !self.peer.plan.reading.is_good()
            || self.may_miss() && by >= facts.stopped_at
            || sent + facts.slack >= facts.stopped_at + GRACE
            || self.is_closed_as_idle(begun)
    }

    /// Whether all requests were served that were complete when the server was stopped.
    fn has_served_what_had_come(&self) -> bool {
        let had_come = |sent: &&u64| **sent <= self.facts.stopped_at;
        self.peer.sent_at.iter().filter(had_come).count() <= self.peer.responded
    }

    /// Whether a request that waits may be missed when the server stops.
    fn may_miss(&self) -> bool {
        let facts = self.facts;
        !facts.is_truthful
            || facts.is_short
            || self.is_broken()
            || !self.peer.plan.reading.is_good()
    }

    /// Time that the client needs to take the responses before.
    fn backlog(&self) -> u64 {
        match self.peer.plan.reading {
            Reading::Slow { .. } => slowness(&self.peer.plan),
            _ => self.peer.sent_at.len() as u64 * 4_000_000,
        }
    }

    fn is_broken(&self) -> bool {
        self.peer.broken_at.is_some()
            || self.peer.client.is_faulted()
            || self.peer.client.is_reset() && self.peer.plan.is_stubborn
    }

    /// Whether the connection was closed before the loop could know of a request that began then.
    fn is_closed_as_idle(&self, begun: u64) -> bool {
        let Some(closed) = self.peer.client.closed_at() else {
            return false;
        };
        let facts = self.facts;
        let since = self.idle_since();
        let is_too_long = closed + facts.slack >= since + nanos(facts.limits.idle_timeout);
        // The loop reads once more before it acts upon a deadline.
        let one_more_turn = match facts.personality.faults.again {
            0 => 20 * facts.personality.costs.failure,
            _ => facts.bound,
        };
        let is_evictable = facts.is_evicting && closed + facts.slack >= since + EVICT_AFTER;
        is_too_long && closed <= begun + one_more_turn
            || is_evictable && closed <= begun + facts.bound
    }

    /// Since when the loop may have had nothing to do: when the handler was called for the last request with a
    /// response.
    fn idle_since(&self) -> u64 {
        let last = self.peer.responded.checked_sub(1);
        let number = last.map(|last| self.peer.plan.requests[last].number);
        let seen = number.and_then(|number| self.book.seen_at(number));
        seen.unwrap_or(self.accepted_at)
    }

    /// Whether a refusal that wasn't planned is right.
    fn may_refuse(&self, status: u16, at: u64) -> bool {
        let (facts, peer) = (self.facts, self.peer);
        let limits = facts.limits;
        match status {
            // An unfinished request, after a while; not one that the client has sent in time.
            408 => {
                let least = nanos(limits.head_timeout.min(limits.rate_window));
                let begun = peer.begun_at.get(peer.responded);
                let is_late = |begun: &u64| {
                    let sent = peer.sent_at.get(peer.responded);
                    let by = begun + least;
                    at + facts.slack >= by && sent.is_none_or(|sent| *sent + facts.bound >= by)
                };
                begun.is_some_and(is_late)
            }
            503 if facts.is_short => true,
            503 => {
                let is_turned_away = facts.keeps_listeners && peer.connected_at >= facts.stopped_at;
                let is_whole = !is_turned_away && self.was_whole_at_the_stop();
                at >= facts.stopped_at && (!is_whole || self.may_miss())
            }
            400 => peer.ended_at.is_some() && peer.sent_at.len() < peer.begun_at.len(),
            _ => false,
        }
    }

    /// Whether the next request was complete when the server was stopped.
    fn was_whole_at_the_stop(&self) -> bool {
        let sent = self.peer.sent_at.get(self.peer.responded);
        sent.is_some_and(|sent| *sent <= self.facts.stopped_at)
    }

    /// A client that sends one request at a time and takes each response at once gets it within the bound.
    fn check_latency(&self) {
        let peer = self.peer;
        let is_prompt = peer.plan.reading == Reading::Prompt;
        if !is_prompt || !matches!(peer.plan.manner, Manner::Turns(_)) || self.is_broken() {
            return;
        }
        for (at, (sent, responded)) in peer.sent_at.iter().zip(&peer.responded_at).enumerate() {
            let waited = responded.saturating_sub(*sent.max(&self.accepted_at));
            // The poller may accept a connection before the loop takes it.
            let most = match at {
                0 if self.facts.is_at_limit => continue,
                0 => self.facts.bound + self.facts.rests(),
                _ => self.facts.bound,
            };
            let show = || self.show();
            assert!(
                waited <= most,
                "{waited} ns to a response, and {most} at most: {}",
                show()
            );
        }
    }

    /// No connection is closed without a reason, and none outlives its last deadline.
    fn check_closing(&self) {
        let (peer, facts) = (self.peer, self.facts);
        let closed = peer.client.closed_at().expect("all are closed in the end");
        let quiet = peer
            .last_sent_at
            .max(peer.client.written_at())
            .max(self.accepted_at);
        let quiet = quiet.max(peer.ended_at.unwrap_or(0));
        // At the limit, the poller may have accepted it a while before the loop took it.
        let taken = peer.client.read_at().filter(|_| facts.is_at_limit);
        let quiet = quiet.max(taken.unwrap_or(0));
        // Every timer may run, one after the other, and that of the rate for one more window.
        let limits = facts.limits;
        let longest = [
            limits.head_timeout,
            limits.idle_timeout,
            limits.rate_window,
            limits.rate_window,
            limits.linger_timeout,
        ];
        let longest: u64 = longest.iter().map(|time| nanos(*time) + TICK).sum();
        let by = match peer.ended_at {
            Some(_) if peer.plan.reading.is_good() => quiet + self.backlog(),
            _ => quiet + longest,
        };
        let is_known = closed <= by + facts.bound + self.backlog();
        assert!(
            is_known || closed >= facts.stopped_at,
            "open for too long: {}",
            self.show()
        );
        if closed >= facts.stopped_at
            || self.is_broken()
            || peer.ended_at.is_some()
            || self.was_last()
        {
            return;
        }
        let is_slow = !peer.plan.reading.is_good();
        let idle = nanos(limits.idle_timeout);
        let is_idle = closed + facts.slack >= self.idle_since() + idle;
        let is_evictable = facts.is_evicting;
        assert!(
            is_slow || is_idle || is_evictable,
            "closed without a reason: {}",
            self.show()
        );
    }

    /// Why the connection may have been closed.
    fn reasons(&self) -> Reasons {
        let (peer, facts) = (self.peer, self.facts);
        let closed = peer.client.closed_at().unwrap_or(u64::MAX);
        let mut reasons = BTreeSet::new();
        let was_stopped = closed >= facts.stopped_at;
        if self.is_broken() || !peer.plan.reading.is_good() {
            // What the server has seen of it isn't known.
            return (0..CloseReason::ALL.len()).collect();
        }
        let mut may = |reason: CloseReason| {
            reasons.insert(reason.index());
        };
        if was_stopped {
            may(CloseReason::Stopped);
        }
        match peer.refusal {
            Some((408, _)) => {
                may(CloseReason::HeadTimeout);
                may(CloseReason::BodyTimeout);
                return reasons;
            }
            Some((503, _)) => {
                if facts.is_short {
                    may(CloseReason::Overloaded);
                }
                // A request may have said close, too.
                self.planned_last().into_iter().for_each(may);
                return reasons;
            }
            Some(_) => {
                may(CloseReason::IncompleteRequest);
                return reasons;
            }
            None => {}
        }
        let last = peer
            .responded
            .checked_sub(1)
            .and_then(|last| peer.plan.requests[last].last);
        if let Some(last) = last {
            may(last);
            if peer.sent_at.len() < peer.responded && peer.ended_at.is_some() {
                // It ended before it was known to be malformed.
                may(CloseReason::IncompleteRequest);
            }
            return reasons;
        }
        if peer.ended_at.is_some() {
            may(CloseReason::ClientClosed);
        }
        if closed + facts.slack >= self.idle_since() + nanos(facts.limits.idle_timeout) {
            may(CloseReason::IdleTimeout);
        }
        if facts.is_evicting {
            may(CloseReason::Evicted);
        }
        reasons
    }

    fn planned_last(&self) -> Option<CloseReason> {
        self.peer.plan.requests.get(self.peer.responded)?.last
    }

    fn show(&self) -> String {
        self.facts.show(self.peer)
    }
}

/// An idle connection is not closed for a new one before this.
const EVICT_AFTER: u64 = 100_000_000;
