//! WASI preview 1: ours beside the floor, a naive loop, and hyper on the mio of crates.io.

mod load;
mod memory;
mod quiet;
mod rest;

use std::path::PathBuf;

use interop::{Outcome, Program, Runtime, root};

use crate::cores;
use crate::load::Load;
use crate::options::Options;
use crate::report::{self, Report};
use crate::server::Peer;

pub(crate) const SUITE: &str = "wasip1";
pub(crate) const SCENARIOS: [&str; 5] = ["rest", "load", "one", "quiet", "memory"];
/// The first one is what the others are compared with.
pub(crate) const SERVERS: [&str; 4] = ["floor", "naive", "hyper", OURS];
const OURS: &str = "ours";
const HYPER: &str = "hyper";
const FLOOR: &str = "floor";

type Scenario = fn(&Options, &[Runtime], &[Module]) -> Outcome<Report>;

pub(crate) fn run(options: &Options) -> Outcome {
    let scenarios: [Scenario; 5] = [rest::run, load::run, load::run_one, quiet::run, memory::run];
    let wanted: Vec<_> = SCENARIOS
        .into_iter()
        .zip(scenarios)
        .filter(|(name, _)| options.wants(SUITE, name))
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let runtimes = match &options.runtimes[..] {
        [] => vec![Runtime::Wasmtime36, Runtime::Wasmi],
        named => named.to_vec(),
    };
    for runtime in &runtimes {
        runtime.prepare()?;
    }
    let modules = modules(options, runtimes[0])?;
    let versions = versions(&runtimes)?;
    // Not before: what was built above may use all cores.
    cores::prepare()?;
    for (_, scenario) in wanted {
        scenario(options, &runtimes, &modules)?.finish(options, &versions)?;
    }
    Ok(())
}

/// A program that is compared.
#[derive(Debug)]
struct Module {
    name: String,
    path: PathBuf,
}

impl Module {
    /// Whether it answers a request for `/memory` with the size of its memory, and takes a body.
    fn tells_memory(&self) -> bool {
        self.name != FLOOR && self.name != "naive"
    }
}

/// A server in a runtime, with the connections to it.
struct Contestant {
    idle: usize,
    peer: Peer,
    load: Load,
}

impl Contestant {
    /// Starts it, and opens connections: `busy + idle`, each with one request served.
    fn start(module: &Module, runtime: Runtime, busy: usize, idle: usize) -> Outcome<Self> {
        let peer = Peer::start(&module.name, runtime, |address| {
            runtime.command(&module.path, &address.to_string(), &[])
        })?;
        let load = Load::new(peer.address())?;
        let mut contestant = Self { idle, peer, load };
        let opened = contestant.load.open(busy + idle, 64, 0);
        contestant.explained(opened)?;
        Ok(contestant)
    }

    /// If a server has ended, its last words say more than that a connection was closed.
    fn explained<T>(&mut self, outcome: Outcome<T>) -> Outcome<T> {
        outcome.map_err(|why| match self.peer.check_alive() {
            Ok(()) => why,
            Err(words) => format!("{words} ({why})"),
        })
    }
}

fn modules(options: &Options, runtime: Runtime) -> Outcome<Vec<Module>> {
    let mut modules = Vec::new();
    for name in SERVERS {
        if !options.compares(name) {
            continue;
        }
        let what = [
            "--package",
            "wasip1-servers",
            "--profile",
            "wasm-release",
            "--bin",
            name,
        ];
        let program = Program::build(runtime, &root().join("benches"), &what, false)?;
        modules.push(Module {
            name: name.into(),
            path: program.path,
        });
    }
    modules.extend(options.with.iter().map(|(name, path)| Module {
        name: name.clone(),
        path: path.clone(),
    }));
    Ok(modules)
}

fn versions(runtimes: &[Runtime]) -> Outcome<Vec<(String, String)>> {
    let mut versions = report::locked(&["hyper", "tokio", "mio"])?;
    for runtime in runtimes {
        let output = std::process::Command::new(runtime.path()?)
            .arg("--version")
            .output()
            .map_err(|e| format!("{runtime}: {e}"))?;
        let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        versions.push((runtime.name().into(), version));
    }
    Ok(versions)
}

/// Says what is being done, as it takes a while.
fn tell(scenario: &str, what: std::fmt::Arguments<'_>) {
    eprintln!("{SUITE} {scenario}: {what}");
}

/// `part` of the sorted values, of which `None` if there are none.
fn percentile(sorted: &[std::time::Duration], part: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let at = (last as f64 * part).ceil() as usize;
    Some(sorted[at].as_secs_f64() * 1e3)
}
