//! Checks components that the macro `export!` has made, in hosts of `wasi:http`: `wasmtime serve`, and jco's `serve`.
//!
//! - `hosts`: builds components, and starts a host with one.
//! - `streams`: bodies in both directions, time, trailers, clients that are gone.
//! - `apps`: the examples `everywhere`, `sse`, `upload` and `axum`.
//! - `fleet`: many connections, and two hosts behind HAProxy.

mod apps;
mod fleet;
mod hosts;
mod streams;

use crate::{Outcome, Report, Runtime, Server, curl_matrix};
use hosts::Component;

/// A name, and what it checks of a host that runs a component.
type Case = (&'static str, fn(&Server) -> Outcome);

/// The cases of the curl matrix that aren't checked here. They are about connections, which the host handles, and not
/// the component.
const OF_HOSTS: [&str; 4] = [
    // A request without `Host`: wasmtime responds with 500.
    "HTTP/1.0",
    // wasmtime takes the client's end of stream for the end of the connection.
    "half-close after the request",
    "half-close after pipelining",
    // A host logs each client that is gone.
    "log without complaints",
];

/// Runs all checks in these hosts.
#[must_use]
pub fn run(hosts: &[Runtime]) -> Report {
    let mut report = Report::new("wasi-http", hosts);
    for &host in hosts {
        let is_wanted = |case: &str| !OF_HOSTS.contains(&case);
        curl_matrix::check(&mut report, "curl matrix: ", host, is_wanted, || {
            Component::example("echo-http")?.start(host, &[])
        });
        streams::check(&mut report, host);
        apps::check(&mut report, host);
        fleet::check(&mut report, host);
    }
    report
}

/// Runs these cases against a host with a component.
fn run_cases(report: &mut Report, host: Runtime, server: Outcome<Server>, cases: &[Case]) {
    let mut server = server;
    for (name, case) in cases {
        let outcome = match &mut server {
            // The reason is reported only once.
            Err(why) => Err(std::mem::replace(why, "no host".into())),
            Ok(server) => case(server).and_then(|()| server.check_alive()),
        };
        if let (Err(_), Ok(failing)) = (&outcome, &mut server) {
            eprintln!("    the log: {}", failing.keep_log());
        }
        report.add(name, host, outcome.map(|()| "ok".into()));
    }
}
