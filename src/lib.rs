//! A small, strict HTTP/1.1 server whose one API runs natively and inside WASI runtimes.
//!
//! ```no_run
//! fn main() -> mini_http::Result<()> {
//!     mini_http::Server::new("127.0.0.1:3000")?.start(|request| {
//!         let body = format!("{} {}\n", request.method(), request.uri());
//!         mini_http::Response::new(body.into_bytes())
//!     })
//! }
//! ```
//!
//! # In scope
//! HTTP/1.1 and 1.0 (RFC 9110, RFC 9112) over TCP, natively on every platform of mio, and on
//! `wasm32-wasip1` with the sockets that the runtime hands over, and on `wasm32-wasip2`. Persistent connections,
//! pipelining, `Content-Length` and chunked request bodies, `Expect: 100-continue`, HEAD; bounds
//! on everything a client can make the server hold or wait for ([`Limits`]).
//!
//! # Out of scope
//! TLS, HTTP/2 and 3 (put a proxy in front), routing, compression, files. Handlers are called one
//! at a time on the server's thread.
//!
//! # Map
//!
//! | module | what it is |
//! |---|---|
//! | `server`, `handle`, [`Limits`] | what a user makes, sets, stops and counts |
//! | `listeners` | where the listening sockets come from, on each platform |
//! | `reactor` | the `Reactor` trait with its contract; mio; WASI preview 1 and 0.2 |
//! | `event_loop` | one loop for all reactors: accept, read, handle, write, deadlines |
//! | `conn` | the connection: a state machine without input and output |
//!
//! # Features
//! * `unstable` makes `conn` and `reactor` public, with `Key` and `Instant`: for fuzzers, and for
//!   programs that drive a connection by themselves. Every release may change what is in them.
//!
//! # Invariants
//! * No client ends the process or starves another client. Its faults are answered on its own
//!   connection.
//! * Every connection that is not closed has a deadline.
//! * Nothing in `conn` knows a socket or a clock; nothing in `event_loop` knows a platform.
//! * Every close has a [`CloseReason`].
//!
//! # Logs
//! By the [`log`] crate. Target `mini_http`: at `info` where it listens, at `debug` what happens
//! to each connection, at `error` what the operator should act on. Target `mini_http::conn`: at
//! `debug` the heads of requests, also of those that are refused, with `Authorization`,
//! `Proxy-Authorization`, `Cookie`, `Set-Cookie` and user information masked; at `trace` also
//! bodies, which are not masked and may have passwords. All of it is escaped and cut at 1 KiB.
//! Target `wasi` (on WASI): at `trace` every call to the runtime, one a line; on preview 1 with its
//! connection, so that `grep -w 'conn 7'` gives all of one.
#![forbid(unsafe_code)]
// Builds with the feature have these lints; without it, what it would make public looks unused.
#![cfg_attr(
    not(feature = "unstable"),
    allow(
        dead_code,
        unreachable_pub,
        unused_imports,
        reason = "public with the feature `unstable`"
    )
)]

mod body;
mod error;
mod event_loop;
mod handle;
mod limits;
mod listeners;
mod log_text;
mod request;
mod server;
mod time;

cfg_if::cfg_if! {
    if #[cfg(feature = "unstable")] {
        pub mod conn;
        pub mod reactor;

        pub use poll_turns::Key;
        pub use time::Instant;
    } else {
        mod conn;
        mod reactor;
    }
}

pub use bytes::Bytes;
pub use http::{self, Response, header, method, response, status, uri, version};

pub use body::Body;
pub use conn::{CloseReason, Refusal};
pub use error::{Error, ErrorKind, Result};
pub use handle::{Counters, Handle};
pub use limits::Limits;
pub use request::Request;
pub use server::Server;
