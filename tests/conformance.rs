//! Runs the cases of `tests/conformance/` against the connection's state machine and over sockets.
//!
//! Over sockets, the server is any that responds like `examples/echo`, or the example `conformance_server`, which
//! has all handlers and limits. It may run in any runtime. `ci/run conformance` starts the servers and runs all cases.
//! By hand, with the example echo:
//!
//! ```sh
//! MINI_HTTP_CONFORMANCE=127.0.0.1:3000 cargo test --test conformance over_a_socket -- --ignored --nocapture
//! ```
//!
//! `MINI_HTTP_HANDLER` and `MINI_HTTP_SETTINGS` are the handler and the settings of the server.
//! `MINI_HTTP_PANIC=abort` leaves out the cases in which the handler panics, which can't be run if a panic ends the
//! process.

#![cfg(not(target_os = "wasi"))]

mod common;

use common::cases::{self, Case, End, Handler};
use common::check::{self, Probe, Setup, Subject};
use common::machine::{self, Machine};
use common::notation::{self, Step};
use common::serve::{self, Mode};
use common::socket::{self, Address, Pieces, Socket};
use mini_http::{Handle, Server};
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::Duration;

fn all_cases() -> Vec<Case> {
    cases::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance"))
}

#[test]
fn every_case_holds_for_the_state_machine_at_every_split() {
    every_case_holds(Machine::default());
}

#[test]
fn every_case_holds_for_the_state_machine_with_streamed_bodies() {
    every_case_holds(Machine::streaming());
}

fn every_case_holds(mut machine: Machine) {
    let mut cases = all_cases();
    let mode = match machine.streams {
        true => Mode::Async,
        false => Mode::Whole,
    };
    cases.retain(|case| serve::can_serve(mode, case.handler));
    let mut runs = 0;
    let mut failures = Vec::new();
    for case in &cases {
        for input in &case.inputs {
            failures.extend(run_all_ways(case, input, &mut machine, &mut runs));
        }
    }
    let inputs: usize = cases.iter().map(|case| case.inputs.len()).sum();
    let summary = format!("{} cases, {inputs} inputs, {runs} runs", cases.len());
    conclude(&summary, runs, &failures);
}

#[test]
fn every_case_holds_for_a_native_server() {
    check_native_servers(Mode::Whole);
}

#[test]
fn every_case_holds_for_a_native_server_whose_handler_is_a_future() {
    check_native_servers(Mode::Async);
}

/// There, half-closed streams, resets and so on are the same as over TCP.
#[cfg(unix)]
#[test]
fn every_case_holds_for_a_native_server_at_a_unix_domain_socket() {
    let name = format!("mh-conformance-{}.sock", std::process::id());
    let path = std::env::temp_dir().join(name);
    check_native_servers_at(Some(&path), Mode::Whole);
}

fn check_native_servers(mode: Mode) {
    check_native_servers_at(None, mode);
}

/// Runs the cases against servers at this path, or else at a port.
fn check_native_servers_at(path: Option<&Path>, mode: Mode) {
    let cases = all_cases();
    let servers = servers(&cases);
    let mut runs = 0;
    let mut failures = Vec::new();
    for (handler, settings) in servers {
        if !serve::can_serve(mode, handler) {
            continue;
        }
        let (address, handle, thread) = serve(path, handler, settings, mode);
        let (patience, pieces) = (Duration::from_secs(30), Pieces::Few);
        let subject = Socket {
            address,
            handler,
            settings,
            patience,
            pieces,
        };
        let (more, failed) = socket::run_all(&cases, subject);
        runs += more;
        failures.extend(failed);
        handle.stop();
        thread
            .join()
            .expect("no panic")
            .expect("the server ends well");
    }
    let summary = format!("{} cases, {runs} runs", cases.len());
    conclude(&summary, runs, &failures);
}

#[test]
#[ignore = "needs a server's address in MINI_HTTP_CONFORMANCE"]
fn every_case_holds_over_a_socket() {
    let variable = |name| std::env::var(name).unwrap_or_default();
    let address = variable("MINI_HTTP_CONFORMANCE");
    let settings = cases::settings(&variable("MINI_HTTP_SETTINGS")).expect("settings");
    let subject = Socket {
        address: Address::Tcp(address.parse().expect("an address like 127.0.0.1:3000")),
        handler: cases::handler(&variable("MINI_HTTP_HANDLER")).expect("a handler"),
        settings: &settings,
        patience: Duration::from_secs(30),
        pieces: Pieces::Many,
    };
    let mut cases = all_cases();
    if variable("MINI_HTTP_PANIC") == "abort" {
        cases.retain(|case| !case.inputs.iter().any(|input| asks_for_a_panic(input)));
    }
    let (runs, failures) = socket::run_all(&cases, subject);
    let fitting = cases
        .iter()
        .filter(|case| socket::fits(case, &subject))
        .count();
    conclude(&format!("{fitting} cases, {runs} runs"), runs, &failures);
}

fn asks_for_a_panic(input: &[Step]) -> bool {
    let bytes = check::bytes(input);
    bytes.windows(9).any(|window| window == b"panic=now")
}

/// Writes a line for each server that the cases need, with its handler and settings.
#[test]
#[ignore = "for ci/run conformance"]
#[expect(clippy::print_stdout, reason = "ci/run conformance reads it")]
fn which_servers_are_needed() {
    for (handler, settings) in servers(&all_cases()) {
        let settings = settings
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let settings = settings.collect::<Vec<_>>().join(", ");
        let handler = match handler {
            Handler::Echo => "echo",
            Handler::Respond => "respond",
            Handler::Complete => "complete",
            Handler::Upgrade => "upgrade",
        };
        println!("server: {handler} {settings}");
    }
}

/// All combinations of a handler and settings that the cases need.
fn servers(cases: &[Case]) -> Vec<(Handler, &[(String, u64)])> {
    let mut servers: Vec<(Handler, &[(String, u64)])> = Vec::new();
    for case in cases {
        let server = (case.handler, case.settings.as_slice());
        if !servers.contains(&server) {
            servers.push(server);
        }
    }
    servers
}

/// Starts a server in a thread, at this path or else at a port.
fn serve<'a>(
    path: Option<&'a Path>,
    handler: Handler,
    settings: &[(String, u64)],
    mode: Mode,
) -> (Address<'a>, Handle, JoinHandle<mini_http::Result<()>>) {
    let name = path.map_or("127.0.0.1:0".into(), |path| {
        format!("unix:{}", path.display())
    });
    let mut server = Server::new(&name).expect("a free address");
    let limits = machine::limits(settings).expect("known settings");
    server.limits(|defaults| *defaults = limits);
    server.proxy_protocol(machine::wants_proxy_header(settings));
    let address = match path {
        Some(path) => Address::Unix(path),
        None => Address::Tcp(server.local_addr().expect("an address")),
    };
    let handle = server.handle();
    let serve = move || serve::serve(&server, handler, mode);
    (address, handle, thread::spawn(serve))
}

/// Runs an input once for each way to cut it, until one fails.
fn run_all_ways(
    case: &Case,
    input: &[Step],
    machine: &mut Machine,
    runs: &mut usize,
) -> Option<String> {
    let setup = Setup {
        handler: case.handler,
        settings: &case.settings,
        end: case.end,
        responses: case.responses.len(),
    };
    let mut whole = None;
    for places in check::ways_to_cut(input) {
        let steps = check::cut(input, &places);
        let way = match places.as_slice() {
            [] => "whole".to_owned(),
            [at] => format!("cut at {at}"),
            [_, _, ..] => format!("in {} pieces", places.len() + 1),
        };
        *runs += 1;
        let outcome = match machine.run(&steps, &setup) {
            Ok(outcome) => outcome,
            Err(problem) => return Some(check::report(case, &way, &steps, "", &problem)),
        };
        let responded = notation::show(&outcome.responded);
        if let Err(problem) = check::check(case, &outcome, Probe::None) {
            return Some(check::report(case, &way, &steps, &responded, &problem));
        }
        let events = check::events(case, &outcome).expect("checked before");
        if *whole.get_or_insert_with(|| events.clone()) != events {
            let problem = "the outcome in pieces differs from that of the whole input";
            return Some(check::report(case, &way, &steps, &responded, problem));
        }
    }
    // After the end of the client's stream there can't be another request.
    let can_be_probed = check::can_go_on(input) && case.end != End::Waiting;
    if can_be_probed {
        let steps = check::followed_by(input, Probe::Staying.bytes());
        let outcome = machine.run(&steps, &setup);
        let (responded, result) = match &outcome {
            Ok(outcome) => {
                let result = check::check(case, outcome, Probe::Staying);
                (notation::show(&outcome.responded), result)
            }
            Err(problem) => (String::new(), Err(problem.clone())),
        };
        if let Err(problem) = result {
            return Some(check::report(
                case,
                "with a request after it",
                &steps,
                &responded,
                &problem,
            ));
        }
    }
    None
}

#[expect(clippy::print_stdout, reason = "people want to see how much was run")]
fn conclude(summary: &str, runs: usize, failures: &[String]) {
    println!("{summary}");
    assert!(runs > 0, "no case is for such a server");
    let count = failures.len();
    assert!(
        failures.is_empty(),
        "{summary}, {count} failed:\n\n{}",
        failures.join("\n")
    );
}
