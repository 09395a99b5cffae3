//! The calls of preview 1.
//!
//! Sockets, the standard streams, clocks and `poll_oneoff` are implemented here. Calls on files are passed to
//! wasmtime-wasi, with translated numbers of file descriptors (`inner`).

mod clocks;
mod descriptors;
mod files;
mod inner;
mod linker;
mod sockets;
mod stdio;
mod transfer;

pub(crate) use clocks::{MONOTONIC, REALTIME, realtime};
pub(crate) use linker::linker;
pub(crate) use sockets::LISTENER_ENDED;

use crate::errno::Errno;
use crate::memory::Outside;

/// The outcome of a call.
pub(crate) type Call<T = ()> = Result<T, Fault>;

/// Why a call fails.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It returns this error number.
    Errno(Errno),
    /// It ends the guest.
    Trap(wasmtime::Error),
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl From<wasmtime::Error> for Fault {
    fn from(error: wasmtime::Error) -> Self {
        Self::Trap(error)
    }
}

impl From<Outside> for Fault {
    fn from(_: Outside) -> Self {
        Self::Trap(wasmtime::format_err!(
            "a pointer leads outside of the module's memory"
        ))
    }
}
