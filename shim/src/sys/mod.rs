//! The platform below the shim: the sockets and calls of preview 1, or in tests those of the fake runtime.

#[cfg(test)]
mod fake;
#[cfg(not(test))]
mod preview1;

#[cfg(test)]
pub(crate) use fake::*;
#[cfg(not(test))]
pub(crate) use preview1::*;

use wasip1_poll::Fd;

/// A socket that is closed when it is dropped.
pub(crate) trait Socket {
    fn fd(&self) -> Fd;
}
