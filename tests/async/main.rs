//! Handlers that are futures, and bodies that stream, natively over real sockets.
#![cfg(not(target_os = "wasi"))]

mod disconnects;
mod failures;
#[path = "../common/quiet.rs"]
mod quiet;
mod requests;
mod responses;
mod server;
mod stop;
mod tower;
mod upgrades;
mod uploads;
