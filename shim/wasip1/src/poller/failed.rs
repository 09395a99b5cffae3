//! Streams of which no direction is of interest: no wait reports that they have failed.

use super::slots::Slot;
use super::{Poller, Ready};
use crate::errno::Errno;
use crate::wasi::{Event, Subscription, Wasi};

/// How many streams are polled at once. At half, there are twice as many calls; with more, a host whose limit on open
/// files is low refuses them.
const PART: usize = 32;

impl<W: Wasi> Poller<W> {
    /// Finds streams that have failed, among those of which no direction is of interest. Appends an entry with the
    /// error for each: neither readable nor writable. Returns whether there are any streams without interest.
    ///
    /// It polls them for writing, without waiting. Waits don't do that, because nearly all streams are writable: a wait
    /// would end at once. So call this now and then. A blind runtime reports no failures.
    pub fn find_failed(&mut self, failed: &mut Vec<Ready>) -> bool {
        let unpolled: Vec<Slot> = self.slots.without_interest().copied().collect();
        if !self.is_blind() {
            for part in unpolled.chunks(PART) {
                self.poll_for_failures(part, failed);
            }
        }
        !unpolled.is_empty()
    }

    fn poll_for_failures(&self, part: &[Slot], failed: &mut Vec<Ready>) {
        let mut subscriptions = vec![Subscription::clock(0, 0)];
        let write = |(at, slot): (u64, &Slot)| Subscription::write(at, slot.fd);
        subscriptions.extend((1..).zip(part).map(write));
        let mut events = [Event::default(); 1 + PART];
        // If the call fails, one of them isn't open. That is found when it is used.
        let count = self
            .wasi
            .poll_oneoff(&subscriptions, &mut events[..subscriptions.len()]);
        for event in &events[..count.unwrap_or(0).min(subscriptions.len())] {
            let slot = event.userdata.checked_sub(1);
            let slot = slot.and_then(|at| part.get(usize::try_from(at).ok()?));
            if let Some(slot) = slot.filter(|_| is_failure(event.error)) {
                failed.push(Ready {
                    error: Some(event.error),
                    ..slot.nothing_ready()
                });
            }
        }
    }
}

fn is_failure(errno: Errno) -> bool {
    match errno {
        Errno::SUCCESS => false,
        // It isn't known.
        Errno::NOTSUP | Errno::NOSYS | Errno::INTR | Errno::AGAIN => false,
        _ => true,
    }
}
