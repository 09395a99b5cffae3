//! The registrations: a table whose slots are used again, each time with another generation.

use std::num::NonZeroU32;

use super::Ready;
use crate::errno::Errno;
use crate::wasi::Fd;

/// The directions to wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Reading, or accepting.
    pub read: bool,
    /// Writing.
    pub write: bool,
}

impl Interest {
    /// Only reading.
    pub const READ: Self = Self {
        read: true,
        write: false,
    };
}

/// A file descriptor's place in a [`Poller`](super::Poller). There is one for each, and ending it
/// consumes it.
#[derive(Debug)]
#[must_use = "what is registered stays open until the registration is given to `close`"]
pub struct Registration {
    index: u32,
    generation: u32,
    fd: Fd,
}

impl Registration {
    /// The file descriptor.
    #[must_use]
    pub const fn fd(&self) -> Fd {
        self.fd
    }

    pub(super) const fn index(&self) -> u32 {
        self.index
    }
}

#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) token: u64,
    pub(super) fd: Fd,
    generation: u32,
    /// The place in the present batch, counted from 1.
    pub(super) reported: Option<NonZeroU32>,
    pub(super) kind: Kind,
    pub(super) interest: Interest,
    /// The runtime says that the file descriptor isn't open. It is never used again, not even to
    /// be closed: its number may be another's by now.
    pub(super) evicted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Free,
    Listener,
    Stream,
}

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

    pub(super) fn set_reported(&mut self, at: usize) {
        self.reported = u32::try_from(at + 1).ok().and_then(NonZeroU32::new);
    }

    fn is_polled(&self) -> bool {
        self.kind != Kind::Free && !self.evicted && (self.interest.read || self.interest.write)
    }
}

impl Slots {
    pub(super) fn insert(
        &mut self,
        fd: Fd,
        token: u64,
        kind: Kind,
        interest: Interest,
    ) -> Registration {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                token: 0,
                fd: 0,
                generation: 0,
                reported: None,
                kind: Kind::Free,
                interest: Interest::default(),
                evicted: false,
            });
            u32::try_from(self.slots.len() - 1).expect("fewer slots than file descriptors")
        });
        let slot = &mut self.slots[index as usize];
        *slot = Slot {
            token,
            fd,
            kind,
            interest,
            evicted: false,
            reported: None,
            ..*slot
        };
        Registration {
            index,
            generation: slot.generation,
            fd,
        }
    }

    /// Frees the slot. The answer is the file descriptor, unless it was evicted.
    pub(super) fn remove(&mut self, registration: Registration) -> Option<Fd> {
        let slot = self.get_mut(&registration)?;
        let fd = (!slot.evicted).then_some(slot.fd);
        slot.kind = Kind::Free;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(registration.index);
        fd
    }

    pub(super) fn get_mut(&mut self, registration: &Registration) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(registration.index as usize)?;
        (slot.generation == registration.generation).then_some(slot)
    }

    /// The file descriptor to make a call on.
    pub(super) fn fd(&mut self, registration: &Registration) -> Result<Fd, Errno> {
        let slot = self.get_mut(registration).filter(|slot| !slot.evicted);
        slot.map(|slot| slot.fd).ok_or(Errno::BADF)
    }

    pub(super) fn by_userdata(&mut self, userdata: u64) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(userdata as u32 as usize)?;
        let same = slot.generation == (userdata >> 32) as u32;
        (same && slot.is_polled()).then_some(slot)
    }

    /// What is to be polled, with the userdata to poll it with.
    pub(super) fn polled(&self) -> impl Iterator<Item = (u64, &Slot)> {
        let slots = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.is_polled());
        slots.map(|(index, slot)| (u64::from(slot.generation) << 32 | index as u64, slot))
    }

    pub(super) fn polled_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.slots.iter_mut().filter(|slot| slot.is_polled())
    }

    /// One listener that is polled, by its slot.
    pub(super) fn any_listener(&self) -> Option<(u32, Fd)> {
        let listener = |slot: &Slot| slot.kind == Kind::Listener && slot.is_polled();
        let index = self.slots.iter().position(listener)?;
        Some((index as u32, self.slots[index].fd))
    }
}
