//! mio's API on WASI preview 1, for `[patch.crates-io]`: tokio, hyper and axum run on it unmodified.
//!
//! The README beside it tells how it is used, and lists each public item of mio 1.2.
//!
//! # In scope
//! - The API of mio 1.2 with the features `os-poll` and `net`, as far as preview 1 can.
//! - mio's contracts: see `Poll`.
//!
//! # Out of scope
//! - Every other platform. Natively this crate is empty, and refuses its features.
//! - Opening sockets, wakers, UDP: preview 1 has no calls for them.
//!
//! # Where things are
//! | module | what |
//! |---|---|
//! | `selector` | which directions are waited for, and what is reported: the logic |
//! | `io_source` | a socket and its registration |
//! | `preopened` | the listeners that the runtime has opened |
//! | `event`, `interest`, `token`, `poll`, `waker`, `net` | mio's types, thin over these |
//! | `sys` | the sockets and calls of preview 1, or of a fake runtime in tests |
//!
//! What runtimes make of `poll_oneoff` is the business of `wasip1-poll`.
//!
//! # Invariants
//! - **No event after `deregister`.** A registration's place in the selector has a generation, and
//!   what was not yet reported goes with it.
//! - **A socket's registration ends before its file descriptor is closed**: dropping the source does
//!   it in this order.
//! - **What has fired is quiet** until an answer of `WouldBlock` arms it again, that direction only.
//! - **A connection's fault is its event**, and never an error of the poll.

#![cfg_attr(
    not(all(feature = "os-poll", feature = "net")),
    allow(
        dead_code,
        unused_imports,
        reason = "the net types use it, and they are off"
    )
)]
// In tests the selector is over a runtime in memory, which isn't `Send`.
#![cfg_attr(
    test,
    allow(clippy::arc_with_non_send_sync, reason = "one thread a test")
)]

#[cfg(all(
    not(all(target_os = "wasi", target_env = "p1")),
    any(feature = "os-poll", feature = "net"),
    not(test)
))]
compile_error!(
    "this package `mio` is a shim for wasm32-wasip1 only, and it is being built for another target. \
     A manifest whose [patch.crates-io] names the shim builds with `--target wasm32-wasip1` and no \
     other way: for native builds use a second manifest of the same sources without the patch (see \
     shim/README.md of mini_http)."
);

/// Names the shim. A program that needs it says `const _: &str = mio::WASIP1_SHIM;`, so that it
/// doesn't compile when cargo has not used the patch, of which cargo itself only warns.
pub const WASIP1_SHIM: &str = env!("CARGO_PKG_VERSION");

macro_rules! modules {
    ($($item:item)*) => {$(
        #[cfg(any(all(target_os = "wasi", target_env = "p1"), test))]
        $item
    )*};
}

modules! {
    pub mod event;
    mod interest;
    mod io_source;
    mod poll;
    mod selector;
    mod sys;
    mod token;
    mod waker;

    #[doc(no_inline)]
    pub use event::Events;
    pub use interest::Interest;
    pub use poll::{Poll, Registry};
    pub use token::Token;
    pub use waker::Waker;

    #[cfg(any(feature = "net", test))]
    pub mod net;
    #[cfg(any(feature = "net", test))]
    mod preopened;
    #[cfg(all(feature = "net", not(test)))]
    pub use preopened::preopened_listener;

    #[cfg(test)]
    mod tests;
}
