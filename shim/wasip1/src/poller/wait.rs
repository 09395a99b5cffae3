//! One wait: polls as the planner says, and decides which events to report.
//!
//! Certain events are reported at once. Uncertain ones are reported now and then, so that the caller tries the
//! call; or parts of them are polled again to find those that are ready (`narrow_down`).

use poll_turns::{Found, Plan};

use super::poll::{SlotReport, sleep};
use super::slots::Kind;
use super::tries::{LISTENER_INTERVAL, max_immediate_poll, resolve_interval};
use super::{Poller, Ready, RuntimeKind};
use crate::errno::Errno;
use crate::wasi::Wasi;

impl<W: Wasi> Poller<W> {
    pub(super) fn wait_for(&mut self, ready: &mut Vec<Ready>, timeout: u64) -> Result<(), Errno> {
        if self.runtime_kind == RuntimeKind::Unknown {
            self.runtime_kind = self.detect_blindness();
        }
        let start = self.now();
        let deadline = start.saturating_add(timeout);
        if self.planner.begin_wait(start) {
            self.without_progress = 0;
            self.sleep.progress(start);
        }
        let before = ready.len();
        self.report_known(ready);
        let mut now = start;
        let mut first = true;
        while ready.len() == before && (now < deadline || std::mem::take(&mut first)) {
            let left = deadline.saturating_sub(now);
            let result = match self.runtime_kind {
                RuntimeKind::Blind => self.wait_by_trying(now, left, ready),
                RuntimeKind::ChecksSockets | RuntimeKind::Unknown => {
                    self.poll_as_planned(now, left, ready)
                }
            };
            match result {
                Ok(()) => self.failures = 0,
                Err(Errno::INTR) => return Ok(()),
                Err(errno) => self.recover(errno, ready)?,
            }
            self.report_known(ready);
            // If the clock fails, the time that is left isn't known. With an older time the wait would begin again.
            let Ok(after) = self.read_clock() else {
                return Ok(());
            };
            now = after;
        }
        Ok(())
    }

    /// Asks the planner what to poll, and polls that.
    fn poll_as_planned(
        &mut self,
        now: u64,
        left: u64,
        ready: &mut Vec<Ready>,
    ) -> Result<(), Errno> {
        let slept = self.slow_down(now, left);
        let (now, left) = (now + slept, left.saturating_sub(slept));
        match self.planner.plan(now, left) {
            Plan::Busy { wait } => self.poll_busy(now, wait, ready),
            Plan::BusyThenIdle { wait, window } => {
                self.poll_busy(now, wait, ready)?;
                self.poll_some_idle(window, ready)
            }
            Plan::All { wait } => {
                let found = self.poll_all(now, wait, ready)?;
                self.planner.polled_all(found);
                Ok(())
            }
        }
    }

    /// Sleeps if many waits in a row have reported events without any progress: they must not become a busy loop.
    /// Returns how long that took.
    fn slow_down(&self, now: u64, left: u64) -> u64 {
        if self.without_progress <= MAX_WITHOUT_PROGRESS {
            return 0;
        }
        let nanos = MIN_SLEEP << (self.without_progress - MAX_WITHOUT_PROGRESS).min(8);
        sleep(&self.wasi, nanos.min(MAX_SLEEP).min(left));
        self.now().saturating_sub(now)
    }

    /// Polls the busy connections and the listeners, or reports them without a poll.
    fn poll_busy(&mut self, now: u64, wait: u64, ready: &mut Vec<Ready>) -> Result<(), Errno> {
        if self.speculate(now, ready) {
            return Ok(());
        }
        self.list_busy();
        if self.poll(wait)? {
            self.report_busy(now, ready)?;
        }
        Ok(())
    }

    /// Polls all connections, unless a busy one is ready.
    fn poll_all(&mut self, now: u64, wait: u64, ready: &mut Vec<Ready>) -> Result<Found, Errno> {
        if !self.planner.busy().is_empty() {
            self.list_busy();
            if self.poll(0)? {
                self.report_busy(now, ready)?;
                let (busy, idle) = (true, false);
                return Ok(Found { busy, idle });
            }
        }
        self.poll.list.clear();
        self.poll.list.extend(self.slots.polled());
        let start = self.now();
        if !self.poll(wait)? {
            self.resolved_at = self.now();
            return Ok(Found::default());
        }
        let now = self.now();
        let longest = max_immediate_poll(self.planner.poll_cost(), self.planner.idle());
        if now.saturating_sub(start) > longest {
            self.resolved_at = now;
        }
        self.report_poll_of_all(now, ready)
    }

    /// Polls the next `count` idle connections, without waiting.
    fn poll_some_idle(&mut self, count: usize, ready: &mut Vec<Ready>) -> Result<(), Errno> {
        self.poll.list.clear();
        self.list_idle(count);
        let count = self.poll.list.len();
        if count == 0 {
            return Ok(());
        }
        let before = self.now();
        let is_any_ready = self.poll(0)?;
        let took = self.now().saturating_sub(before);
        self.planner.polled_idle(count, took, is_any_ready);
        if is_any_ready {
            // A connection that is ready here has waited for a whole cycle. So all of them are found now.
            let uncertain = self.report_certain(ready);
            self.narrow_down(uncertain, ready)?;
        }
        Ok(())
    }

    /// Fills the list with the busy connections and the listeners.
    pub(super) fn list_busy(&mut self) {
        self.poll.list.clear();
        self.poll.list.extend_from_slice(self.slots.listeners());
        self.poll.list.extend_from_slice(self.planner.busy());
    }

    /// Adds the next `count` idle connections to the list.
    pub(super) fn list_idle(&mut self, count: usize) {
        let is_polled = |index| self.slots.at(index).is_polled();
        self.planner
            .next_idle(count, is_polled, &mut self.poll.list);
    }

    /// Polls the list. Returns whether anything was reported.
    fn poll(&mut self, wait: u64) -> Result<bool, Errno> {
        self.poll.run(&self.wasi, &mut self.slots, wait)
    }

    /// Reports what a poll of the busy connections and the listeners has found.
    fn report_busy(&mut self, now: u64, ready: &mut Vec<Ready>) -> Result<(), Errno> {
        if self.poll.reports.iter().all(|report| !report.certain) {
            self.report_uncertain(ready)?;
            return Ok(());
        }
        let every = self.tries.interval(self.poll.reports.len());
        let mut streams = 0;
        for report in &self.poll.reports {
            let slot = self.slots.at(report.index);
            let every = if slot.kind == Kind::Listener {
                LISTENER_INTERVAL
            } else {
                streams += usize::from(report.certain);
                every
            };
            if report.certain || slot.is_due(now, every) {
                self.slots.record_try(report.index, now);
                ready.push(report.ready);
            }
        }
        let busy = self.planner.busy().len();
        self.speculation.polled(streams, busy, self.tries.cost());
        Ok(())
    }

    /// Reports what a poll of all connections has found.
    fn report_poll_of_all(&mut self, now: u64, ready: &mut Vec<Ready>) -> Result<Found, Errno> {
        if self.poll.reports.iter().all(|report| !report.certain) {
            self.resolved_at = now;
            let idle = self.report_uncertain(ready)?;
            return Ok(Found { busy: false, idle });
        }
        let busy_interval = self.tries.interval(self.planner.busy().len());
        let resolve_after = resolve_interval(self.planner.poll_cost(), self.planner.idle());
        let resolve = now.saturating_sub(self.resolved_at) >= resolve_after;
        let mut found = Found::default();
        let mut uncertain = Vec::new();
        for report in &self.poll.reports {
            let slot = self.slots.at(report.index);
            let is_idle = self.planner.is_idle(report.index);
            let is_due = match slot.kind {
                Kind::Listener => slot.is_due(now, LISTENER_INTERVAL),
                _ => !is_idle && slot.is_due(now, busy_interval),
            };
            found.busy |= report.certain && !is_idle;
            if report.certain || is_due {
                found.idle |= is_idle;
                self.slots.record_try(report.index, now);
                ready.push(report.ready);
            } else if resolve {
                uncertain.push(*report);
            }
        }
        if resolve {
            self.resolved_at = now;
            found.idle |= self.narrow_down(uncertain, ready)?;
        }
        Ok(found)
    }

    /// Finds and reports what is ready when all events are uncertain. Returns whether an idle connection was
    /// reported.
    fn report_uncertain(&mut self, ready: &mut Vec<Ready>) -> Result<bool, Errno> {
        let is_listener = |report: &&SlotReport| self.slots.at(report.index).kind == Kind::Listener;
        let listeners = self.poll.reports.iter().filter(is_listener).count();
        let streams = self.poll.reports.len() - listeners;
        // A new connection is the most likely reason. But if that was tried the last time, look among the streams.
        let only_listeners =
            listeners > 0 && !self.reported_only_listeners && streams > FEW_UNCERTAIN;
        self.reported_only_listeners = only_listeners;
        let mut uncertain = Vec::new();
        for report in &self.poll.reports {
            if streams <= FEW_UNCERTAIN || is_listener(&report) {
                ready.push(report.ready);
            } else if !only_listeners {
                uncertain.push(*report);
            }
        }
        self.narrow_down(uncertain, ready)
    }

    /// Finds what is ready among uncertain events: polls an eighth of them at a time, and divides the parts that
    /// report something further. Returns whether an idle connection was reported.
    fn narrow_down(
        &mut self,
        uncertain: Vec<SlotReport>,
        ready: &mut Vec<Ready>,
    ) -> Result<bool, Errno> {
        let mut found_idle = false;
        let mut parts = vec![uncertain];
        while let Some(part) = parts.pop() {
            if part.len() <= FEW_UNCERTAIN {
                found_idle |= part.iter().any(|report| self.planner.is_idle(report.index));
                ready.extend(part.iter().map(|report| report.ready));
                continue;
            }
            for chunk in part.chunks(part.len().div_ceil(8).max(FEW_UNCERTAIN)) {
                self.poll.list.clear();
                self.poll
                    .list
                    .extend(chunk.iter().map(|report| report.index));
                if self.poll(0)? {
                    let before = ready.len();
                    parts.push(self.report_certain(ready));
                    let certain =
                        |report: &SlotReport| report.certain && self.planner.is_idle(report.index);
                    found_idle |= ready.len() > before && self.poll.reports.iter().any(certain);
                }
            }
        }
        Ok(found_idle)
    }

    /// Reports the certain events. Returns the others.
    fn report_certain(&self, ready: &mut Vec<Ready>) -> Vec<SlotReport> {
        let (certain, uncertain): (Vec<SlotReport>, Vec<SlotReport>) =
            self.poll.reports.iter().partition(|report| report.certain);
        ready.extend(certain.iter().map(|report| report.ready));
        uncertain
    }

    /// Reports what is known without a poll: evictions, and listeners with connections that are already accepted.
    pub(super) fn report_known(&mut self, ready: &mut Vec<Ready>) {
        for index in std::mem::take(&mut self.slots.evicted) {
            let slot = self.slots.at(index);
            let closed = Ready {
                readable: true,
                // So that an owner which only waits for room to write gets the event, too.
                writable: slot.interest.write,
                read_closed: true,
                error: Some(Errno::BADF),
                ..slot.nothing_ready()
            };
            ready.push(closed);
        }
        for &index in self.slots.listeners() {
            let slot = self.slots.at(index);
            if slot.is_polled() && self.accepted.has(index) {
                let acceptable = Ready {
                    readable: true,
                    ..slot.nothing_ready()
                };
                if !contains(ready, &acceptable) {
                    ready.push(acceptable);
                }
            }
        }
    }

    /// Handles a poll that has failed as a whole: evicts bad file descriptors, or reports everything.
    fn recover(&mut self, errno: Errno, ready: &mut Vec<Ready>) -> Result<(), Errno> {
        if errno == Errno::BADF {
            let before = self.slots.evicted.len();
            for &index in &self.poll.list {
                let slot = self.slots.at(index);
                if slot.is_polled() && self.wasi.fd_fdstat_get(slot.fd) == Err(Errno::BADF) {
                    poll_turns::log::debug!(
                        "fd {} isn't open; its registration is evicted",
                        slot.fd
                    );
                    self.slots.evict(index);
                }
            }
            if self.slots.evicted.len() > before {
                return Ok(());
            }
        }
        self.failures += 1;
        if self.failures >= MAX_FAILURES {
            return Err(errno);
        }
        poll_turns::log::debug!("poll_oneoff: {errno}; reports all connections instead");
        sleep(&self.wasi, SLEEP_AFTER_FAILURE);
        let reported = ready.len();
        self.report_all_interests(ready);
        // Some may have been reported before this poll failed. They are not reported twice.
        let mut fresh = ready.split_off(reported);
        fresh.retain(|it| !contains(ready, it));
        ready.append(&mut fresh);
        Ok(())
    }

    /// Reports every direction of interest, when there is no way to know which are ready.
    pub(super) fn report_all_interests(&self, ready: &mut Vec<Ready>) {
        let polled = self.slots.polled();
        ready.extend(polled.map(|index| self.slots.at(index).all_interests()));
    }
}

/// Whether there is an entry for the same registration.
fn contains(ready: &[Ready], wanted: &Ready) -> bool {
    ready
        .iter()
        .any(|it| it.token == wanted.token && it.listener == wanted.listener)
}

/// How many waits in a row may report events without any progress before they begin to sleep. One try shows that a
/// spurious event was spurious, so this many in a row mean a fault. Half would slow down a server that gets a few
/// spurious events in a row; double costs eight more calls.
const MAX_WITHOUT_PROGRESS: u32 = 8;

/// The first and the longest of these sleeps, in nanoseconds; each is twice as long as the one before.
/// At 5 ms, a fault costs less than 1 % of a core, and clients that are served meanwhile hardly notice.
const MIN_SLEEP: u64 = 20_000;
const MAX_SLEEP: u64 = 5_000_000;

/// Up to this many uncertain events are reported instead of being polled in parts. 16 tries cost about as much as
/// one more poll and the tries after it. At half there is one more poll; at double there are needless tries.
const FEW_UNCERTAIN: usize = 16;

/// After this many failed polls in a row, the wait fails. With the sleeps, this is after a tenth of a second. If the
/// host is short of memory for less than that, the server goes on.
const MAX_FAILURES: u32 = 100;

/// How long to sleep after a failed poll, in nanoseconds, so that failures don't become a busy loop.
const SLEEP_AFTER_FAILURE: u64 = 1_000_000;
