//! The error numbers, as wazero returns them.

use std::io;

/// An error number of preview 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub u16);

pub type Outcome<T = ()> = Result<T, Errno>;

impl Errno {
    pub const ACCES: Self = Self(2);
    pub const AGAIN: Self = Self(6);
    pub const BADF: Self = Self(8);
    pub const FAULT: Self = Self(21);
    pub const INTR: Self = Self(27);
    pub const INVAL: Self = Self(28);
    pub const IO: Self = Self(29);
    pub const ISDIR: Self = Self(31);
    pub const NOENT: Self = Self(44);
    pub const NOSYS: Self = Self(52);
    pub const NOTDIR: Self = Self(54);
    pub const NOTSUP: Self = Self(58);
    pub const PERM: Self = Self(63);
}

impl From<io::Error> for Errno {
    /// wazero knows only some of the system's errors; a reset, a broken pipe and all others are `IO`.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock => Self::AGAIN,
            io::ErrorKind::Interrupted => Self::INTR,
            io::ErrorKind::InvalidInput => Self::INVAL,
            io::ErrorKind::NotFound => Self::NOENT,
            io::ErrorKind::PermissionDenied => Self::ACCES,
            io::ErrorKind::IsADirectory => Self::ISDIR,
            io::ErrorKind::NotADirectory => Self::NOTDIR,
            _ => Self::IO,
        }
    }
}
