//! Readiness of sockets on WASI preview 1, behind a safe face.
//!
//! # In scope
//! - The calls of preview 1 that a server needs, as a safe trait: [`Wasi`]. The real ones are
//!   `Preview1`, which exists on `wasm32-wasip1` only.
//! - Finding the listeners that a runtime hands over: [`discover()`].
//! - Waiting for many sockets at once: [`Poller`].
//! - A log line for each call: [`Traced`].
//! - Directories beside listeners: [`preopens`].
//!
//! # Out of scope
//! - HTTP, buffers, timers other than one timeout, threads.
//! - Opening sockets: preview 1 has no way to.
//!
//! # Where things are
//! | module | what |
//! |---|---|
//! | [`wasi`](Wasi) | the trait, and types laid out as the ABI's |
//! | [`errno`](Errno) | the error numbers by name |
//! | `preview1` | the real calls; the only unsafe code |
//! | [`trace`](Traced) | logging calls like strace |
//! | [`mod@discover`] | which file descriptors are listeners |
//! | [`poller`](Poller) | registrations and the wait |
//! | [`preopens`] | making `std::fs` work beside a listener |
//! | `fake` | a runtime in memory, for tests (feature `fake`) |
//!
//! # Invariants
//! - **Only `preview1` has unsafe code.** Everything else is generic over [`Wasi`], compiles
//!   natively, and is tested there.
//! - **What is closed is not polled.** A file descriptor's registration ends in the call that
//!   closes it, before it is closed.
//! - **One connection's fault is its own.** A bad file descriptor or an I/O error in the list is
//!   reported for that registration and never fails the wait.
//! - **The list is never empty.** Runtimes answer `INVAL` to that, so a clock is always in it.

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
    ClockId, Event, EventKind, FIRST_FD, Fd, FdFlags, Fdstat, FileType, Shutdown, Subscription,
    Wasi,
};
pub use poll_turns::{Key, Table};
