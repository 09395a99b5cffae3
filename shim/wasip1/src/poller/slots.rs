//! The table of registrations: for each, its file descriptor, token and interest, and whether it was evicted.
//!
//! [`Planner`](poll_turns::Planner) records which streams are busy. It uses the same slot numbers.

use std::num::NonZeroU32;

use poll_turns::{Interest, Key, Table};

use super::Ready;
use crate::errno::Errno;
use crate::wasi::Fd;

/// The registration of a file descriptor in a [`Poller`](super::Poller). It can't be copied, and is consumed when it
/// ends.
#[derive(Debug)]
#[must_use = "the file descriptor stays open until the registration is passed to `close`"]
pub struct Registration {
    key: Key,
    fd: Fd,
}

impl Registration {
    /// The file descriptor.
    #[must_use]
    pub const fn fd(&self) -> Fd {
        self.fd
    }

    pub(super) const fn index(&self) -> u32 {
        self.key.index() as u32
    }
}

#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Table<Slot>,
    listeners: Vec<u32>,
    /// For each file descriptor, the slot in which it was last registered.
    owners: Vec<u32>,
    /// Evicted slots that have not been reported yet.
    pub(super) evicted: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) token: u64,
    pub(super) fd: Fd,
    /// When it was last tried, in microseconds, wrapping around.
    last_tried: u32,
    /// The position of its report in the current poll, counted from 1.
    pub(super) report_position: Option<NonZeroU32>,
    pub(super) kind: Kind,
    pub(super) interest: Interest,
    /// The runtime has reported that the file descriptor isn't open. It is never used again, and not closed
    /// either: the number may belong to another file descriptor by now.
    pub(super) evicted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Listener,
    Stream,
}

/// File descriptors from this number on are not in `owners`, so that it has at most 4 MiB. No runtime is known to
/// use such numbers.
const MAX_OWNERS: usize = 1 << 20;

const IN_USE: &str = "a slot is removed from all lists before it is freed";

impl Slot {
    pub(super) fn nothing_ready(&self) -> Ready {
        Ready {
            token: self.token,
            listener: self.kind == Kind::Listener,
            readable: false,
            writable: false,
            read_closed: false,
            error: None,
        }
    }

    /// A report of every direction of interest.
    pub(super) fn all_interests(&self) -> Ready {
        let Interest { read, write } = self.interest;
        Ready {
            readable: read,
            writable: write,
            ..self.nothing_ready()
        }
    }

    pub(super) fn is_polled(&self) -> bool {
        !self.evicted && self.interest != Interest::NONE
    }

    /// Whether at least `nanos` have passed since the last try.
    pub(super) fn is_due(&self, now: u64, nanos: u64) -> bool {
        u64::from(micros(now).wrapping_sub(self.last_tried)) * 1000 >= nanos
    }
}

impl Slots {
    pub(super) fn insert(
        &mut self,
        fd: Fd,
        token: u64,
        kind: Kind,
        interest: Interest,
        now: u64,
    ) -> Registration {
        let index = self.slots.next_key().index() as u32;
        self.take_from_owner(fd, index);
        let key = self.slots.insert(Slot {
            token,
            fd,
            last_tried: micros(now),
            report_position: None,
            kind,
            interest,
            evicted: false,
        });
        if kind == Kind::Listener {
            self.listeners.push(index);
        }
        Registration { key, fd }
    }

    /// Makes the slot `index` the owner of a file descriptor. If another slot still owns it, that one was closed
    /// by something else than the poller, because otherwise the number could not be in use again. It is evicted.
    fn take_from_owner(&mut self, fd: Fd, index: u32) {
        let at = fd as usize;
        if at >= MAX_OWNERS {
            return;
        }
        if self.owners.len() <= at {
            self.owners.resize(at + 1, u32::MAX);
        }
        let before = std::mem::replace(&mut self.owners[at], index);
        if let Some(slot) = self.slots.at(before as usize)
            && slot.fd == fd
        {
            self.evict(before);
        }
    }

    /// Frees the slot. Returns the file descriptor, unless it was evicted.
    pub(super) fn remove(&mut self, registration: Registration) -> Option<Fd> {
        let slot = self.slots.remove(registration.key)?;
        let index = registration.index();
        self.listeners.retain(|listener| *listener != index);
        self.evicted.retain(|evicted| *evicted != index);
        (!slot.evicted).then_some(slot.fd)
    }

    /// Evicts a slot: its file descriptor is never used again.
    pub(super) fn evict(&mut self, index: u32) {
        let slot = self.at_mut(index);
        if !slot.evicted {
            slot.evicted = true;
            self.evicted.push(index);
        }
    }

    /// The file descriptor of a registration; `BADF` if it was evicted.
    pub(super) fn fd(&self, registration: &Registration) -> Result<Fd, Errno> {
        let slot = self
            .slots
            .get(registration.key)
            .filter(|slot| !slot.evicted);
        slot.map(|slot| slot.fd).ok_or(Errno::BADF)
    }

    pub(super) fn is_listener(&self, registration: &Registration) -> bool {
        self.slots
            .get(registration.key)
            .is_some_and(|slot| slot.kind == Kind::Listener)
    }

    pub(super) fn set_interest(&mut self, registration: &Registration, interest: Interest) {
        if let Some(slot) = self.slots.get_mut(registration.key) {
            slot.interest = interest;
        }
    }

    pub(super) fn at(&self, index: u32) -> &Slot {
        self.slots.at(index as usize).expect(IN_USE)
    }

    pub(super) fn at_mut(&mut self, index: u32) -> &mut Slot {
        self.slots.at_mut(index as usize).expect(IN_USE)
    }

    pub(super) fn userdata(&self, index: u32) -> u64 {
        self.slots.key_at(index as usize).map_or(0, Key::to_u64)
    }

    /// The slot that an event is for. `None` if the runtime has made up the number.
    pub(super) fn by_userdata(&self, userdata: u64) -> Option<u32> {
        let key = Key::from_u64(userdata);
        let slot = self.slots.get(key)?;
        // A key has fewer bits than the number, so several numbers convert to the same key.
        (key.to_u64() == userdata && slot.is_polled()).then_some(key.index() as u32)
    }

    /// Records that a slot is tried now.
    pub(super) fn record_try(&mut self, index: u32, now: u64) {
        self.at_mut(index).last_tried = micros(now);
    }

    pub(super) fn listeners(&self) -> &[u32] {
        &self.listeners
    }

    /// The streams of which no direction is of interest.
    pub(super) fn without_interest(&self) -> impl Iterator<Item = &Slot> {
        let slots = self.slots.iter().map(|(_, slot)| slot);
        slots.filter(|slot| {
            slot.kind == Kind::Stream && !slot.evicted && slot.interest == Interest::NONE
        })
    }

    /// All slots that are polled, including listeners.
    pub(super) fn polled(&self) -> impl Iterator<Item = u32> {
        let polled = self.slots.iter().filter(|(_, slot)| slot.is_polled());
        polled.map(|(index, _)| index)
    }
}

fn micros(nanos: u64) -> u32 {
    (nanos / 1000) as u32
}

/// A position, counted from 1.
pub(super) fn position(count: usize) -> Option<NonZeroU32> {
    u32::try_from(count).ok().and_then(NonZeroU32::new)
}
