//! Runs modules of WASI preview 1 that serve on sockets, on current wasmtime.
//!
//! A module of preview 1 can't open a listening socket. Its host opens it and passes it to the module, as wasmtime did
//! up to version 46. This host does so on wasmtime 48. It implements sockets and `poll_oneoff` itself; files, arguments
//! and the environment come from the crate wasmtime-wasi.
//!
//! The API begins with [`Host`]. The program `wasip1-host` is built on it.

#![forbid(unsafe_code)]

mod ahead;
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
mod module;
mod phase;
mod poll;
mod producer;
mod running;
mod settings;
mod signals;
mod slot;
mod socket;
mod supervisor;
mod table;
#[cfg(any(test, feature = "fuzzing"))]
mod tests;
mod trace;

pub use error::Error;
pub use host::Host;
pub use running::Running;
pub use trace::TARGET as TRACE_TARGET;

/// Makes the calls that a fuzzer's bytes stand for, in a guest of its own. For `fuzz` only.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub fn fuzz_calls(bytes: &[u8]) {
    tests::fuzz::run(bytes);
}
