//! mio's API on WASI preview 1, for `[patch.crates-io]`: tokio, hyper and axum run on it unmodified.
//!
//! The README of this package says how to use it, and lists each public item of mio 1.2.
//!
//! # In scope
//! - The API of mio 1.2 with the features `os-poll` and `net`, as far as preview 1 permits.
//! - mio's contracts: see `Poll`.
//!
//! # Out of scope
//! - Every other platform. Natively this crate is empty, and doesn't compile with its features.
//! - Opening sockets, wakers, UDP: preview 1 has no calls for them.
//!
//! # Modules
//! | module | what |
//! |---|---|
//! | `selector` | turns the poller's level-triggered reports into mio's edge-triggered events |
//! | `io_source` | a socket and its registration |
//! | `preopened` | the listeners that the runtime has opened |
//! | `event`, `interest`, `token`, `poll`, `waker`, `net` | mio's types, which call the modules above |
//! | `sys` | the sockets and calls of preview 1, or of a fake runtime in tests |
//!
//! `wasip1-poll` deals with `poll_oneoff`, and with the ways in which runtimes differ.
//!
//! # Invariants
//! - **No event after `deregister`.** A registration's slot in the selector has a generation. Events that are
//!   pending are dropped with the registration.
//! - **A socket's registration ends before its file descriptor is closed.** Dropping a source does both, in this
//!   order.
//! - **A direction that was reported is not reported again** until a call in this direction fails with
//!   `WouldBlock`. That call arms only its own direction.
//! - **A fault of one connection is an event of that connection**, never an error of the poll.

#![cfg_attr(
    not(all(feature = "os-poll", feature = "net")),
    allow(
        dead_code,
        unused_imports,
        reason = "only the net types use it, and they are disabled"
    )
)]
// In tests the selector uses the fake runtime, which isn't `Send`.
#![cfg_attr(
    test,
    allow(clippy::arc_with_non_send_sync, reason = "each test has one thread")
)]

#[cfg(all(
    not(all(target_os = "wasi", target_env = "p1")),
    any(feature = "os-poll", feature = "net"),
    not(test)
))]
compile_error!(
    "this package `mio` is a shim for wasm32-wasip1 only, and it is being built for another target. \
     A manifest whose [patch.crates-io] names the shim builds only with `--target wasm32-wasip1`. For \
     native builds, use a second manifest of the same sources without the patch (see shim/README.md \
     of mini_http)."
);

/// The version of the shim. A program that needs the shim has the line `const _: &str = mio::WASIP1_SHIM;`. Then
/// it doesn't compile if cargo hasn't used the patch, for which cargo itself only prints a warning.
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

    /// The error of a method for which preview 1 has no call.
    fn unsupported(text: &'static str) -> std::io::Error {
        std::io::Error::new(std::io::ErrorKind::Unsupported, text)
    }
}
