//! `wasip1-host`: the same programs in it and elsewhere, in one run.
//!
//! Here a server is a program together with its runtime.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use interop::{Outcome, Runtime};

use super::contestant::{OUR_SERVER, Server, Start};
use super::load::{self, Base, ClientMode, Setting};
use super::{Goals, HYPER, Idle, OURS, Run, Suite, Times};
use crate::report::{Goal, Report, locked, quartiles};

pub(crate) static HOST: Suite = Suite {
    name: "host",
    runtimes: &[Runtime::Wasip1Host],
    servers: &[
        mini_http(OURS, Runtime::Wasip1Host),
        mini_http(WASMTIME36, Runtime::Wasmtime36),
        mini_http(COMPONENT, Runtime::Wasmtime48),
        mini_http(NATIVE, Runtime::Native),
        hyper(HYPER, Runtime::Wasmtime36),
        hyper(EDGE, Runtime::Wasip1HostEdge),
        busy(ONE, one),
        busy(TWO, two),
    ],
    scenarios: &[
        (LOAD, run_load),
        (CLOSE, run_close),
        (MIO, run_mio),
        (MIO_ONE_CORE, run_mio_one_core),
        (INSTANCES, run_instances),
    ],
    idle: Idle {
        rest: &[],
        load: &[0, 1_000, 5_000],
        quiet: &[],
        memory: 0,
    },
    goals: Goals {
        runtime: Runtime::Wasip1Host,
        times: &[
            Times::new(LOAD, 0, OURS, WASMTIME36, 0.97),
            Times::new(LOAD, 1_000, OURS, WASMTIME36, 0.90),
            Times::new(LOAD, 5_000, OURS, WASMTIME36, 0.90),
            Times::new(LOAD, 0, OURS, NATIVE, 1.12),
            Times::new(LOAD, 0, OURS, COMPONENT, 0.65),
            Times::new(CLOSE, 0, OURS, WASMTIME36, 0.8),
            Times::new(MIO, 500, EDGE, HYPER, 0.08),
            Times::new(MIO_ONE_CORE, 500, EDGE, HYPER, 0.08),
        ],
        beside_idle: 1.25,
    },
    versions: || locked("benches", &["hyper", "tokio", "mio"]),
};

const LOAD: &str = "load";
const CLOSE: &str = "close";
const MIO: &str = "mio";
const MIO_ONE_CORE: &str = "mio-one-core";
const INSTANCES: &str = "instances";

/// `mini_http` elsewhere than in `wasip1-host`.
const WASMTIME36: &str = "wasmtime36";
const COMPONENT: &str = "component";
const NATIVE: &str = "native";
/// hyper on the mio of crates.io in the host, with `--edge`.
const EDGE: &str = "hyper-edge";
/// A handler that computes, in one instance and in two.
const ONE: &str = "one";
const TWO: &str = "two";

const OF_WASMTIME36: Base = (WASMTIME36, "times wasmtime 36's");

/// Two instances serve at least this many times the requests of one: the rest is for the clients.
const LEAST_OF_TWO: f64 = 1.9;

const fn mini_http(name: &'static str, runtime: Runtime) -> Server {
    Server {
        runtime: Some(runtime),
        ..Server::new(name, OUR_SERVER.what)
    }
}

const fn hyper(name: &'static str, runtime: Runtime) -> Server {
    Server {
        runtime: Some(runtime),
        ..Server::new(name, &["--package", "wasip1-servers", "--bin", "hyper"])
    }
}

const fn busy(name: &'static str, command: Start) -> Server {
    Server {
        runtime: Some(Runtime::Wasip1Host),
        reports_memory: false,
        command,
        ..Server::new(name, &["--package", "ours", "--example", "busy"])
    }
}

fn one(_: Runtime, module: &Path, address: SocketAddr) -> Outcome<Command> {
    instances("1", module, address)
}

fn two(_: Runtime, module: &Path, address: SocketAddr) -> Outcome<Command> {
    instances("2", module, address)
}

fn instances(count: &str, module: &Path, address: SocketAddr) -> Outcome<Command> {
    let mut command = Command::new(Runtime::Wasip1Host.path()?);
    command.args(["--instances", count, "--listen", &address.to_string()]);
    command.arg(module);
    Ok(command)
}

/// 64 busy connections beside idle ones.
fn run_load(run: &Run<'_>) -> Outcome<Report> {
    let cases = run.cases_of(
        &[OURS, WASMTIME36, COMPONENT, NATIVE],
        &run.idle(run.suite.idle.load),
    );
    let setting = Setting {
        scenario: LOAD,
        busy: 64,
        base: OF_WASMTIME36,
        clients: ClientMode::Spin,
    };
    load::compare(run, &setting, &cases)
}

/// A connection for each request.
fn run_close(run: &Run<'_>) -> Outcome<Report> {
    let cases = run.cases_of(&[OURS, WASMTIME36, COMPONENT, NATIVE], &[0]);
    let setting = Setting {
        scenario: CLOSE,
        busy: 64,
        base: OF_WASMTIME36,
        clients: ClientMode::Close,
    };
    load::compare(run, &setting, &cases)
}

/// hyper on the mio of crates.io, with clients that spin.
fn run_mio(run: &Run<'_>) -> Outcome<Report> {
    compare_hyper(run, MIO, ClientMode::Spin)
}

/// The same on one core, which server and clients share.
fn run_mio_one_core(run: &Run<'_>) -> Outcome<Report> {
    compare_hyper(run, MIO_ONE_CORE, ClientMode::ShareCore)
}

fn compare_hyper(run: &Run<'_>, scenario: &'static str, clients: ClientMode) -> Outcome<Report> {
    let cases = run.cases_of(&[HYPER, EDGE], &run.idle(&[0, 500]));
    let setting = Setting {
        scenario,
        busy: 32,
        base: (HYPER, "times wasmtime 36's"),
        clients,
    };
    load::compare(run, &setting, &cases)
}

/// A handler that computes, in one instance and in two.
fn run_instances(run: &Run<'_>) -> Outcome<Report> {
    let cases = run.cases_of(&[ONE, TWO], &[0]);
    let setting = Setting {
        scenario: INSTANCES,
        busy: 32,
        base: (ONE, "times one instance's"),
        clients: ClientMode::BothCores,
    };
    let mut report = load::compare(run, &setting, &cases)?;
    let rates = |server: &str| {
        let row = report.rows.iter().find(|row| row.server == server)?;
        let rates = row.series.iter().find(|it| it.name == load::RATE)?;
        Some(&rates.values)
    };
    if let (Some(one), Some(two)) = (rates(ONE), rates(TWO)) {
        let ratios: Vec<f64> = one.iter().zip(two).map(|(one, two)| one / two).collect();
        report.goals = vec![Goal {
            text: "requests/s of one instance, times those of two".into(),
            figure: quartiles(&ratios)[1],
            limit: 1.0 / LEAST_OF_TWO,
        }];
    }
    Ok(report)
}
