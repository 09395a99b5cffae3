//! One poll, and what its answers mean: which are sure, and which are maybes.

use super::slots::{Slots, place};
use super::{Poller, Ready};
use crate::errno::Errno;
use crate::wasi::{Event, EventKind, Subscription, Wasi};

impl<W: Wasi> Poller<W> {
    /// Polls the list with a clock of `timeout`. The answer is whether any file descriptor was
    /// reported; [`seen`](Poller::seen) tells which.
    pub(super) fn look(&mut self, timeout: u64) -> Result<bool, Errno> {
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
                slot.seen = place(self.seen.len());
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
}

/// What a poll has said about one slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) index: u32,
    readable: bool,
    writable: bool,
    read_closed: bool,
    error: Option<Errno>,
    /// Not just a maybe.
    pub(super) sure: bool,
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

    pub(super) fn report(&self, slots: &Slots) -> Ready {
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

/// A poll of no more subscriptions than these is never refused for its length: the clock, a few
/// listeners and a connection.
const SHORTEST: usize = 8;

/// How long a wait in parts sleeps, in nanoseconds.
const PART_SLEEP: u64 = 2_000_000;
