//! Subscriptions and events, as they lie in the guest's memory.

use crate::errno::Errno;
use crate::memory::{Memory, Outside};
use crate::table::Fd;

/// The size of a subscription.
pub(crate) const SUBSCRIPTION: u32 = 48;
/// The size of an event.
pub(crate) const EVENT: u32 = 32;

/// Types of subscriptions and events.
pub(crate) const CLOCK: u8 = 0;
pub(crate) const READ: u8 = 1;
pub(crate) const WRITE: u8 = 2;

/// One subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) userdata: [u8; 8],
    pub(crate) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Clock(ClockSubscription),
    Read(Fd),
    Write(Fd),
    /// Of a type that doesn't exist.
    Unknown(u8),
}

/// A time in nanoseconds: from now, or absolute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClockSubscription {
    pub(crate) id: u32,
    pub(crate) timeout: u64,
    pub(crate) absolute: bool,
}

impl Subscription {
    /// Reads the one at `index` in the list.
    pub(crate) fn read(memory: &Memory<'_>, list: u32, index: u32) -> Result<Self, Outside> {
        let bytes =
            memory.array::<{ SUBSCRIPTION as usize }>(element(list, index, SUBSCRIPTION)?)?;
        let u32_at = |at: usize| u32::from_le_bytes(part(&bytes, at));
        let what = match bytes[8] {
            CLOCK => What::Clock(ClockSubscription {
                id: u32_at(16),
                timeout: u64::from_le_bytes(part(&bytes, 24)),
                absolute: bytes[40] & 1 != 0,
            }),
            READ => What::Read(u32_at(16)),
            WRITE => What::Write(u32_at(16)),
            other => What::Unknown(other),
        };
        Ok(Self {
            userdata: part(&bytes, 0),
            what,
        })
    }
}

/// The list of events. There are never more events than subscriptions.
#[derive(Debug)]
pub(crate) struct EventList {
    pub(crate) at: u32,
    pub(crate) count: u32,
}

/// One event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) userdata: [u8; 8],
    pub(crate) error: Errno,
    pub(crate) kind: u8,
    pub(crate) nbytes: u64,
    pub(crate) hangup: bool,
}

impl EventList {
    pub(crate) fn put(&mut self, memory: &mut Memory<'_>, event: Event) -> Result<(), Outside> {
        let mut bytes = [0_u8; EVENT as usize];
        bytes[..8].copy_from_slice(&event.userdata);
        bytes[8..10].copy_from_slice(&event.error.0.to_le_bytes());
        bytes[10] = event.kind;
        bytes[16..24].copy_from_slice(&event.nbytes.to_le_bytes());
        bytes[24] = u8::from(event.hangup);
        memory.put(element(self.at, self.count, EVENT)?, bytes)?;
        self.count += 1;
        Ok(())
    }
}

impl Event {
    /// Reads the one at `index` in the list.
    pub(crate) fn read(memory: &Memory<'_>, list: u32, index: u32) -> Result<Self, Outside> {
        let bytes = memory.array::<{ EVENT as usize }>(element(list, index, EVENT)?)?;
        Ok(Self {
            userdata: part(&bytes, 0),
            error: Errno(u16::from_le_bytes(part(&bytes, 8))),
            kind: bytes[10],
            nbytes: u64::from_le_bytes(part(&bytes, 16)),
            hangup: bytes[24] & 1 != 0,
        })
    }
}

/// The address of an element of a list.
fn element(list: u32, index: u32, size: u32) -> Result<u32, Outside> {
    let offset = index.checked_mul(size).ok_or(Outside)?;
    list.checked_add(offset).ok_or(Outside)
}

/// `N` bytes of a structure, from `at` on.
fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&bytes[at..at + N]);
    part
}
