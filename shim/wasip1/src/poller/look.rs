//! One poll, and what its answers mean: which are sure, and which are maybes.

use super::slots::{Slots, place};
use super::{Poller, Ready};
use crate::errno::Errno;
use crate::wasi::{Event, EventKind, Subscription, Wasi};

impl<W: Wasi> Poller<W> {
    /// Polls the list with a clock of `timeout`. The answer is whether any file descriptor was
    /// reported; [`seen`](Poller::seen) tells which.
    pub(super) fn look(&mut self, timeout: u64) -> Result<bool, Errno> {
        let timeout = self.keep_within_longest(timeout);
        self.subscriptions.clear();
        self.subscriptions.reserve_exact(2 * self.list.len() + 1);
        self.subscriptions.push(Subscription::clock(0, timeout));
        for &index in &self.list {
            let slot = self.slots.at(index);
            if !slot.is_polled() {
                continue;
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
        let asked = self.subscriptions.len();
        if self.answers.len() < asked {
            self.answers.reserve_exact(asked - self.answers.len());
            self.answers.resize(asked, Event::default());
        }
        self.seen.clear();
        let count = self
            .wasi
            .poll_oneoff(&self.subscriptions, &mut self.answers[..asked])?;
        self.understand(count.min(asked), asked - 1);
        Ok(!self.seen.is_empty())
    }

    /// Shortens a list that the runtime would refuse. Who is left out comes in the next polls, so
    /// this one must not wait long; the answer is the timeout.
    fn keep_within_longest(&mut self, timeout: u64) -> u64 {
        let length = self.list.len();
        if length <= self.longest {
            return timeout;
        }
        self.turn = (self.turn + self.longest) % length;
        self.list.rotate_left(self.turn);
        self.list.truncate(self.longest);
        timeout.min(PART_WAITS)
    }

    /// A poll of so many was refused: from now on a list is at most half as long. Tells whether it
    /// could be shortened.
    pub(super) fn shorten(&mut self) -> bool {
        let length = self.list.len();
        if length < 2 {
            return false;
        }
        self.longest = length / 2;
        log::warn!(
            "the runtime can't poll {length} file descriptors at once; polling at most {} at a \
             time. Its limit of open files (ulimit -n) is the likely cause: raise it, or accept \
             fewer connections",
            self.longest
        );
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

/// How long a poll of a part of the list may wait, in nanoseconds.
const PART_WAITS: u64 = 5_000_000;

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
