//! A small, strict HTTP/1.1 server, with the same API natively and in WASI runtimes.
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
//! # Asynchronous handlers
//! [`Server::serve_async`] serves futures, and bodies that stream in both directions. It needs no other
//! executor.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use mini_http::{Incoming, IncomingError, Response, Server, http::Request, sleep};
//!
//! async fn handle(request: Request<Incoming>) -> Result<Response<String>, IncomingError> {
//!     let body = request.into_body().bytes().await?;
//!     sleep(Duration::from_millis(200)).await;
//!     Ok(Response::new(format!("{} bytes, 200 ms later\n", body.len())))
//! }
//!
//! fn main() -> mini_http::Result<()> {
//!     Server::new("127.0.0.1:3000")?.serve_async(handle)
//! }
//! ```
//!
//! | | |
//! |---|---|
//! | [`Incoming`], [`IncomingError`], [`PeerAddr`] | the request's body, an error of it, the client's address |
//! | [`IntoResponse`] | what the future may return |
//! | [`body`] | bodies of responses: readers, iterators, bodies of any type |
//! | [`sleep`], [`spawn()`], [`Server::spawn`] | a timer, and tasks beside the requests |
//! | [`Handle::stopping`], [`Handle::stop_within`] | how streams and tasks end when the server stops |
//! | [`upgrade()`], [`Upgraded`] | WebSocket and other protocols on the same connection; tunnels |
//! | [`mod@test`] | tests of handlers without a server |
//!
//! # In scope
//! HTTP/1.1 and 1.0 (RFC 9110, RFC 9112) over TCP, on Unix also over Unix domain sockets: natively on every platform of
//! mio, on `wasm32-wasip1` with listening sockets opened by the runtime, and on `wasm32-wasip2`. Persistent
//! connections, pipelining, request bodies with `Content-Length` or chunked, `Expect:
//! 100-continue`, HEAD, streams. Limits on all memory and time that a client can take ([`Limits`]).
//!
//! # Out of scope
//! TLS, HTTP/2 and HTTP/3 (use a proxy for them), routing, compression, serving files. All handlers run on
//! one thread, the server's: a synchronous one, or a future whose `poll` doesn't return, stops the others.
//! Natively, a server can have several [workers](Server::workers), each on a thread with a handler of its own.
//!
//! # Map
//!
//! | module | what it does |
//! |---|---|
//! | `server`, `handle`, [`Limits`] | the API: make, configure, start and stop a server, read its counters |
//! | `shares` | the limits of a server with several workers |
//! | `listeners` | where the listening sockets come from, on each platform |
//! | `reactor` | the `Reactor` trait and its contract; implementations for mio, WASI preview 1 and 0.2 |
//! | `event_loop` | the loop for all reactors: accept, read, call the handler, write, deadlines |
//! | `incoming`, [`body`] | bodies of requests and responses |
//! | `upgrade` | connections that were upgraded to another protocol |
//! | `conn` | a connection as a state machine that does no I/O |
//! | `executor` | tasks, sleeps and wake-ups, for asynchronous handlers |
//! | `observe`, `counters` | access logs, functions called for each response, [`Counters`], their text for Prometheus |
//! | `forwarded` | the client's address behind proxies: [`TrustedProxies`] |
//! | `signals`, `systemd`, `tower`, `wasi_http` | each belongs to the feature of the same name |
//! | [`mod@test`] | tests of asynchronous handlers, without a server |
//!
//! # Features
//! Only `log` is on by default.
//!
//! * `log` writes [log lines](#logs). Without it there are none, and modules of WASI are smaller.
//! * `signals` has `Server::stop_on_signals`, by which SIGTERM and SIGINT stop a server.
//! * `systemd` has `Server::notify_systemd`, which reports to systemd that the server is ready, alive, or stopping.
//! * `proxy-protocol` adds `Server::proxy_protocol`: the PROXY protocol, versions 1 and 2.
//! * `tower` adds `Server::serve_tower`, for services of `tower`, such as an axum `Router`.
//! * `wasi-http` adds the macro `export!`, which makes a handler a component for hosts of `wasi:http`
//!   (`wasm32-wasip2`): `wasmtime serve`, Spin, wasmCloud.
//! * `unstable` makes `conn` and `reactor` public, with `Key` and `Instant`: for fuzzers, and for
//!   programs that drive a connection with their own I/O. Every release may change them.
//!
//! # Invariants
//! * No client can end the process or starve other clients. An invalid request is refused on its own
//!   connection.
//! * Every open connection has a deadline, unless it was upgraded, or waits for an asynchronous handler or its
//!   response's next piece. [`Limits::handler_timeout`] sets one for the handler.
//! * `conn` uses no socket and no clock; `event_loop` has no platform-specific code.
//! * Every close has a [`CloseReason`].
//!
//! # Logs
//! Written with the crate [`log`](https://docs.rs/log), unless the feature `log` is off.
//!
//! | target | level | content |
//! |---|---|---|
//! | `mini_http` | `info` | the addresses it listens on |
//! | | `debug` | the events of each connection |
//! | | `warn`, `error` | problems that the operator should act on |
//! | `mini_http::conn` | `debug` | request heads, also refused ones, with secrets masked |
//! | | `trace` | request bodies, which are not masked and may contain passwords |
//! | `wasi` (on WASI) | `trace` | each call to the runtime, one per line |
//!
//! Masked are `Authorization`, `Proxy-Authorization`, `Cookie`, `Set-Cookie` and user information in
//! the target. Bytes from clients are escaped and cut at 1 KiB. Lines of one connection contain its
//! number: `grep -w 'conn 7'` finds them, on WASI preview 1 with its calls to the runtime.
#![forbid(unsafe_code)]
// docs.rs shows which feature an item needs.
#![cfg_attr(docsrs, feature(doc_cfg))]
// Without the feature, items that it makes public would look unused. Builds with the feature have
// these lints.
#![cfg_attr(
    not(feature = "unstable"),
    allow(
        dead_code,
        unreachable_pub,
        unused_imports,
        reason = "public with the feature `unstable`"
    )
)]

#[cfg(feature = "wasi-http")]
#[doc(hidden)]
#[path = "wasi_http/mod.rs"]
#[cfg_attr(
    not(any(test, all(target_os = "wasi", target_env = "p2"))),
    expect(dead_code, reason = "only components and tests call it")
)]
pub mod __wasi_http;
pub mod body;
mod connection_id;
mod counters;
mod deadlines;
#[cfg(doctest)]
mod documents;
mod error;
mod event_loop;
mod executor;
mod failure;
mod forwarded;
mod handle;
mod incoming;
mod into_response;
mod limits;
mod listeners;
mod log_text;
mod observe;
mod peer_addr;
mod request;
mod server;
mod shares;
#[cfg(feature = "signals")]
mod signals;
mod stopping;
#[cfg(feature = "systemd")]
mod systemd;
pub mod test;
mod time;
#[cfg(feature = "tower")]
mod tower;
mod upgrade;

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

// The macros of log lines, which do nothing without the feature `log`. All code takes them from here.
use poll_turns::log;

pub use bytes::Bytes;
pub use http::{self, Response, header, method, response, status, uri, version};
pub use http_body;

pub use body::Body;
pub use conn::{CloseReason, Refusal};
pub use connection_id::{ConnectionId, LocalAddr};
pub use counters::{Counters, Histogram};
pub use error::{Error, ErrorKind, Result};
pub use executor::{Sleep, sleep, spawn};
pub use forwarded::{ForwardedBy, TrustedProxies};
pub use handle::Handle;
pub use incoming::{Incoming, IncomingError};
pub use into_response::IntoResponse;
pub use limits::Limits;
pub use observe::{AccessLog, LogFormat, ResponseEvent};
pub use peer_addr::PeerAddr;
pub use request::Request;
pub use server::Server;
pub use stopping::Stopping;
pub use upgrade::{Upgrade, Upgraded, upgrade};
