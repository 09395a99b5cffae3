//! Tests of whole programs: servers run as processes, natively and in every WASI runtime, and clients are curl and
//! raw sockets.
//!
//! The parts, for writing another test over real sockets:
//! - [`Program::example`] builds an example for a [`Runtime`]. [`Server::start`] runs it on a free port; it has an
//!   address, a process id and a log, and is killed when it is dropped.
//! - [`Client`] is a raw connection that can send what no well-behaved client sends: single bytes, half a request, a
//!   reset.
//! - [`Report`] collects the outcomes and prints them as a table, with a row for each case and a column for each
//!   runtime, and then a line `N passed, N failed`.
//! - [`wait`] waits for what another process does: on a busy machine, no test may assume that something has happened by
//!   now. A bound on a server's time is a [`server::Deadline`].
//! - [`command_line`] is the command line, `ci/run`. To add a check, add an entry to its table.
//!
//! Each read, each write and each curl has a time limit, so a server that hangs is a failure and doesn't make the test
//! hang.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the reports are for people"
)]

pub mod abuse;
pub mod access_log;
pub mod addresses;
pub mod axum;
pub mod browser;
pub mod chunked;
pub mod client;
pub mod clients;
pub mod command_line;
pub mod conformance;
pub mod curl;
pub mod curl_matrix;
pub mod dead_peer;
pub mod documents;
pub mod examples;
pub mod files;
pub mod first_response;
pub mod first_run;
pub mod fleet;
pub mod idle;
pub mod load;
pub mod own_project;
pub mod probe;
pub mod program;
pub mod proxy;
pub mod random;
pub mod redis;
pub mod registry_mio;
pub mod report;
pub mod resets;
pub mod restart;
pub mod runtime;
pub mod server;
pub mod shim_programs;
pub mod stop;
pub mod streaming;
pub mod tls;
pub mod unit_tests;
pub mod units;
pub mod upgrade;
pub mod wait;
pub mod wasi_http;
pub mod websocket;

use std::path::{Path, PathBuf};

pub use client::Client;
pub use program::Program;
pub use report::Report;
pub use runtime::Runtime;
pub use server::Server;

/// The result of a check. The error is a text for people that says what went wrong.
pub type Outcome<T = ()> = Result<T, String>;

/// The folder of the checkout.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// Fails with the message that the arguments format, unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}
