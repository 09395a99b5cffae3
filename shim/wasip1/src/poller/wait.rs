//! One wait: which subscriptions are polled, and what of the answer is reported.

use super::budget::{BUSY_FOR, LISTENER_EVERY};
use super::slots::{Kind, Slots};
use super::{Poller, Ready, Sight};
use crate::errno::Errno;
use crate::wasi::{Event, EventKind, Subscription, Wasi};

impl<W: Wasi> Poller<W> {
    pub(super) fn wait_for(&mut self, ready: &mut Vec<Ready>, timeout: u64) -> Result<(), Errno> {
        if self.sight == Sight::Undecided {
            self.sight = self.decide_sight();
        }
        let start = self.now();
        let deadline = start.saturating_add(timeout);
        self.found_idle = false;
        if std::mem::take(&mut self.progress) {
            self.budget
                .worked(start.saturating_sub(self.clock), self.slots.idle());
            self.budget.progress = start;
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
        if self.look(left)? {
            self.report_everyone(ready)?;
        }
        Ok(())
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
        for seen in &self.seen {
            let slot = self.slots.at(seen.index);
            let every = if slot.kind == Kind::Listener {
                LISTENER_EVERY
            } else {
                every
            };
            if seen.sure || slot.is_due(now, every) {
                self.slots.tried(seen.index, now);
                ready.push(seen.report(&self.slots));
            }
        }
        Ok(())
    }

    /// Reports what the poll of everyone has shown.
    fn report_everyone(&mut self, ready: &mut Vec<Ready>) -> Result<(), Errno> {
        let now = self.now();
        let busy_is_ready = self
            .seen
            .iter()
            .any(|seen| seen.sure && !self.slots.at(seen.index).is_idle());
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
                    _ => slot.is_busy() && slot.is_due(now, busy_every),
                };
                if seen.sure || due {
                    self.found_idle |= slot.is_idle();
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
        self.budget.measured(took, count);
        if !found {
            self.budget.charge(took);
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
                self.found_idle |= part.iter().any(|seen| self.slots.at(seen.index).is_idle());
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
                self.found_idle |= sure.iter().any(|seen| self.slots.at(seen.index).is_idle());
                ready.extend(sure.iter().map(|seen| seen.report(&self.slots)));
                parts.push(maybe);
            }
        }
        Ok(())
    }

    /// Polls the list with a clock of `timeout`. The answer is whether any file descriptor was
    /// reported; [`seen`](Poller::seen) tells which.
    fn look(&mut self, timeout: u64) -> Result<bool, Errno> {
        self.seen.clear();
        loop {
            let (at, is_all) = self.subscribe(0, timeout);
            if is_all {
                match self.poll_subscribed() {
                    Err(Errno::INVAL) if self.can_shorten() => continue,
                    result => return result,
                }
            }
            match self.look_in_parts(at, timeout) {
                Err(Errno::INVAL) if self.can_shorten() => {}
                result => return result,
            }
        }
    }

    /// The list is longer than what can be polled at once: asks about one part after the other. As
    /// none of them can be waited for, the wait is a short sleep.
    fn look_in_parts(&mut self, first_end: usize, timeout: u64) -> Result<bool, Errno> {
        self.seen.clear();
        self.subscriptions[0] = Subscription::clock(0, 0);
        let mut at = first_end;
        self.poll_subscribed()?;
        while at < self.list.len() {
            (at, _) = self.subscribe(at, 0);
            self.poll_subscribed()?;
        }
        if self.seen.is_empty() && timeout > 0 {
            self.sleep_for(timeout.min(PART_SLEEP));
        }
        Ok(!self.seen.is_empty())
    }

    /// Makes the subscriptions for the list from one place on: the clock, and as many as can be polled
    /// at once. Tells where the next ones begin, and whether this was all.
    fn subscribe(&mut self, from: usize, timeout: u64) -> (usize, bool) {
        self.subscriptions.clear();
        let wanted = 2 * (self.list.len() - from) + 1;
        self.subscriptions.reserve_exact(wanted.min(self.most));
        self.subscriptions.push(Subscription::clock(0, timeout));
        for (at, &index) in self.list.iter().enumerate().skip(from) {
            let slot = self.slots.at(index);
            if !slot.is_polled() {
                continue;
            }
            if self.subscriptions.len() + 2 > self.most {
                return (at, false);
            }
            if slot.interest.read {
                self.subscriptions
                    .push(Subscription::read(self.slots.userdata(index), slot.fd));
            }
            if slot.interest.write {
                self.subscriptions
                    .push(Subscription::write(self.slots.userdata(index), slot.fd));
            }
        }
        (self.list.len(), from == 0)
    }

    /// Polls the subscriptions, and adds what the answers say to [`seen`](Poller::seen).
    fn poll_subscribed(&mut self) -> Result<bool, Errno> {
        let asked = self.subscriptions.len();
        if self.answers.len() < asked {
            self.answers.reserve_exact(asked - self.answers.len());
            self.answers.resize(asked, Event::default());
        }
        let count = self
            .wasi
            .poll_oneoff(&self.subscriptions, &mut self.answers[..asked])?;
        self.understand(count.min(asked), asked - 1);
        Ok(!self.seen.is_empty())
    }

    /// A poll was refused as invalid: most likely because the host's poll(2) takes no more entries
    /// than there may be open files (`ulimit -n`), and a connection that is waited for in both
    /// directions makes two. Then shorter ones will do.
    fn can_shorten(&mut self) -> bool {
        let asked = self.subscriptions.len();
        if asked <= SHORTEST {
            return false;
        }
        if self.most == usize::MAX {
            log::warn!(
                "the runtime refuses to poll {asked} subscriptions at once; they are polled in parts, \
                 which costs more. Raise the limit on open files (ulimit -n) to twice the connections"
            );
        }
        self.most = (asked / 2).max(SHORTEST);
        true
    }

    /// Turns the answers to `asked` subscriptions into one [`Seen`] for each slot.
    fn understand(&mut self, count: usize, asked: usize) {
        let answers = &self.answers[..count];
        let told = answers
            .iter()
            .filter(|answer| answer.kind() != EventKind::Clock)
            .count();
        // Reporting everything is the habit that makes an event doubtful.
        let credible = told < asked || asked == 1;
        for answer in answers {
            if answer.kind() == EventKind::Clock {
                continue;
            }
            let Some(index) = self.slots.by_userdata(answer.userdata) else {
                continue;
            };
            let slot = self.slots.at_mut(index);
            let at = slot
                .seen
                .map_or(self.seen.len(), |at| at.get() as usize - 1);
            if at == self.seen.len() {
                self.seen.push(Seen::nothing(index));
                slot.seen = super::slots::place(self.seen.len());
            }
            self.seen[at].add(answer, slot.interest.write, credible);
            if answer.error == Errno::BADF {
                self.slots.evict(index);
            }
        }
        for seen in &self.seen {
            self.slots.at_mut(seen.index).seen = None;
        }
        // What is evicted is reported as such, and not twice.
        self.seen.retain(|seen| !self.slots.at(seen.index).evicted);
    }

    /// Reports what is known without a poll: evictions, and connections accepted already.
    pub(super) fn report_known(&mut self, ready: &mut Vec<Ready>) {
        for index in std::mem::take(&mut self.slots.evicted) {
            let closed = Ready {
                readable: true,
                read_closed: true,
                error: Some(Errno::BADF),
                ..self.slots.at(index).nothing_ready()
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

/// What a poll has said about one slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    index: u32,
    readable: bool,
    writable: bool,
    read_closed: bool,
    error: Option<Errno>,
    /// Not just a maybe.
    sure: bool,
}

impl Seen {
    const fn nothing(index: u32) -> Self {
        let (readable, writable, read_closed) = (false, false, false);
        Self {
            index,
            readable,
            writable,
            read_closed,
            error: None,
            sure: false,
        }
    }

    fn add(&mut self, answer: &Event, writes: bool, credible: bool) {
        self.readable |= answer.kind() == EventKind::Read;
        self.writable |= answer.kind() == EventKind::Write;
        self.sure |= credible;
        match answer.error {
            Errno::SUCCESS => {
                self.read_closed |= answer.hangup();
                self.sure |= answer.hangup() || answer.nbytes > 1;
            }
            // The runtime can't tell; so it must be tried.
            Errno::NOTSUP | Errno::NOSYS | Errno::INTR | Errno::AGAIN => {}
            errno => {
                self.readable = true;
                self.writable |= writes;
                self.read_closed = true;
                self.error = Some(errno);
                self.sure = true;
            }
        }
    }

    fn report(&self, slots: &Slots) -> Ready {
        let Self {
            readable,
            writable,
            read_closed,
            error,
            ..
        } = *self;
        Ready {
            readable,
            writable,
            read_closed,
            error,
            ..slots.at(self.index).nothing_ready()
        }
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

/// A poll of no more subscriptions than these is never refused for its length: the clock, a few
/// listeners and a connection.
const SHORTEST: usize = 8;

/// How long a wait in parts sleeps, in nanoseconds.
const PART_SLEEP: u64 = 2_000_000;

/// How long a failed wait sleeps, lest failing becomes a busy loop.
const PAUSE: u64 = 1_000_000;
