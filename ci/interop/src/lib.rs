//! Tests from outside: servers as processes, natively and in every WASI runtime, against curl and
//! against raw sockets.
//!
//! The parts, for whoever writes another test over real sockets:
//! - [`Program::example`] builds an example for a [`Runtime`], [`Server::start`] runs it on a free port
//!   and gives its address, its process id and its log, and ends it when dropped.
//! - [`Client`] is a raw connection that can send what no well-behaved client sends: bytes one at a
//!   time, half a request, a reset.
//! - [`Report`] collects the outcomes, prints them as a table (rows cases, columns runtimes), and then
//!   a line `N passed, N failed`.
//! - [`door`] is the command line, `ci/run`: a new check is an entry of its table.
//!
//! Everything is bounded in time: each read, each write and each curl has its limit, so that a server
//! that hangs is a failure and not a test that hangs.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "its reports are for a person"
)]

pub mod abuse;
pub mod client;
pub mod conformance;
pub mod curl;
pub mod door;
pub mod files;
pub mod first_answer;
pub mod idle;
pub mod matrix;
pub mod own_project;
pub mod probe;
pub mod program;
pub mod random;
pub mod registry_mio;
pub mod report;
pub mod resets;
pub mod runner;
pub mod runtime;
pub mod server;
pub mod shim;
pub mod unit_tests;
pub mod websocket;

use std::path::{Path, PathBuf};

pub use client::Client;
pub use program::Program;
pub use report::Report;
pub use runtime::Runtime;
pub use server::Server;

/// How a check ends: well, or with what went wrong, for a person to read.
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
