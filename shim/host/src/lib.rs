//! Runs modules of WASI preview 1 that serve on sockets, on current wasmtime.
//!
//! A module of preview 1 can't open a listening socket: its host does, and hands it over. wasmtime did
//! so up to version 46. This is a host that does it on wasmtime 48. Sockets and `poll_oneoff` are its
//! own; files, arguments and the environment are those of the crate wasmtime-wasi.
//!
//! [`Host`] is all there is to use. The program `wasip1-host` is made of it.

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
mod seat;
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
