//! One wait: which subscriptions are polled, and what of the answer is reported.

use super::budget::{BUSY_FOR, LISTENER_EVERY};
use super::look::Seen;
use super::slots::Kind;
use super::{Poller, Ready, Sight};
use crate::errno::Errno;
use crate::wasi::{Event, Subscription, Wasi};

impl<W: Wasi> Poller<W> {
    pub(super) fn wait_for(&mut self, ready: &mut Vec<Ready>, timeout: u64) -> Result<(), Errno> {
        if self.sight == Sight::Undecided {
            self.sight = self.decide_sight();
        }
        let start = self.now();
        let deadline = start.saturating_add(timeout);
        self.found_idle = false;
        if std::mem::take(&mut self.progress) {
            let worked = start.saturating_sub(self.clock);
            self.budget.worked(worked, start, self.slots.idle());
            self.vain = 0;
            self.sleep.progress();
        } else if self.reported {
            self.vain = self.vain.saturating_add(1);
        } else {
            self.vain = 0;
        }
        let before = ready.len();
        self.report_known(ready);
        let mut now = start;
        let mut first = true;
        while ready.len() == before && (now < deadline || std::mem::take(&mut first)) {
            self.budget.accrue(now, self.slots.idle());
            self.slots.rest_if_quiet(now, BUSY_FOR);
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

    /// Polls the busy ones, or everything.
    fn round(&mut self, now: u64, left: u64, ready: &mut Vec<Ready>) -> Result<(), Errno> {
        self.slow_down(left);
        let idle = self.slots.idle();
        self.list.clear();
        self.list.extend_from_slice(self.slots.listeners());
        self.list.extend_from_slice(self.slots.busy());
        let everything = idle > 0 && (self.only_idle || self.budget.is_rested(now));
        if !everything {
            let window = self.budget.window(idle);
            if self.speculate(now, ready) {
                return self.look_at_some_idle(window, ready);
            }
            // Something busy will most likely end this wait early; a poll that only asks costs as
            // much as one that waits.
            let alone = match idle {
                0 => left,
                _ => left.min(self.budget.until_window(now, idle).max(PATIENCE)),
            };
            if self.look(alone)? {
                self.report_busy(now, ready)?;
            }
            return self.look_at_some_idle(window, ready);
        }
        // Is it one of them? That is cheaper to find out than among all.
        if !self.slots.busy().is_empty() && self.look(0)? {
            self.only_idle = false;
            return self.report_busy(now, ready);
        }
        self.list.clear();
        self.list.extend(self.slots.polled());
        let start = self.now();
        if !self.look(left)? {
            self.resolved = self.now();
            return Ok(());
        }
        let now = self.now();
        if now.saturating_sub(start) > self.budget.longest_answer(idle) {
            // It has waited, so nothing was ready when it began.
            self.resolved = now;
        }
        self.report_everyone(now, ready)
    }

    /// Events of which nothing comes, again and again, must not become a busy loop.
    fn slow_down(&mut self, left: u64) {
        if self.vain > FORBEARANCE {
            let sleep = 20_000_u64 << (self.vain - FORBEARANCE).min(8);
            self.sleep_for(sleep.min(5_000_000).min(left));
        }
    }

    /// Reports what the poll of the busy ones and the listeners has shown.
    fn report_busy(&mut self, now: u64, ready: &mut Vec<Ready>) -> Result<(), Errno> {
        if self.seen.iter().all(|seen| !seen.sure) {
            return self.report_unknown(ready);
        }
        let every = self.budget.try_every(self.seen.len());
        let mut streams = 0;
        for seen in &self.seen {
            let slot = self.slots.at(seen.index);
            let every = if slot.kind == Kind::Listener {
                LISTENER_EVERY
            } else {
                streams += usize::from(seen.sure);
                every
            };
            if seen.sure || slot.is_due(now, every) {
                self.slots.tried(seen.index, now);
                ready.push(seen.report(&self.slots));
            }
        }
        let busy = self.slots.busy().len();
        self.speculation.polled(streams, busy, self.budget.again());
        Ok(())
    }

    /// Reports what the poll of everyone has shown.
    fn report_everyone(&mut self, now: u64, ready: &mut Vec<Ready>) -> Result<(), Errno> {
        let busy_is_ready = self
            .seen
            .iter()
            .any(|seen| seen.sure && !self.slots.is_idle(seen.index));
        if self.seen.iter().all(|seen| !seen.sure) {
            self.resolved = now;
            self.report_unknown(ready)?;
        } else {
            let busy_every = self.budget.try_every(self.slots.busy().len());
            let resolve_every = self.budget.resolve_every(self.slots.idle());
            let resolve = now.saturating_sub(self.resolved) >= resolve_every;
            let mut rest = Vec::new();
            for seen in &self.seen {
                let slot = self.slots.at(seen.index);
                let due = match slot.kind {
                    Kind::Listener => slot.is_due(now, LISTENER_EVERY),
                    _ => self.slots.is_busy(seen.index) && slot.is_due(now, busy_every),
                };
                if seen.sure || due {
                    self.found_idle |= self.slots.is_idle(seen.index);
                    self.slots.tried(seen.index, now);
                    ready.push(seen.report(&self.slots));
                } else if resolve {
                    rest.push(*seen);
                }
            }
            if resolve {
                self.resolved = now;
                self.narrow(rest, ready)?;
            }
        }
        // Then it would be wrong to wait for the others alone.
        self.only_idle = self.found_idle && !busy_is_ready;
        Ok(())
    }

    /// Looks at the next `count` idle ones in turn.
    fn look_at_some_idle(&mut self, count: usize, ready: &mut Vec<Ready>) -> Result<(), Errno> {
        if count == 0 {
            return Ok(());
        }
        self.list.clear();
        self.slots.next_idle(count, &mut self.list);
        if self.list.is_empty() {
            return Ok(());
        }
        let count = self.list.len();
        let before = self.now();
        let found = self.look(0)?;
        let took = self.now().saturating_sub(before);
        self.budget.looked(took, count, found);
        if !found {
            return Ok(());
        }
        let mut rest = Vec::new();
        for seen in &self.seen {
            if seen.sure {
                ready.push(seen.report(&self.slots));
            } else {
                rest.push(*seen);
            }
        }
        // Whatever else is ready here has waited a whole turn, so it is found now.
        self.narrow(rest, ready)
    }

    /// Something is ready, but nothing says what.
    fn report_unknown(&mut self, ready: &mut Vec<Ready>) -> Result<(), Errno> {
        let is_listener = |seen: &&Seen| self.slots.at(seen.index).kind == Kind::Listener;
        let listeners = self.seen.iter().filter(is_listener).count();
        let streams = self.seen.len() - listeners;
        // A new connection is the likeliest reason.
        let blame_listeners = listeners > 0 && !self.blamed_listeners && streams > FEW;
        self.blamed_listeners = blame_listeners;
        let mut rest = Vec::new();
        for seen in &self.seen {
            if streams <= FEW || is_listener(&seen) {
                ready.push(seen.report(&self.slots));
            } else if !blame_listeners {
                rest.push(*seen);
            }
        }
        self.narrow(rest, ready)
    }

    /// Finds those that are ready among maybes, by polling parts of them.
    fn narrow(&mut self, maybes: Vec<Seen>, ready: &mut Vec<Ready>) -> Result<(), Errno> {
        let mut parts = vec![maybes];
        while let Some(part) = parts.pop() {
            if part.len() <= FEW {
                self.found_idle |= part.iter().any(|seen| self.slots.is_idle(seen.index));
                ready.extend(part.iter().map(|seen| seen.report(&self.slots)));
                continue;
            }
            for chunk in part.chunks(part.len().div_ceil(8).max(FEW)) {
                self.list.clear();
                self.list.extend(chunk.iter().map(|seen| seen.index));
                if !self.look(0)? {
                    continue;
                }
                let (sure, maybe): (Vec<Seen>, Vec<Seen>) =
                    self.seen.iter().partition(|seen| seen.sure);
                self.found_idle |= sure.iter().any(|seen| self.slots.is_idle(seen.index));
                ready.extend(sure.iter().map(|seen| seen.report(&self.slots)));
                parts.push(maybe);
            }
        }
        Ok(())
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
        let accepted = &self.accepted;
        for &index in self.slots.listeners() {
            let slot = self.slots.at(index);
            if slot.is_polled() && accepted.iter().any(|(of, _)| *of == index) {
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
            for &index in &self.list {
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
        self.sleep_for(PAUSE);
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
        ready.extend(self.slots.polled().map(|index| self.slots.tentative(index)));
    }

    pub(super) fn sleep_for(&self, nanos: u64) {
        let mut answer = [Event::default()];
        // Whatever it answers, time has passed or hasn't; the caller goes on.
        let _ = self
            .wasi
            .poll_oneoff(&[Subscription::clock(0, nanos)], &mut answer);
    }
}

/// How long the busy ones are waited for even if idle ones could be looked at, in nanoseconds.
const PATIENCE: u64 = 500_000;

/// So many waits in a row may report something of which nothing comes.
const FORBEARANCE: u32 = 8;

/// So few maybes are tried rather than polled again.
const FEW: usize = 16;

/// After so many waits that failed one after the other, the failure is the caller's.
const GIVE_UP_AFTER: u32 = 100;

/// How long a failed wait sleeps, lest failing becomes a busy loop.
const PAUSE: u64 = 1_000_000;
