//! A host for modules of WASI preview 1 that serve on sockets, on wasmtime 48.
//!
//! A module of preview 1 can't open a listening socket. Its host must open one and pass it to the module, which
//! wasmtime's own command did only up to version 46. This host implements sockets and `poll_oneoff` itself. For files,
//! arguments and the environment it uses the crate wasmtime-wasi.
//!
//! The public API is [`Host`]. The program `wasip1-host` is a command line for it.

#![forbid(unsafe_code)]

mod calls;
mod counters;
mod epochs;
mod errno;
mod error;
mod host;
mod instance;
mod limits;
mod listeners;
mod memory;
mod metrics;
mod phase;
mod poll;
mod producer;
mod running;
mod settings;
mod signals;
mod socket;
mod supervisor;
mod table;
#[cfg(test)]
mod tests;
mod trace;

pub use error::Error;
pub use host::Host;
pub use running::Running;
pub use trace::TARGET as TRACE_TARGET;
