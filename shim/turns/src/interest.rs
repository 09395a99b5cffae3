//! [`Interest`]: the directions in which a socket would be used now: reading, writing, both or none.

/// The directions of a socket in which its owner would act now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// It would read, or accept.
    pub read: bool,
    /// It has something to write.
    pub write: bool,
}

impl Interest {
    /// Only reading: the interest of a new stream.
    pub const READ: Self = Self {
        read: true,
        write: false,
    };

    /// Nothing.
    pub const NONE: Self = Self {
        read: false,
        write: false,
    };
}
