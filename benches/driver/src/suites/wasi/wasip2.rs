//! WASI 0.2: ours beside the floor, a bare loop over `wasi:sockets`, and a component of `wasi:http`
//! that `wasmtime serve` runs.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use interop::{Outcome, Runtime};

use super::contestant::{OUR_SERVER, Server};
use super::load::{ClientMode, Setting};
use super::{FLOOR, Goals, Idle, OURS, Run, Suite, Times, load, memory, quiet, rest};
use crate::report::{Report, locked};

pub(crate) static WASIP2: Suite = Suite {
    name: "wasip2",
    runtimes: &[Runtime::Wasmtime48],
    servers: &[
        Server {
            reports_memory: false,
            ..Server::new(FLOOR, &["--package", "wasip2-servers", "--bin", "floor"])
        },
        Server {
            reports_memory: false,
            command: serve,
            ..Server::new(HTTP, &["--package", "wasip2-servers", "--example", "http"])
        },
        OUR_SERVER,
        Server {
            reports_memory: false,
            command: serve,
            only: &[WASI_HTTP],
            ..Server::new(
                OURS_HTTP,
                &["--package", "wasip2-servers", "--example", "ours_http"],
            )
        },
    ],
    scenarios: &[
        (rest::SCENARIO, rest::run),
        (load::MANY, load::run_many),
        (load::ONE, load::run_one),
        (quiet::SCENARIO, quiet::run),
        (memory::SCENARIO, memory::run),
        (WASI_HTTP, run_wasi_http),
    ],
    idle: Idle {
        rest: &[0, 1_000],
        load: &[0, 1_000],
        quiet: &[100, 1_000],
        memory: 1_000,
    },
    goals: Goals {
        runtime: Runtime::Wasmtime48,
        times: &[
            Times::new(load::MANY, 0, OURS, FLOOR, 1.15),
            Times::new(load::MANY, 0, OURS, HTTP, 0.25),
            Times::new(WASI_HTTP, 0, OURS_HTTP, HTTP, 1.05),
        ],
        beside_idle: 1.4,
    },
    versions: || locked("benches", &["wasip2"]),
};

const HTTP: &str = "http";
/// Ours as a component of `wasi:http`.
const OURS_HTTP: &str = "ours_http";
const WASI_HTTP: &str = "wasi-http";

/// Our component of `wasi:http` beside the smallest one, which uses the bindings alone. The host is the same.
fn run_wasi_http(run: &Run<'_>) -> Outcome<Report> {
    let setting = Setting {
        scenario: WASI_HTTP,
        busy: 64,
        base: (HTTP, "times the bindings'"),
        clients: ClientMode::Spin,
    };
    load::compare(run, &setting, &run.cases_of(&[HTTP, OURS_HTTP], &[0]))
}

/// The host accepts connections and implements HTTP. The component needs `cli` for what Rust's standard library
/// imports. By default the host accepts no more than 1,000 connections.
fn serve(runtime: Runtime, component: &Path, address: SocketAddr) -> Outcome<Command> {
    let mut command = Command::new(runtime.path()?);
    command.args(["serve", "-S", "cli", "--max-concurrent-connections=100000"]);
    command.arg(format!("--addr={address}")).arg(component);
    Ok(command)
}
