//! One wait: which subscriptions are polled, and what of it is reported.

use poll_turns::{Found, Plan};

use super::poll::{Seen, sleep};
use super::slots::Kind;
use super::tries::{LISTENER_EVERY, longest_poll, resolve_every};
use super::{Poller, Ready, Sight};
use crate::errno::Errno;
use crate::wasi::Wasi;

impl<W: Wasi> Poller<W> {
    pub(super) fn wait_for(&mut self, ready: &mut Vec<Ready>, timeout: u64) -> Result<(), Errno> {
        if self.sight == Sight::Undecided {
            self.sight = self.decide_sight();
        }
        let start = self.now();
        let deadline = start.saturating_add(timeout);
        if self.planner.begin_wait(start) {
            self.fruitless = 0;
            self.sleep.progress(start);
        }
        let before = ready.len();
        self.report_known(ready);
        let mut now = start;
        let mut first = true;
        while ready.len() == before && (now < deadline || std::mem::take(&mut first)) {
            let left = deadline.saturating_sub(now);
            let result = match self.sight {
                Sight::Blind => self.wait_blindly(now, left, ready),
                Sight::Sighted | Sight::Undecided => self.round(now, left, ready),
            };
            match result {
                Ok(()) => self.failures = 0,
                Err(Errno::INTR) => return Ok(()),
                Err(errno) => self.recover(errno, ready)?,
            }
            self.report_known(ready);
            now = self.now();
        }
        Ok(())
    }

    /// Polls what the plan says.
    fn round(&mut self, now: u64, left: u64, ready: &mut Vec<Ready>) -> Result<(), Errno> {
        self.slow_down(left);
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

    /// Events of which nothing comes, again and again, must not become a busy loop.
    fn slow_down(&mut self, left: u64) {
        if self.fruitless > FORBEARANCE {
            let nanos = FIRST_SLEEP << (self.fruitless - FORBEARANCE).min(8);
            sleep(&self.wasi, nanos.min(LONGEST_SLEEP).min(left));
        }
    }

    /// Polls the busy ones and the listeners, or does without a poll.
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

    /// Polls all, unless one of the busy ones is ready.
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
            self.resolved = self.now();
            return Ok(Found::default());
        }
        let now = self.now();
        let longest = longest_poll(self.planner.poll_cost(), self.planner.idle());
        if now.saturating_sub(start) > longest {
            self.resolved = now;
        }
        self.report_poll_of_all(now, ready)
    }

    /// Polls the next `count` idle ones in turn.
    fn poll_some_idle(&mut self, count: usize, ready: &mut Vec<Ready>) -> Result<(), Errno> {
        self.poll.list.clear();
        let slots = &self.slots;
        let is_polled = |index| slots.at(index).is_polled();
        self.planner
            .next_idle(count, is_polled, &mut self.poll.list);
        let count = self.poll.list.len();
        if count == 0 {
            return Ok(());
        }
        let before = self.now();
        let is_any_ready = self.poll(0)?;
        let took = self.now().saturating_sub(before);
        self.planner.polled_idle(count, took, is_any_ready);
        if is_any_ready {
            // Whatever is ready here has waited a whole turn, so it is found now.
            let doubtful = self.report_certain(ready);
            self.narrow(doubtful, ready)?;
        }
        Ok(())
    }

    /// Puts the busy ones and the listeners on the list.
    pub(super) fn list_busy(&mut self) {
        self.poll.list.clear();
        self.poll.list.extend_from_slice(self.slots.listeners());
        self.poll.list.extend_from_slice(self.planner.busy());
    }

    /// Polls the list. Returns whether anything was reported.
    fn poll(&mut self, wait: u64) -> Result<bool, Errno> {
        self.poll.run(&self.wasi, &mut self.slots, wait)
    }

    /// Reports what the poll of the busy ones and the listeners has shown.
    fn report_busy(&mut self, now: u64, ready: &mut Vec<Ready>) -> Result<(), Errno> {
        if self.poll.seen.iter().all(|seen| !seen.certain) {
            self.report_doubtful(ready)?;
            return Ok(());
        }
        let every = self.tries.every(self.poll.seen.len());
        let mut streams = 0;
        for seen in &self.poll.seen {
            let slot = self.slots.at(seen.index);
            let every = if slot.kind == Kind::Listener {
                LISTENER_EVERY
            } else {
                streams += usize::from(seen.certain);
                every
            };
            if seen.certain || slot.is_due(now, every) {
                self.slots.tried(seen.index, now);
                ready.push(seen.report(&self.slots));
            }
        }
        let busy = self.planner.busy().len();
        self.speculation.polled(streams, busy, self.tries.cost());
        Ok(())
    }

    /// Reports what the poll of all has shown.
    fn report_poll_of_all(&mut self, now: u64, ready: &mut Vec<Ready>) -> Result<Found, Errno> {
        if self.poll.seen.iter().all(|seen| !seen.certain) {
            self.resolved = now;
            let idle = self.report_doubtful(ready)?;
            return Ok(Found { busy: false, idle });
        }
        let busy_every = self.tries.every(self.planner.busy().len());
        let resolve_every = resolve_every(self.planner.poll_cost(), self.planner.idle());
        let resolve = now.saturating_sub(self.resolved) >= resolve_every;
        let mut found = Found::default();
        let mut doubtful = Vec::new();
        for seen in &self.poll.seen {
            let slot = self.slots.at(seen.index);
            let is_idle = self.planner.is_idle(seen.index);
            let is_due = match slot.kind {
                Kind::Listener => slot.is_due(now, LISTENER_EVERY),
                _ => !is_idle && slot.is_due(now, busy_every),
            };
            found.busy |= seen.certain && !is_idle;
            if seen.certain || is_due {
                found.idle |= is_idle;
                self.slots.tried(seen.index, now);
                ready.push(seen.report(&self.slots));
            } else if resolve {
                doubtful.push(*seen);
            }
        }
        if resolve {
            self.resolved = now;
            found.idle |= self.narrow(doubtful, ready)?;
        }
        Ok(found)
    }

    /// Something is ready, but nothing says what. Returns whether an idle connection was found.
    fn report_doubtful(&mut self, ready: &mut Vec<Ready>) -> Result<bool, Errno> {
        let is_listener = |seen: &&Seen| self.slots.at(seen.index).kind == Kind::Listener;
        let listeners = self.poll.seen.iter().filter(is_listener).count();
        let streams = self.poll.seen.len() - listeners;
        // A new connection is the likeliest reason, but not twice in a row.
        let only_listeners = listeners > 0 && !self.suspected_listeners && streams > FEW;
        self.suspected_listeners = only_listeners;
        let mut doubtful = Vec::new();
        for seen in &self.poll.seen {
            if streams <= FEW || is_listener(&seen) {
                ready.push(seen.report(&self.slots));
            } else if !only_listeners {
                doubtful.push(*seen);
            }
        }
        self.narrow(doubtful, ready)
    }

    /// Finds those that are ready among doubtful ones, by polling parts of them. Returns whether one of
    /// the few that are reported is idle.
    fn narrow(&mut self, doubtful: Vec<Seen>, ready: &mut Vec<Ready>) -> Result<bool, Errno> {
        let mut found_idle = false;
        let mut parts = vec![doubtful];
        while let Some(part) = parts.pop() {
            if part.len() <= FEW {
                found_idle |= part.iter().any(|seen| self.planner.is_idle(seen.index));
                ready.extend(part.iter().map(|seen| seen.report(&self.slots)));
                continue;
            }
            for chunk in part.chunks(part.len().div_ceil(8).max(FEW)) {
                self.poll.list.clear();
                self.poll.list.extend(chunk.iter().map(|seen| seen.index));
                if self.poll(0)? {
                    let before = ready.len();
                    parts.push(self.report_certain(ready));
                    let certain = |seen: &Seen| seen.certain && self.planner.is_idle(seen.index);
                    found_idle |= ready.len() > before && self.poll.seen.iter().any(certain);
                }
            }
        }
        Ok(found_idle)
    }

    /// Reports what is ready for certain. Returns the rest.
    fn report_certain(&self, ready: &mut Vec<Ready>) -> Vec<Seen> {
        let (certain, doubtful): (Vec<Seen>, Vec<Seen>) =
            self.poll.seen.iter().partition(|seen| seen.certain);
        ready.extend(certain.iter().map(|seen| seen.report(&self.slots)));
        doubtful
    }

    /// Reports what is known without a poll: evictions, and connections accepted already.
    pub(super) fn report_known(&mut self, ready: &mut Vec<Ready>) {
        for index in std::mem::take(&mut self.slots.evicted) {
            let slot = self.slots.at(index);
            let closed = Ready {
                readable: true,
                // An owner that only has something to write must learn of it, too.
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
                let token = slot.token;
                if !ready
                    .iter()
                    .any(|ready| ready.listener && ready.token == token)
                {
                    ready.push(Ready {
                        readable: true,
                        ..slot.nothing_ready()
                    });
                }
            }
        }
    }

    /// A poll has failed as a whole.
    fn recover(&mut self, errno: Errno, ready: &mut Vec<Ready>) -> Result<(), Errno> {
        if errno == Errno::BADF {
            let before = self.slots.evicted.len();
            for &index in &self.poll.list {
                let slot = self.slots.at(index);
                if slot.is_polled() && self.wasi.fd_fdstat_get(slot.fd) == Err(Errno::BADF) {
                    log::debug!("fd {} isn't open; its registration is evicted", slot.fd);
                    self.slots.evict(index);
                }
            }
            if self.slots.evicted.len() > before {
                return Ok(());
            }
        }
        self.failures += 1;
        if self.failures >= GIVE_UP_AFTER {
            return Err(errno);
        }
        log::debug!("poll_oneoff: {errno}; trying everything instead");
        sleep(&self.wasi, PAUSE);
        let reported = ready.len();
        self.report_everything(ready);
        // What the failed round had reported before is not reported twice.
        let (before, all) = ready.split_at_mut(reported);
        let known = |ready: &Ready| {
            before
                .iter()
                .any(|it| it.token == ready.token && it.listener == ready.listener)
        };
        let fresh: Vec<Ready> = all.iter().filter(|ready| !known(ready)).copied().collect();
        ready.truncate(reported);
        ready.extend(fresh);
        Ok(())
    }

    /// Reports every direction of interest, because there is no way to know better.
    pub(super) fn report_everything(&self, ready: &mut Vec<Ready>) {
        let polled = self.slots.polled();
        ready.extend(polled.map(|index| self.slots.at(index).every_direction()));
    }
}

/// This many waits in a row may report something of which nothing comes: an event that is only a hint is
/// refuted by one try, so that this many mean a fault. Half would slow down a server with a few hints in
/// a row, double costs eight more calls.
const FORBEARANCE: u32 = 8;

/// After them each wait begins with a sleep that doubles from this one, in nanoseconds, up to the other.
/// At 5 ms a fault costs less than 1 % of a core, and a client that is served meanwhile hardly notices.
const FIRST_SLEEP: u64 = 20_000;
const LONGEST_SLEEP: u64 = 5_000_000;

/// This few doubtful ones are tried rather than polled again: 16 tries cost about as much as one more
/// poll and the tries that it leaves. At half there is one more poll; at double, tries for nothing.
const FEW: usize = 16;

/// After this many waits that failed one after the other, the failure is the caller's: with the pauses,
/// after a tenth of a second. A host that is short of memory for less than that is waited for.
const GIVE_UP_AFTER: u32 = 100;

/// How long a failed wait sleeps, in nanoseconds, lest failing becomes a busy loop.
const PAUSE: u64 = 1_000_000;
