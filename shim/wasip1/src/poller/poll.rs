//! One poll: makes the subscriptions, polls them (in parts, if the host refuses that many at once), and decides which
//! of the events are certain.

use super::Ready;
use super::slots::{Slots, position};
use crate::errno::Errno;
use crate::wasi::{Event, EventKind, Subscription, Wasi};

/// The list of a poll, and what it has found. One value is used for all polls, so that its memory is used again.
#[derive(Debug)]
pub(super) struct Poll {
    /// The slots to poll.
    pub(super) list: Vec<u32>,
    /// What was reported, for each slot with an event.
    pub(super) reports: Vec<SlotReport>,
    subscriptions: Vec<Subscription>,
    events: Vec<Event>,
    /// The most subscriptions that the host accepts in one call.
    max_subscriptions: usize,
}

/// A poll with up to this many subscriptions is not divided further: the clock, a few listeners and a connection.
/// Half is too few for a process with two listeners.
const MIN_SUBSCRIPTIONS: usize = 8;

/// How long to sleep after polling in parts has found nothing, in nanoseconds. A part takes some 0.1 ms. So with a
/// few parts the process sleeps most of the time, and a client waits for 1 ms on average.
const PART_SLEEP: u64 = 2_000_000;

impl Default for Poll {
    fn default() -> Self {
        Self {
            list: Vec::new(),
            reports: Vec::new(),
            subscriptions: Vec::new(),
            events: Vec::new(),
            max_subscriptions: usize::MAX,
        }
    }
}

impl Poll {
    /// Polls the list, with a clock of `timeout`. Returns whether any file descriptor was reported. They are in
    /// [`reports`](Self::reports).
    pub(super) fn run<W: Wasi>(
        &mut self,
        wasi: &W,
        slots: &mut Slots,
        timeout: u64,
    ) -> Result<bool, Errno> {
        self.reports.clear();
        loop {
            let (at, is_all) = self.subscribe(slots, 0, timeout);
            let result = match is_all {
                true => self.poll(wasi, slots),
                false => self.run_in_parts(wasi, slots, at, timeout),
            };
            match result {
                Err(Errno::INVAL) if self.shorten() => {}
                result => return result,
            }
        }
    }

    /// Polls the list in parts, one after the other, because it is too long for one poll. No part can wait, or the
    /// others would wait for it. So if nothing is ready, it sleeps briefly.
    fn run_in_parts<W: Wasi>(
        &mut self,
        wasi: &W,
        slots: &mut Slots,
        first_end: usize,
        timeout: u64,
    ) -> Result<bool, Errno> {
        self.reports.clear();
        self.subscriptions[0] = Subscription::clock(0, 0);
        let mut at = first_end;
        self.poll(wasi, slots)?;
        while at < self.list.len() {
            (at, _) = self.subscribe(slots, at, 0);
            self.poll(wasi, slots)?;
        }
        if self.reports.is_empty() && timeout > 0 {
            sleep(wasi, timeout.min(PART_SLEEP));
        }
        Ok(!self.reports.is_empty())
    }

    /// Makes the subscriptions for the list from the index `from` on: the clock, and as many as fit into one poll.
    /// Returns the index at which the next part begins, and whether this one is the whole list.
    fn subscribe(&mut self, slots: &Slots, from: usize, timeout: u64) -> (usize, bool) {
        self.subscriptions.clear();
        // Counted exactly, because most connections have no interest in writing.
        let subscribed = |index: &u32| {
            let interest = slots.at(*index).interest;
            usize::from(interest.read) + usize::from(interest.write)
        };
        let wanted = 1 + self.list[from..].iter().map(subscribed).sum::<usize>();
        self.subscriptions
            .reserve_exact(wanted.min(self.max_subscriptions));
        self.subscriptions.push(Subscription::clock(0, timeout));
        for (at, &index) in self.list.iter().enumerate().skip(from) {
            let slot = slots.at(index);
            if !slot.is_polled() {
                continue;
            }
            if self.subscriptions.len() + 2 > self.max_subscriptions {
                return (at, false);
            }
            let userdata = slots.userdata(index);
            if slot.interest.read {
                self.subscriptions
                    .push(Subscription::read(userdata, slot.fd));
            }
            if slot.interest.write {
                self.subscriptions
                    .push(Subscription::write(userdata, slot.fd));
            }
        }
        (self.list.len(), from == 0)
    }

    /// Polls the subscriptions, and adds the events to [`reports`](Self::reports).
    fn poll<W: Wasi>(&mut self, wasi: &W, slots: &mut Slots) -> Result<bool, Errno> {
        let subscribed = self.subscriptions.len();
        if self.events.len() < subscribed {
            self.events.reserve_exact(subscribed - self.events.len());
            self.events.resize(subscribed, Event::default());
        }
        let count = wasi.poll_oneoff(&self.subscriptions, &mut self.events[..subscribed])?;
        self.interpret_events(slots, count.min(subscribed), subscribed - 1);
        Ok(!self.reports.is_empty())
    }

    /// Lowers the limit of subscriptions after a poll has failed with `INVAL`. Returns false if it can't be lowered.
    /// The likely reason is that the host's poll(2) takes no more entries than there may be open files
    /// (`ulimit -n`), and a connection of which both directions are of interest makes two.
    fn shorten(&mut self) -> bool {
        let subscribed = self.subscriptions.len();
        if subscribed <= MIN_SUBSCRIPTIONS {
            return false;
        }
        if self.max_subscriptions == usize::MAX {
            poll_turns::log::warn!(
                "the runtime refuses to poll {subscribed} subscriptions at once; they are polled in parts, \
                 which costs more. Raise the limit on open files (ulimit -n) to twice the connections"
            );
        }
        self.max_subscriptions = (subscribed / 2).max(MIN_SUBSCRIPTIONS);
        true
    }

    /// Turns the first `count` events into one [`SlotReport`] for each slot. `subscribed` is the number of
    /// subscriptions without the clock.
    fn interpret_events(&mut self, slots: &mut Slots, count: usize, subscribed: usize) {
        let events = &self.events[..count];
        let is_clock = |event: &&Event| event.kind() == EventKind::Clock;
        let reported = events.iter().filter(|event| !is_clock(event)).count();
        // A runtime that has left out some subscriptions reports only those that are ready.
        let is_selective = reported < subscribed || subscribed == 1;
        for event in events.iter().filter(|event| !is_clock(event)) {
            let Some(index) = slots.by_userdata(event.userdata) else {
                continue;
            };
            let slot = slots.at_mut(index);
            let at = slot
                .report_position
                .map_or(self.reports.len(), |at| at.get() as usize - 1);
            if at == self.reports.len() {
                let ready = slot.nothing_ready();
                let certain = false;
                self.reports.push(SlotReport {
                    index,
                    ready,
                    certain,
                });
                slot.report_position = position(self.reports.len());
            }
            self.reports[at].add(event, slot.interest.write, is_selective);
            if event.error == Errno::BADF {
                slots.evict(index);
            }
        }
        for report in &self.reports {
            slots.at_mut(report.index).report_position = None;
        }
        // Evicted slots, whose file descriptor was closed by something else, are reported separately, and must not be
        // reported twice.
        self.reports
            .retain(|report| !slots.at(report.index).evicted);
    }
}

/// Sleeps: polls only a clock.
pub(super) fn sleep<W: Wasi>(wasi: &W, nanos: u64) {
    // If it fails, the sleep is shorter, and the caller goes on.
    let _ = wasi.poll_oneoff(&[Subscription::clock(0, nanos)], &mut [Event::default()]);
}

/// What a poll has reported about one slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlotReport {
    pub(super) index: u32,
    pub(super) ready: Ready,
    /// It is certain that a direction is ready. See the head of [`poller`](super).
    pub(super) certain: bool,
}

impl SlotReport {
    fn add(&mut self, event: &Event, writes: bool, is_selective: bool) {
        let ready = &mut self.ready;
        ready.readable |= event.kind() == EventKind::Read;
        ready.writable |= event.kind() == EventKind::Write;
        self.certain |= is_selective;
        match event.error {
            Errno::SUCCESS => {
                ready.read_closed |= event.hangup();
                self.certain |= event.hangup() || event.nbytes > 1;
            }
            // The runtime can't report readiness here, so the owner has to try.
            Errno::NOTSUP | Errno::NOSYS | Errno::INTR | Errno::AGAIN => {}
            errno => {
                ready.readable = true;
                ready.writable |= writes;
                ready.read_closed = true;
                ready.error = Some(errno);
                self.certain = true;
            }
        }
    }
}
