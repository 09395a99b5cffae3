//! Waiting for many sockets on WASI preview 1, with a safe API.
//!
//! # In scope
//! - The calls of preview 1 that a server needs, as a safe trait: [`Wasi`]. `Preview1` makes the real calls;
//!   it exists on `wasm32-wasip1` only.
//! - Finding the listeners that the runtime has passed: [`discover()`].
//! - Waiting for many sockets at once: [`Poller`].
//! - A log line for each call: [`Traced`].
//! - Directories, if the runtime has passed listeners too: [`preopens`].
//!
//! # Out of scope
//! - HTTP, buffers, timers other than one timeout, threads.
//! - Opening sockets: preview 1 has no call for that.
//!
//! # Modules
//! | module | what |
//! |---|---|
//! | [`wasi`](Wasi) | the trait, and types with the layout of the ABI |
//! | [`errno`](Errno) | the error numbers by name |
//! | `preview1` | the real calls; the only unsafe code |
//! | [`trace`](Traced) | a log line for each call, like strace |
//! | [`mod@discover`] | which file descriptors are listeners |
//! | [`poller`](Poller) | registrations and the wait |
//! | [`preopens`] | makes `std::fs` find directories although there are listeners |
//! | `fake` | a runtime in memory, for tests (feature `fake`) |
//!
//! # Invariants
//! - **Only `preview1` has unsafe code.** Everything else is generic over [`Wasi`], compiles
//!   natively, and is tested there.
//! - **A closed file descriptor is not polled.** The call that closes a file descriptor first ends its
//!   registration.
//! - **A fault of one connection stays with it.** A bad file descriptor or an I/O error in the list is
//!   reported for that registration, and never fails the wait.
//! - **A poll is never empty.** Runtimes would fail it with `INVAL`, so a clock is always in the list.

// docs.rs shows which feature an item needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod discover;
mod errno;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
mod poller;
pub mod preopens;
#[cfg(all(target_os = "wasi", target_env = "p1"))]
mod preview1;
pub mod trace;
mod wasi;

pub use self::discover::{Discovery, Hints, Listener, NoListener, discover};
pub use self::errno::Errno;
pub use self::poller::{Interest, Poller, Ready, Registration, accept, shut_down, write_each};
#[cfg(all(target_os = "wasi", target_env = "p1"))]
pub use self::preview1::Preview1;
pub use self::trace::{TARGET, Traced};
pub use self::wasi::{
    ClockId, Event, EventKind, FIRST_FD, Fd, FdFlags, Fdstat, FileType, SendFlags, Shutdown,
    Subscription, Wasi,
};
pub use poll_turns::{Key, Table};
