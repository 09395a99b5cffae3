//! Checks upgraded connections: the example `websocket` with independent clients and the minimal one of `websocket/`,
//! and bytes in both directions with the server `async_server` of `tests/servers`.

mod bytes;
mod clients;

use std::thread;

use crate::{Outcome, Program, Report, Runtime, Server, root, websocket};

/// A row of the table, and its outcome.
type Row = (String, Outcome<String>);

/// Runs everything on each of these runtimes.
#[must_use]
pub fn run(runtimes: &[Runtime]) -> Report {
    let mut report = Report::new("upgraded connections", runtimes);
    for &runtime in runtimes {
        let (example, server) = (example(runtime), server(runtime));
        // Side by side: the second mostly waits.
        let rows = thread::scope(|scope| {
            let bytes = scope.spawn(|| bytes::run(&server));
            let mut rows = web_sockets(&example);
            rows.extend(bytes.join().expect("it doesn't panic"));
            rows
        });
        for (row, outcome) in rows {
            report.add(&row, runtime, outcome);
        }
    }
    report
}

fn example(runtime: Runtime) -> Outcome<Program> {
    let package = ["--locked", "--package", "websocket"];
    Program::build(runtime, &root().join("examples"), &package, true)
}

fn server(runtime: Runtime) -> Outcome<Program> {
    Program::example(runtime, "async_server", true)
}

fn web_sockets(program: &Outcome<Program>) -> Vec<Row> {
    // A request without a handshake gets the page.
    let mut rows = websocket::check_program(program, |case| case != websocket::NO_HANDSHAKE);
    let started = program
        .as_ref()
        .map_err(Clone::clone)
        .and_then(|it| Server::start(it, &[]));
    rows.extend(clients::run(started));
    rows
}
