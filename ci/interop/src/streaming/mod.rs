//! Handlers that are futures, and bodies that stream: the server `async_server` of `tests/servers`, and the
//! examples `upload` and `download`.

mod bodies;
mod disk;
mod gone;
mod requests;
mod slow;
mod waiting;

use crate::{Client, Outcome, Program, Report, Runtime, Server};

/// The settings of a run.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Whether the servers are release builds.
    pub release: bool,
}

/// Bodies that stream may be larger than the memory for all connections.
const SETTINGS: [(&str, &str); 2] = [("RUST_LOG", "info"), ("MAX_BODY", "1073741824")];

/// A name, and the case, which returns a word for the table.
type Case = (&'static str, fn(&mut Server) -> Outcome<String>);

/// Runs all cases on each of these runtimes.
#[must_use]
pub fn run(runtimes: &[Runtime], settings: Settings) -> Report {
    let mut report = Report::new("async", runtimes);
    for &runtime in runtimes {
        let gone = gone::begin(runtime, settings.release);
        let program = Program::example(runtime, "async_server", settings.release);
        let mut server = program.and_then(|it| Server::start(&it, &SETTINGS));
        let cases = [waiting::CASES, bodies::CASES, requests::CASES];
        // The last one stops the server.
        for (name, case) in cases.into_iter().flatten().chain(&[waiting::STOP]) {
            let outcome = match &mut server {
                Ok(server) => case(server),
                Err(why) => Err(why.clone()),
            };
            report.add(name, runtime, outcome);
        }
        let log = server.and_then(|it| it.check_log_but(&requests::LOGGED));
        report.add(
            "only expected log lines",
            runtime,
            log.map(|()| "ok".into()),
        );
        report.add(slow::NAME, runtime, slow::run(runtime, settings.release));
        report.add(disk::NAME, runtime, disk::run(runtime));
        report.add(gone::NAME, runtime, gone.and_then(gone::Gone::end));
    }
    report
}

/// A request without a body.
fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")
}

/// A request with a body.
fn post(target: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// A number that a path of the server responds with.
fn number(client: &mut Client, target: &str) -> Outcome<u64> {
    client.send(get(target))?;
    let response = client.response()?;
    let text = String::from_utf8_lossy(&response.body);
    text.parse().map_err(|e| format!("{target} is {text}: {e}"))
}
