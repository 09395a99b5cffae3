//! One wait: which pollables are in the list, and what of the answer is reported.

use std::time::Duration;

use poll_turns::BUSY_FOR;

use super::Wasip2Reactor;
use super::alarm::End;
use super::allowance::Allowance;
use super::calls::{self, Name};
use super::sources::Source;
use crate::reactor::{Event, Readiness};
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
    /// A poll in wasmtime tells at most as many sockets as the [`Allowance`] permits, and always those
    /// of the oldest streams: whoever has more to say than that is never heard. So after a poll that
    /// tells as many as this, those that were told sit out the polls that follow, until one tells fewer.
    ///
    /// [`Allowance`]: super::allowance::Allowance
    const CROWD: usize = Allowance::LEAST;
    /// The busy ones are waited for alone at least for so long.
    const PATIENCE: Duration = Duration::from_micros(100);
    /// A wait without an end is cut to this: an empty list is fatal, so there is always a clock.
    const LONGEST: Duration = Duration::from_secs(3600);

    pub(super) fn wait_for(&mut self, events: &mut Vec<Event>, timeout: Duration) {
        let mut now = calls::now();
        let deadline = Instant::from_nanos(now) + timeout.min(Self::LONGEST);
        if std::mem::take(&mut self.progress) {
            let worked = now.saturating_sub(self.clock);
            self.budget.worked(worked, now, self.turns.idle());
            self.only_idle &= !std::mem::take(&mut self.told_busy);
        }
        loop {
            self.budget.accrue(now, self.turns.idle());
            self.turns.rest_if_quiet(now, BUSY_FOR);
            let left = deadline.saturating_since(Instant::from_nanos(now));
            self.round(now, left, events);
            now = calls::now();
            let has_dropped = std::mem::take(&mut self.has_dropped);
            if !events.is_empty() || has_dropped || now >= deadline.as_nanos() {
                self.clock = now;
                return;
            }
        }
    }

    /// Polls the busy ones, or everything; see [`poll_turns`].
    fn round(&mut self, now: u64, left: Duration, events: &mut Vec<Event>) {
        let idle = self.turns.idle();
        let everything = idle > 0 && (self.only_idle || self.budget.is_rested(now));
        let mut list = std::mem::take(&mut self.list);
        list.clear();
        list.extend_from_slice(self.turns.busy());
        if !everything {
            let window = self.budget.window(idle);
            let alone = match idle {
                0 => left,
                _ => left.min(self.until_window(now, idle)),
            };
            self.look_at_all(&list, End::After(now, alone), events);
            self.look_at_some_idle(window, &mut list, events);
        // Is it one of them? That is cheaper to find out than among all.
        } else if !list.is_empty() && self.look_at_all(&list, End::Now, events) {
            // A stream that was read until it was empty is told once more, in vain. That is no reason to
            // wait for the busy alone; what comes of it is, or that it is told again.
            self.only_idle &= !std::mem::replace(&mut self.told_busy, true);
        } else {
            list.clear();
            list.extend(self.turns.all());
            (self.only_idle, self.told_busy) = (false, false);
            self.look_at_all(&list, End::After(now, left), events);
            // Then it would be wrong to wait for the others alone.
            self.only_idle = self.found_idle && !self.found_busy;
        }
        self.list = list;
    }

    /// How long the busy ones are waited for alone.
    fn until_window(&self, now: u64, idle: usize) -> Duration {
        Duration::from_nanos(self.budget.until_window(now, idle)).max(Self::PATIENCE)
    }

    /// Looks at the next `count` idle ones in turn.
    fn look_at_some_idle(&mut self, count: usize, list: &mut Vec<u32>, events: &mut Vec<Event>) {
        if count == 0 {
            return;
        }
        list.clear();
        let sources = &self.sources;
        let wanted = |place: u32| {
            let source = sources.get(place as usize).and_then(Option::as_ref);
            source.is_some_and(Source::is_polled)
        };
        self.turns.next_idle(count, wanted, list);
        if list.is_empty() {
            return;
        }
        let before = calls::now();
        let found = self.look(list, End::Now, events);
        let took = calls::now().saturating_sub(before);
        self.budget.looked(took, list.len(), found);
    }

    /// Polls the listeners and the sources at `places`, and collects what is ready. Tells whether
    /// there is anything.
    fn look(&mut self, places: &[u32], end: End, events: &mut Vec<Event>) -> bool {
        // Who sits out may well be ready.
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
            let source = self.sources.get(place as usize).and_then(Option::as_ref);
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
        let before = events.len();
        let is_crowd = ready.len() >= Self::CROWD;
        self.allowance.spend(ready.len());
        for at in ready {
            match self.asked.get(at as usize) {
                Some(Asked::Listener(number)) => {
                    let event = Event::Listener(*number as usize);
                    // Two looks of one wait may find it.
                    if !events.contains(&event) {
                        events.push(event);
                    }
                }
                Some(&Asked::Read(place)) => self.see(place, |seen| seen.readable = true),
                Some(&Asked::Write(place)) => self.see(place, |seen| seen.writable = true),
                Some(Asked::Alarm) | None => {}
            }
        }
        self.report(events, is_crowd);
        events.len() > before
    }

    /// A look at all that may be ready, or at the busy: whoever sits out comes back if few were told.
    fn look_at_all(&mut self, places: &[u32], end: End, events: &mut Vec<Event>) -> bool {
        let before = self.out.len();
        let found = self.look(places, end, events);
        if self.out.len() == before {
            for place in self.out.drain(..) {
                if let Some(Some(source)) = self.sources.get_mut(place as usize) {
                    source.is_out = false;
                }
            }
        }
        found
    }

    /// What the log calls a place of the list.
    fn name(&self, at: usize) -> Name {
        let of = |place: u32| {
            let source = self.sources.get(place as usize).and_then(Option::as_ref);
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
        let Some(Some(source)) = self.sources.get_mut(place as usize) else {
            return;
        };
        if source.seen == Readiness::default() {
            self.seen.push(place);
        }
        mark(&mut source.seen);
    }

    /// Makes an event of each source that was seen ready; both directions are in one.
    fn report(&mut self, events: &mut Vec<Event>, is_crowd: bool) {
        (self.found_busy, self.found_idle) = (false, false);
        let mut seen = std::mem::take(&mut self.seen);
        for place in seen.drain(..) {
            let Some(Some(source)) = self.sources.get_mut(place as usize) else {
                continue;
            };
            if source.is_closed() {
                self.remove(place);
                self.has_dropped = true;
                continue;
            }
            let is_idle = self.turns.is_idle(place);
            self.found_idle |= is_idle;
            self.found_busy |= !is_idle;
            let readiness = std::mem::take(&mut source.seen);
            events.push(Event::Stream(source.key, readiness));
            if is_crowd {
                source.is_out = true;
                self.out.push(place);
            }
        }
        // Kept for its memory.
        self.seen = seen;
    }
}
