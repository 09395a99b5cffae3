//! What each client must have got, and why its connection may have ended, where bodies stream.

use std::time::Duration;

use super::script::{Outcome, Script};
use super::watch::Watch;
use crate::conn::CloseReason;
use crate::event_loop::seeds::facts::{Facts, TICK, nanos, slowness};
use crate::event_loop::seeds::peer::Peer;
use crate::event_loop::seeds::plan::{Ending, Manner};
use crate::event_loop::seeds::requests::Planned;
use crate::event_loop::seeds::verdict::{Reasons, is_missed};

/// Fails if the client didn't get what it must. Returns why its connection may have ended.
pub(in crate::event_loop::seeds) fn judge(
    facts: &Facts<'_>,
    peer: &Peer,
    watch: &Watch,
    within: Duration,
) -> Reasons {
    if is_missed(facts, peer) {
        return Reasons::new();
    }
    let closed = peer.client.closed_at();
    let case = Case {
        facts,
        peer,
        watch,
        closed: closed.expect("all are closed in the end"),
        cut_at: facts.stopped_at + nanos(within),
    };
    case.check_refusal();
    case.check_whole_requests();
    case.check_latency();
    case.check_drops();
    case.check_room();
    case.check_drained();
    case.check_continued();
    case.reasons()
}

/// One client that was accepted.
struct Case<'a> {
    facts: &'a Facts<'a>,
    peer: &'a Peer,
    watch: &'a Watch,
    closed: u64,
    /// The deadline of the stop, at which everything is dropped.
    cut_at: u64,
}

impl Case<'_> {
    /// A refusal that wasn't planned has a cause.
    fn check_refusal(&self) {
        let Some((status, at)) = self.peer.refusal else {
            return;
        };
        let (facts, peer) = (self.facts, self.peer);
        let is_right = match status {
            408 if self.may_pause() => false,
            408 => at + facts.slack >= self.begun() + self.least_timeout(),
            503 => {
                facts.is_short
                    || facts.limits.handler_timeout.is_some()
                    || at + facts.slack >= facts.stopped_at
            }
            400 => peer.ended_at.is_some() && !self.has_whole_request(),
            _ => false,
        };
        assert!(is_right, "refused with {status}: {}", self.show());
    }

    /// A whole request has its response, or its connection has ended for a reason.
    fn check_whole_requests(&self) {
        if self.peer.is_over || !self.has_whole_request() || self.is_excused() {
            return;
        }
        let planned = self.next().expect("a whole request");
        let saw_end = self.peer.saw_end_at.is_some_and(|at| at < self.closed);
        let is_cut = self.closed + self.facts.slack >= self.cut_at && !saw_end;
        let is_late = self.closed >= self.facts.stopped_at
            && self.peer.sent_at[self.peer.responded] + self.facts.slack >= self.facts.stopped_at;
        assert!(
            is_cut || is_late || self.may_end(planned),
            "request {} has no response: {}",
            planned.number,
            self.show()
        );
        assert!(
            !is_cut || self.is_slow(),
            "request {} had time enough: {}",
            planned.number,
            self.show()
        );
    }

    /// Whether the connection may end before the response to this request does.
    fn may_end(&self, planned: &Planned) -> bool {
        let script = planned.script();
        let before = self.peer.responded.checked_sub(1);
        let closes =
            |planned: &Planned| leaves_body(planned) || !planned.script().is_complete(planned);
        !script.is_complete(planned)
            || self.peer.ended_at.is_some() && self.waits_long(script)
            || self.facts.is_evicting
            || before.is_some_and(|at| closes(&self.peer.plan.requests[at]))
            || self.is_closed_as_idle()
    }

    fn is_closed_as_idle(&self) -> bool {
        let idle = nanos(self.facts.limits.idle_timeout);
        let begun = self.peer.begun_at.get(self.peer.responded);
        let since = self.peer.responded_at.last().copied().unwrap_or(0);
        self.closed + self.facts.slack >= since + idle
            && begun.is_some_and(|begun| self.closed <= begun + self.facts.bound)
    }

    /// Whether the response to a whole request may not be there when the time to stop is over.
    fn is_slow(&self) -> bool {
        let at = self.peer.sent_at[self.peer.responded];
        let is_queued = self.facts.limits.max_requests < 100 || self.facts.is_at_limit;
        let up_to_it = &self.peer.plan.requests[..=self.peer.responded];
        !up_to_it
            .iter()
            .all(|planned| planned.script().ends(planned))
            || is_queued
            || at.max(self.accepted()) + self.backlog() >= self.cut_at
    }

    /// Time for all responses up to the next one, one after the other.
    fn backlog(&self) -> u64 {
        let requests = &self.peer.plan.requests[..=self.peer.responded];
        let each = requests.iter().map(|planned| self.longest(planned));
        each.sum()
    }

    /// The longest that a response may take.
    fn longest(&self, planned: &Planned) -> u64 {
        let (waits, count) = planned.script().duration(planned.body.len());
        let writes = planned.response.len() as u64 / self.facts.limits.max_pending_output as u64;
        let writes = writes.min(planned.script().parts_count());
        // A slow client takes its time; the other ones check every 2 ms.
        let taken = slowness(&self.peer.plan);
        waits + (count + writes + 2) * (self.facts.bound + STEP) + taken
    }

    /// A prompt client has its response when the handler's waits are over.
    fn check_latency(&self) {
        let (peer, facts) = (self.peer, self.facts);
        let is_turns = matches!(peer.plan.manner, Manner::Turns(_));
        let is_free = facts.limits.max_requests >= 100 && !facts.is_at_limit && !facts.is_short;
        if self.is_excused() || !is_turns || !is_free {
            return;
        }
        let times = peer.sent_at.iter().zip(&peer.responded_at);
        // The response before, if it announces nothing, looks complete before its handler has ended.
        let mut before = 0;
        for ((sent, responded), planned) in times.zip(&peer.plan.requests) {
            let waited = responded.saturating_sub(*sent.max(&self.accepted()));
            let longest = self.longest(planned);
            let most = before + longest + facts.rests();
            before = longest;
            assert!(
                waited <= most,
                "{waited} ns to the response to {}, and {most} at most: {}",
                planned.number,
                self.show()
            );
        }
    }

    /// What a request owns is dropped when its connection is closed, and that is soon after the client is gone.
    fn check_drops(&self) {
        let (peer, facts) = (self.peer, self.facts);
        // The poller may find later that a file descriptor was closed behind its back.
        let checked = peer.plan.requests.iter().filter(|_| !peer.was_stolen());
        for planned in checked {
            if let Some(owned) = self.watch.owned(planned.number) {
                assert!(
                    owned.dropped_at <= self.closed + facts.slack + STEP,
                    "something of request {} was left until {}: {}",
                    planned.number,
                    owned.dropped_at,
                    self.show()
                );
            }
        }
        let sent_little = peer.sent < 60_000 && !facts.is_short;
        let is_read = facts.limits.max_requests >= 100 && sent_little;
        if let (Some(at), Ending::Resets(_), true) = (peer.broken_at, peer.plan.ending, is_read) {
            let since = at.max(self.accepted());
            assert!(
                facts.is_at_limit || self.closed <= since + facts.bound + facts.rests() + STEP,
                "the client was gone at {at}: {}",
                self.show()
            );
        }
    }

    /// A body produces no more than there is room for.
    fn check_room(&self) {
        // At a reset, the bytes that are on their way are lost.
        if self.peer.broken_at.is_some() || self.peer.client.is_reset() {
            return;
        }
        for (at, planned) in self
            .peer
            .plan
            .requests
            .iter()
            .enumerate()
            .skip(self.peer.responded)
        {
            let produced = self
                .watch
                .owned(planned.number)
                .map_or(0, |owned| owned.produced);
            let taken = match at == self.peer.responded {
                true => self.peer.received,
                false => 0,
            };
            let most = taken + UNTAKEN + self.facts.limits.max_pending_output as u64;
            assert!(
                produced <= most && (produced == 0 || planned.may_have_body()),
                "the body of {} produced {produced} bytes, {most} at most: {}",
                planned.number,
                self.show()
            );
        }
    }

    /// No request is handled after a long body that the handler has never polled.
    fn check_drained(&self) {
        for pair in self.peer.plan.requests.windows(2) {
            let is_left = pair[0].script().never_polls_body() && pair[0].body.len() >= LONG;
            assert!(
                !is_left || self.watch.owned(pair[1].number).is_none(),
                "request {} is handled after an unread body: {}",
                pair[1].number,
                self.show()
            );
        }
    }

    /// `100 Continue` is sent when the body is first polled.
    fn check_continued(&self) {
        let requests = self.peer.plan.requests.iter().enumerate();
        for (at, planned) in requests.filter(|(_, planned)| planned.asks()) {
            let polled = self.watch.owned(planned.number).and_then(|it| it.polled_at);
            let exceeds = planned.has_length() && planned.script().exceeds_limit(planned);
            if let Some(continued) = self.peer.continued_at.get(&at) {
                assert!(
                    polled.is_some_and(|polled| polled <= *continued) && !exceeds,
                    "100 Continue for {} at {continued}, polled at {polled:?}: {}",
                    planned.number,
                    self.show()
                );
            } else if let Some(polled) = polled.filter(|_| !exceeds && self.must_continue(at)) {
                let by = polled + self.facts.bound + self.facts.rests() + STEP;
                let sent = self.peer.sent_at.get(at).copied();
                assert!(
                    sent.unwrap_or(self.closed) <= by,
                    "no 100 Continue for {}, polled at {polled}: {}",
                    planned.number,
                    self.show()
                );
            }
        }
    }

    /// Whether the client waits for `100 Continue`, and must get it when the body is polled.
    fn must_continue(&self, at: usize) -> bool {
        let is_held_back = self.peer.plan.requests[at].held_back.is_some();
        is_held_back && !self.facts.is_short && !self.is_excused()
    }

    /// Whether the handler has the request, and has allowed its client any pause.
    fn may_pause(&self) -> bool {
        self.next().is_some_and(|planned| {
            let script = planned.script();
            let is_begun = self.watch.owned(planned.number).is_some();
            is_begun && script.rate == Some(0) && script.takes_all()
        })
    }

    /// Why the connection may have been closed.
    fn reasons(&self) -> Reasons {
        let (peer, facts) = (self.peer, self.facts);
        if self.is_excused() {
            return (0..CloseReason::ALL.len()).collect();
        }
        let mut reasons = Reasons::new();
        let mut may = |is_so: bool, reason: CloseReason| {
            if is_so {
                reasons.insert(reason.index());
            }
        };
        let last = peer
            .responded
            .checked_sub(1)
            .map(|at| &*peer.plan.requests[at]);
        let next = self.next().filter(|_| peer.begun_at.len() > peer.responded);
        for planned in [last, next].into_iter().flatten() {
            planned
                .last
                .into_iter()
                .for_each(|reason| may(true, reason));
            let is_complete = planned.script().is_complete(planned);
            may(!is_complete, CloseReason::ResponseFailed);
            may(leaves_body(planned), CloseReason::BodyUnread);
            may(
                planned.wire.starts_with(b"GET") && is_old(planned),
                CloseReason::Http10,
            );
        }
        may(
            self.closed + facts.slack >= facts.stopped_at,
            CloseReason::Stopped,
        );
        let has_ended = peer.ended_at.is_some();
        may(
            has_ended && !self.has_whole_request(),
            CloseReason::ClientClosed,
        );
        may(has_ended, CloseReason::IncompleteRequest);
        // A response that announces nothing looks complete before its body has ended.
        let unended = last.filter(|planned| planned.script().announces_nothing());
        let is_given_up = |planned: &Planned| self.waits_long(planned.script());
        may(
            has_ended && [unended, next].into_iter().flatten().any(is_given_up),
            CloseReason::HalfClosedTimeout,
        );
        may(
            next.is_some() && facts.limits.handler_timeout.is_some(),
            CloseReason::HandlerTimeout,
        );
        let is_late = self.closed + facts.slack >= self.begun() + self.least_timeout();
        may(is_late && next.is_some(), CloseReason::HeadTimeout);
        may(is_late, CloseReason::BodyTimeout);
        let since = peer.responded_at.last().copied().unwrap_or(self.accepted());
        let idle = nanos(facts.limits.idle_timeout);
        may(
            self.closed + facts.slack >= since + idle,
            CloseReason::IdleTimeout,
        );
        may(facts.is_evicting, CloseReason::Evicted);
        may(facts.is_short, CloseReason::Overloaded);
        reasons
    }

    /// Whether the client has made it impossible to say what it must get.
    fn is_excused(&self) -> bool {
        self.peer.broken_at.is_some()
            || self.peer.client.is_faulted()
            || self.peer.client.is_reset()
            || !self.peer.plan.reading.is_good()
            || self.peer.is_untaken
    }

    /// The first request without a response.
    fn next(&self) -> Option<&Planned> {
        self.peer
            .plan
            .requests
            .get(self.peer.responded)
            .map(|it| &**it)
    }

    fn has_whole_request(&self) -> bool {
        self.peer.responded < self.peer.sent_at.len()
    }

    /// When the first request without a response began.
    fn begun(&self) -> u64 {
        let begun = self.peer.begun_at.get(self.peer.responded);
        let last = self.peer.responded.checked_sub(1);
        let last = last.and_then(|last| self.peer.begun_at.get(last));
        begun.or(last).copied().unwrap_or(u64::MAX / 2)
    }

    fn least_timeout(&self) -> u64 {
        let limits = self.facts.limits;
        nanos(limits.head_timeout.min(limits.rate_window))
    }

    /// Whether a client that has ended its stream may be given up.
    fn waits_long(&self, script: &Script) -> bool {
        let limit = nanos(self.facts.limits.half_closed_timeout);
        let ended = self.peer.ended_at.unwrap_or(u64::MAX / 2);
        script.outcome != Outcome::Panic && self.closed + self.facts.slack + TICK >= ended + limit
    }

    fn accepted(&self) -> u64 {
        self.peer.client.accepted_at().unwrap_or(0)
    }

    fn show(&self) -> String {
        let next = self
            .next()
            .map(|planned| (&planned.script, planned.body.len()));
        format!("{next:?}\n{}", self.facts.show(self.peer))
    }
}

/// Whether the request's body may be left unread: because it is too long to be drained, or its client waits for
/// `100 Continue`.
fn leaves_body(planned: &Planned) -> bool {
    !planned.script().takes_all() && (planned.asks() || planned.body.len() > 60_000)
}

fn is_old(planned: &Planned) -> bool {
    planned.wire.windows(8).any(|bytes| bytes == b"HTTP/1.0")
}

/// This much of a body is never received if the handler doesn't want it: 64 KiB wait, and 64 KiB are drained.
const LONG: usize = 200_000;

/// What the loop may take for one step beyond the bound: a sleep ends up to 2 ms too late, and the client
/// checks every 2 ms.
const STEP: u64 = 6_000_000;

/// The most that a response's body may produce beyond what the client has taken and what the connection may hold:
/// one batch of 64 KiB with a part after it, and what the client's system has taken.
const UNTAKEN: u64 = (64 << 10) + 18_000 + 30_000;
