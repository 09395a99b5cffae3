//! Shared by the bare loops of this package: connections and calls.
//!
//! The programs, in `bin/`:
//! - `floor`: the least that a server on preview 1 can cost; its head comment has the rules.
//! - `naive`: a loop that trusts every event.
//! - `hyper`: hyper 1 on tokio on the mio of crates.io, and from `../wasip1-shim` on the shim.

#[cfg(all(target_os = "wasi", target_env = "p1"))]
pub mod bare;
