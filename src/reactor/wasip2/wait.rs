//! One wait: makes the lists of pollables, polls them as the planner says, and turns what is ready into events.

use std::time::Duration;

use poll_turns::{Found, Plan};

use super::Wasip2Reactor;
use super::alarm::End;
use super::calls::{self, Name};
use super::coop_budget::CoopBudget;
use super::sources::Source;
use crate::reactor::{Event, Reactor, Readiness};
use crate::time::Instant;

/// Which source or listener a pollable of the list belongs to, by slot or number.
#[derive(Clone, Copy, Debug)]
pub(super) enum Owner {
    Alarm,
    Listener(u32),
    Read(u32),
    Write(u32),
}

impl Wasip2Reactor {
    /// A poll that reports at least this many sockets may have left out others that are ready.
    ///
    /// In wasmtime, a poll reports at most as many sockets as the [`CoopBudget`] permits, and always those
    /// of the oldest streams. The ones after them in the list would never be reported. So after a full report,
    /// the sources in it are skipped by the following polls, until one reports fewer.
    ///
    /// [`CoopBudget`]: super::coop_budget::CoopBudget
    const FULL_REPORT: usize = CoopBudget::MIN_FOR_POLL;
    /// The longest wait, also without a timeout: polling an empty list is fatal, so a clock is always in it.
    const MAX_WAIT: Duration = Duration::from_secs(3600);

    /// Polls until there are events, a lingering stream was dropped, or `timeout` has passed.
    pub(super) fn wait_for(&mut self, events: &mut Vec<Event>, timeout: Duration) {
        let mut now = calls::now();
        let deadline = Instant::from_nanos(now) + timeout.min(Self::MAX_WAIT);
        self.planner.begin_wait(now);
        let lingering = self.lingering();
        loop {
            let left = deadline.as_nanos().saturating_sub(now);
            self.poll_as_planned(now, left, events);
            now = calls::now();
            // There may be room for a new connection now.
            let has_dropped = self.lingering() < lingering;
            if !events.is_empty() || has_dropped || now >= deadline.as_nanos() {
                self.planner.end_wait(now);
                return;
            }
        }
    }

    /// Asks the planner what to poll, and polls that.
    fn poll_as_planned(&mut self, now: u64, left: u64, events: &mut Vec<Event>) {
        let plan = self.planner.plan(now, left);
        let mut list = std::mem::take(&mut self.list);
        list.clear();
        list.extend_from_slice(self.planner.busy());
        match plan {
            Plan::Busy { wait } => {
                self.poll_fairly(&list, End::after(now, wait), events);
            }
            Plan::BusyThenIdle { wait, window } => {
                self.poll_fairly(&list, End::after(now, wait), events);
                self.poll_some_idle(window, &mut list, events);
            }
            Plan::All { wait } => {
                let mut found = Found::default();
                if !list.is_empty() {
                    found = self.poll_fairly(&list, End::Now, events);
                }
                if found == Found::default() {
                    list.clear();
                    list.extend(self.planner.all());
                    found = self.poll_fairly(&list, End::after(now, wait), events);
                }
                self.planner.polled_all(found);
            }
        }
        self.list = list;
    }

    /// Polls the next `count` idle connections, without waiting.
    fn poll_some_idle(&mut self, count: usize, list: &mut Vec<u32>, events: &mut Vec<Event>) {
        list.clear();
        let sources = &self.sources;
        let wanted = |slot: u32| {
            let source = sources.at(slot as usize);
            source.is_some_and(Source::is_polled)
        };
        self.planner.next_idle(count, wanted, list);
        if list.is_empty() {
            return;
        }
        let before = calls::now();
        let found = self.poll(list, End::Now, events);
        let took = calls::now().saturating_sub(before);
        let is_any_ready = found != Found::default();
        self.planner.polled_idle(list.len(), took, is_any_ready);
    }

    /// Polls the listeners and the sources at `slots`, and makes events of what is ready.
    fn poll(&mut self, slots: &[u32], end: End, events: &mut Vec<Event>) -> Found {
        // Sources that are skipped may be ready: don't wait.
        let end = match (end, self.skipped.is_empty()) {
            (End::After(now, _), false) => End::After(now, Duration::ZERO),
            (end, _) => end,
        };
        self.alarm.set(end);
        let mut list = Vec::with_capacity(1 + self.listeners.len() + 2 * slots.len());
        self.owners.clear();
        list.extend(self.alarm.pollable(end));
        self.owners.push(Owner::Alarm);
        for (number, listener) in (0..).zip(&self.listeners) {
            if let Some(listener) = listener.as_ref().filter(|it| it.is_accepting) {
                list.push(&listener.acceptable);
                self.owners.push(Owner::Listener(number));
            }
        }
        for &slot in slots {
            let source = self.sources.at(slot as usize);
            if let Some(source) = source.filter(|source| !source.is_skipped) {
                if let Some(pollable) = source.to_read() {
                    list.push(pollable);
                    self.owners.push(Owner::Read(slot));
                }
                if let Some(pollable) = source.to_write() {
                    list.push(pollable);
                    self.owners.push(Owner::Write(slot));
                }
            }
        }
        self.coop_budget.before_poll();
        let ready = calls::poll(&list, |at| self.name(at));
        let mut found = Found::default();
        let is_full_report = ready.len() >= Self::FULL_REPORT;
        self.coop_budget.spend(ready.len());
        for at in ready {
            match self.owners.get(at as usize) {
                Some(Owner::Listener(number)) => {
                    let event = Event::Listener(*number as usize);
                    // Two polls of one wait may report it.
                    if !events.contains(&event) {
                        found.busy = true;
                        events.push(event);
                    }
                }
                Some(&Owner::Read(slot)) => {
                    self.mark_ready(slot, |readiness| readiness.readable = true)
                }
                Some(&Owner::Write(slot)) => {
                    self.mark_ready(slot, |readiness| readiness.writable = true)
                }
                Some(Owner::Alarm) | None => {}
            }
        }
        self.report(found, events, is_full_report)
    }

    /// Polls all sources, or the busy ones. Afterwards no source is skipped any more, unless this poll had a full
    /// report.
    fn poll_fairly(&mut self, slots: &[u32], end: End, events: &mut Vec<Event>) -> Found {
        let before = self.skipped.len();
        let found = self.poll(slots, end, events);
        if self.skipped.len() == before {
            for slot in self.skipped.drain(..) {
                if let Some(source) = self.sources.at_mut(slot as usize) {
                    source.is_skipped = false;
                }
            }
        }
        found
    }

    /// The name of an entry of the list, for the log.
    fn name(&self, at: usize) -> Name {
        let of = |slot: u32| {
            let source = self.sources.at(slot as usize);
            source.map_or(0, Source::handle)
        };
        match self.owners.get(at) {
            Some(&Owner::Listener(number)) => {
                let listener = self.listeners.get(number as usize);
                let listener = listener.and_then(Option::as_ref);
                Name::Accept(listener.map_or(0, |listener| listener.socket.handle()))
            }
            Some(&Owner::Read(slot)) => Name::Read(of(slot)),
            Some(&Owner::Write(slot)) => Name::Write(of(slot)),
            Some(Owner::Alarm) | None => Name::Clock,
        }
    }

    /// Records that a direction of a source is ready.
    fn mark_ready(&mut self, slot: u32, mark: impl Fn(&mut Readiness)) {
        let Some(source) = self.sources.at_mut(slot as usize) else {
            return;
        };
        if source.readiness == Readiness::default() {
            self.ready.push(slot);
        }
        mark(&mut source.readiness);
    }

    /// Makes one event for each source that is ready, for both directions. Drops sources that the loop has
    /// closed. Returns `found`, with the sources added.
    fn report(&mut self, mut found: Found, events: &mut Vec<Event>, is_full_report: bool) -> Found {
        let mut ready = std::mem::take(&mut self.ready);
        for slot in ready.drain(..) {
            let Some(source) = self.sources.at_mut(slot as usize) else {
                continue;
            };
            if source.is_closed() {
                self.remove(slot);
                continue;
            }
            let is_idle = self.planner.is_idle(slot);
            found.idle |= is_idle;
            found.busy |= !is_idle;
            let readiness = std::mem::take(&mut source.readiness);
            events.push(Event::Stream(source.key, readiness));
            if is_full_report {
                source.is_skipped = true;
                self.skipped.push(slot);
            }
        }
        // So that its memory is used again.
        self.ready = ready;
        found
    }
}
