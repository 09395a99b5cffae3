//! The calls of preview 1, as the guest makes them.
//!
//! Sockets, the standard streams, clocks and `poll_oneoff` are done here. For files wasmtime-wasi does
//! the work, and the numbers of file descriptors are translated (`inner`).

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

/// What a call comes to.
pub(crate) type Call<T = ()> = Result<T, Fault>;

/// Why a call doesn't do what it was asked for.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The guest gets this number.
    Errno(Errno),
    /// The guest ends.
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
