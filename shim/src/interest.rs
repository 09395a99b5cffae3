//! [`Interest`]: the directions of a source to wait for.

use std::fmt;
use std::num::NonZeroU8;
use std::ops;

/// The directions to wait for: at least one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interest(NonZeroU8);

impl Interest {
    /// Reading, or accepting.
    pub const READABLE: Self = Self(NonZeroU8::new(1).expect("not zero"));

    /// Writing.
    pub const WRITABLE: Self = Self(NonZeroU8::new(2).expect("not zero"));

    /// Both together.
    #[allow(clippy::should_implement_trait, reason = "mio's name")]
    #[must_use]
    pub const fn add(self, other: Self) -> Self {
        match NonZeroU8::new(self.0.get() | other.0.get()) {
            Some(both) => Self(both),
            None => self,
        }
    }

    /// This set without `other`, or `None` if nothing is left.
    #[must_use]
    pub fn remove(self, other: Self) -> Option<Self> {
        NonZeroU8::new(self.0.get() & !other.0.get()).map(Self)
    }

    /// Whether reading is among them.
    #[must_use]
    pub const fn is_readable(self) -> bool {
        self.0.get() & Self::READABLE.0.get() != 0
    }

    /// Whether writing is among them.
    #[must_use]
    pub const fn is_writable(self) -> bool {
        self.0.get() & Self::WRITABLE.0.get() != 0
    }

    /// Always false: preview 1 has no such thing.
    #[must_use]
    pub const fn is_aio(self) -> bool {
        false
    }

    /// Always false: preview 1 has no such thing.
    #[must_use]
    pub const fn is_lio(self) -> bool {
        false
    }

    /// Always false: preview 1 has no such thing.
    #[must_use]
    pub const fn is_priority(self) -> bool {
        false
    }
}

impl ops::BitOr for Interest {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.add(other)
    }
}

impl ops::BitOrAssign for Interest {
    fn bitor_assign(&mut self, other: Self) {
        *self = self.add(other);
    }
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.is_readable(), self.is_writable()) {
            (true, true) => "READABLE | WRITABLE",
            (true, false) => "READABLE",
            (false, _) => "WRITABLE",
        })
    }
}
