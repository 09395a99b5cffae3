//! One wait: which pollables are in the list, and what of the answer is reported.

use std::time::Duration;

use poll_turns::{Found, Plan};

use super::Wasip2Reactor;
use super::alarm::End;
use super::allowance::Allowance;
use super::calls::{self, Name};
use super::sources::Source;
use crate::reactor::{Event, Reactor, Readiness};
use crate::time::Instant;

/// What a pollable of the list belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked {
    Alarm,
    Listener(u32),
    Read(u32),
    Write(u32),
}

impl Wasip2Reactor {
    /// A poll in wasmtime reports at most as many sockets as the [`Allowance`] permits, and always those
    /// of the oldest streams: what is behind them in the list is never heard. So after a poll that
    /// reports as many as this, those that were reported sit out the polls that follow, until one reports
    /// fewer.
    ///
    /// [`Allowance`]: super::allowance::Allowance
    const CROWD: usize = Allowance::LEAST;
    /// A wait without an end is cut to this: an empty list is fatal, so there is always a clock.
    const LONGEST: Duration = Duration::from_secs(3600);

    pub(super) fn wait_for(&mut self, events: &mut Vec<Event>, timeout: Duration) {
        let mut now = calls::now();
        let deadline = Instant::from_nanos(now) + timeout.min(Self::LONGEST);
        self.turns.begin(now);
        let lingering = self.lingering();
        loop {
            let left = deadline.as_nanos().saturating_sub(now);
            self.round(now, left, events);
            now = calls::now();
            // A stream that lingered was dropped: there may be a place for a newcomer.
            let has_dropped = self.lingering() < lingering;
            if !events.is_empty() || has_dropped || now >= deadline.as_nanos() {
                self.turns.end(now);
                return;
            }
        }
    }

    /// Polls what the plan says.
    fn round(&mut self, now: u64, left: u64, events: &mut Vec<Event>) {
        let plan = self.turns.plan(now, left);
        let mut list = std::mem::take(&mut self.list);
        list.clear();
        list.extend_from_slice(self.turns.busy());
        match plan {
            Plan::Busy { wait } => {
                self.poll_in_turn(&list, End::after(now, wait), events);
            }
            Plan::BusyThenIdle { wait, window } => {
                self.poll_in_turn(&list, End::after(now, wait), events);
                self.poll_some_idle(window, &mut list, events);
            }
            Plan::Everyone { wait } => {
                let mut found = Found::default();
                if !list.is_empty() {
                    found = self.poll_in_turn(&list, End::Now, events);
                }
                if found == Found::default() {
                    list.clear();
                    list.extend(self.turns.all());
                    found = self.poll_in_turn(&list, End::after(now, wait), events);
                }
                self.turns.polled_everyone(found);
            }
        }
        self.list = list;
    }

    /// Polls the next `count` idle ones in turn.
    fn poll_some_idle(&mut self, count: usize, list: &mut Vec<u32>, events: &mut Vec<Event>) {
        list.clear();
        let sources = &self.sources;
        let wanted = |place: u32| {
            let source = sources.at(place as usize);
            source.is_some_and(Source::is_polled)
        };
        self.turns.next_idle(count, wanted, list);
        if list.is_empty() {
            return;
        }
        let before = calls::now();
        let found = self.poll(list, End::Now, events);
        let took = calls::now().saturating_sub(before);
        let is_any_ready = found != Found::default();
        self.turns.polled_idle(list.len(), took, is_any_ready);
    }

    /// Polls the listeners and the sources at `places`, and makes events of what is ready.
    fn poll(&mut self, places: &[u32], end: End, events: &mut Vec<Event>) -> Found {
        // Those that sit out may well be ready.
        let end = match (end, self.out.is_empty()) {
            (End::After(now, _), false) => End::After(now, Duration::ZERO),
            (end, _) => end,
        };
        self.alarm.set(end);
        let mut list = Vec::with_capacity(1 + self.listeners.len() + 2 * places.len());
        self.asked.clear();
        list.extend(self.alarm.pollable(end));
        self.asked.push(Asked::Alarm);
        for (number, listener) in (0..).zip(&self.listeners) {
            if let Some(listener) = listener.as_ref().filter(|it| it.is_accepting) {
                list.push(&listener.acceptable);
                self.asked.push(Asked::Listener(number));
            }
        }
        for &place in places {
            let source = self.sources.at(place as usize);
            if let Some(source) = source.filter(|source| !source.is_out) {
                if let Some(pollable) = source.to_read() {
                    list.push(pollable);
                    self.asked.push(Asked::Read(place));
                }
                if let Some(pollable) = source.to_write() {
                    list.push(pollable);
                    self.asked.push(Asked::Write(place));
                }
            }
        }
        self.allowance.before_poll();
        let ready = calls::poll(&list, |at| self.name(at));
        let mut found = Found::default();
        let is_crowd = ready.len() >= Self::CROWD;
        self.allowance.spend(ready.len());
        for at in ready {
            match self.asked.get(at as usize) {
                Some(Asked::Listener(number)) => {
                    let event = Event::Listener(*number as usize);
                    // Two polls of one wait may report it.
                    if !events.contains(&event) {
                        found.busy = true;
                        events.push(event);
                    }
                }
                Some(&Asked::Read(place)) => self.see(place, |seen| seen.readable = true),
                Some(&Asked::Write(place)) => self.see(place, |seen| seen.writable = true),
                Some(Asked::Alarm) | None => {}
            }
        }
        self.report(found, events, is_crowd)
    }

    /// A poll of all, or of the busy ones: those that sit out come back if few are reported.
    fn poll_in_turn(&mut self, places: &[u32], end: End, events: &mut Vec<Event>) -> Found {
        let before = self.out.len();
        let found = self.poll(places, end, events);
        if self.out.len() == before {
            for place in self.out.drain(..) {
                if let Some(source) = self.sources.at_mut(place as usize) {
                    source.is_out = false;
                }
            }
        }
        found
    }

    /// What the log calls a place of the list.
    fn name(&self, at: usize) -> Name {
        let of = |place: u32| {
            let source = self.sources.at(place as usize);
            source.map_or(0, Source::handle)
        };
        match self.asked.get(at) {
            Some(&Asked::Listener(number)) => {
                let listener = self.listeners.get(number as usize);
                let listener = listener.and_then(Option::as_ref);
                Name::Accept(listener.map_or(0, |listener| listener.socket.handle()))
            }
            Some(&Asked::Read(place)) => Name::Read(of(place)),
            Some(&Asked::Write(place)) => Name::Write(of(place)),
            Some(Asked::Alarm) | None => Name::Clock,
        }
    }

    /// Remembers that a direction of a source is ready.
    fn see(&mut self, place: u32, mark: impl Fn(&mut Readiness)) {
        let Some(source) = self.sources.at_mut(place as usize) else {
            return;
        };
        if source.seen == Readiness::default() {
            self.seen.push(place);
        }
        mark(&mut source.seen);
    }

    /// Makes an event of each source that was seen ready; both directions are in one. Returns what was
    /// found with them.
    fn report(&mut self, mut found: Found, events: &mut Vec<Event>, is_crowd: bool) -> Found {
        let mut seen = std::mem::take(&mut self.seen);
        for place in seen.drain(..) {
            let Some(source) = self.sources.at_mut(place as usize) else {
                continue;
            };
            if source.is_closed() {
                self.remove(place);
                continue;
            }
            let is_idle = self.turns.is_idle(place);
            found.idle |= is_idle;
            found.busy |= !is_idle;
            let readiness = std::mem::take(&mut source.seen);
            events.push(Event::Stream(source.key, readiness));
            if is_crowd {
                source.is_out = true;
                self.out.push(place);
            }
        }
        // Kept for its memory.
        self.seen = seen;
        found
    }
}
