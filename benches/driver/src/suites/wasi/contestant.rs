//! A server in a runtime, with the connections to it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use interop::{Outcome, Program, Runtime, root};

use super::{Case, OURS};
use crate::cores;
use crate::load::Load;
use crate::options::Options;
use crate::server::ServerProcess;

/// A program of this repository that is compared.
pub(super) struct Server {
    /// What it is called in the tables.
    pub(super) name: &'static str,
    /// The workspace where it is built: its path from the root of the repository.
    pub(super) workspace: &'static str,
    /// What cargo is to build there: one program.
    pub(super) what: &'static [&'static str],
    /// The one runtime that it runs in, if it isn't that of the case.
    pub(super) runtime: Option<Runtime>,
    /// Whether it responds to a request for `/memory` with the size of its linear memory, and takes a body.
    pub(super) reports_memory: bool,
    /// The scenarios in which it takes part. If there are none, it takes part in all that don't list their servers.
    pub(super) only: &'static [&'static str],
    pub(super) command: Start,
}

/// Makes the command that runs a program in a runtime, to serve at an address.
pub(super) type Start = fn(Runtime, &Path, SocketAddr) -> Outcome<Command>;

pub(super) const OUR_SERVER: Server = Server::new(OURS, &["--package", "ours", "--bin", "ours"]);

impl Server {
    /// One of the usual kind.
    pub(super) const fn new(name: &'static str, what: &'static [&'static str]) -> Self {
        Self {
            name,
            workspace: "benches",
            what,
            runtime: None,
            reports_memory: true,
            only: &[],
            command: run,
        }
    }
}

/// The command of the README.
fn run(runtime: Runtime, program: &Path, address: SocketAddr) -> Outcome<Command> {
    runtime.command(program, &address.to_string(), &[])
}

/// A program that was built, or that the options name.
#[derive(Debug)]
pub(super) struct Module {
    pub(super) name: String,
    pub(super) reports_memory: bool,
    pub(super) runtime: Option<Runtime>,
    /// As for its [`Server`].
    pub(super) only: &'static [&'static str],
    path: PathBuf,
    source: Source,
    command: Start,
}

/// The workspace where a program is built, and what cargo builds there. Empty for a program of `--with`.
type Source = (&'static str, &'static [&'static str]);

/// Builds the servers that the options name and that take part in these scenarios. Adds the modules of `--with`.
pub(super) fn modules(
    servers: &[Server],
    scenarios: &[&str],
    options: &Options,
    runtime: Runtime,
) -> Outcome<Vec<Module>> {
    let takes_part = |server: &&Server| {
        let only = server.only;
        only.is_empty() || only.iter().any(|name| scenarios.contains(name))
    };
    let wanted = servers
        .iter()
        .filter(|server| options.compares(server.name))
        .filter(takes_part);
    let build = |server: &Server| -> Outcome<Module> {
        // One of the programs that are compared between runtimes is native: all have its profile.
        let (runtime, profile) = match server.runtime {
            Some(bound) => (bound, "release"),
            None => (runtime, "wasm-release"),
        };
        let what = [server.what, &["--locked", "--profile", profile]].concat();
        let program = Program::build(runtime, &root().join(server.workspace), &what, false)?;
        Ok(Module {
            name: server.name.into(),
            reports_memory: server.reports_memory,
            runtime: server.runtime,
            only: server.only,
            path: program.path,
            source: (server.workspace, server.what),
            command: server.command,
        })
    };
    let mut modules = wanted.map(build).collect::<Outcome<Vec<_>>>()?;
    check_files(&modules)?;
    modules.extend(options.with.iter().map(|(name, path)| Module {
        name: name.clone(),
        reports_memory: true,
        runtime: None,
        only: &[],
        path: path.clone(),
        source: ("", &[]),
        command: run,
    }));
    Ok(modules)
}

/// Fails if two programs are one file. With `CARGO_TARGET_DIR` all workspaces build into one folder, and a
/// program overwrites another of the same name, which would then be compared with itself.
fn check_files(modules: &[Module]) -> Outcome {
    for (at, module) in modules.iter().enumerate() {
        // The same program may be compared in several runtimes.
        let is_overwritten =
            |other: &&Module| other.path == module.path && other.source != module.source;
        let same = modules[..at].iter().find(is_overwritten);
        if let Some(other) = same {
            return Err(format!(
                "{} has overwritten {}: both are built as {}",
                module.name,
                other.name,
                module.path.display()
            ));
        }
    }
    Ok(())
}

/// A running server.
pub(super) struct Contestant {
    pub(super) idle: usize,
    pub(super) process: ServerProcess,
    pub(super) load: Load,
}

impl Contestant {
    /// Starts it, without connections.
    pub(super) fn alone(case: &Case<'_>) -> Outcome<Self> {
        Self::with_clients(case, Load::new)
    }

    /// Starts it, and opens connections: `busy` and the case's idle ones, each with one request served.
    pub(super) fn start(case: &Case<'_>, busy: usize) -> Outcome<Self> {
        Self::alone(case)?.opened(busy)
    }

    /// The same, with its clients on the servers' core.
    pub(super) fn start_on_one_core(case: &Case<'_>, busy: usize) -> Outcome<Self> {
        let clients = |address| cores::on_the_servers_core(|| Load::new(address));
        Self::with_clients(case, clients)?.opened(busy)
    }

    /// The same, with the server on both cores.
    pub(super) fn start_on_both_cores(case: &Case<'_>, busy: usize) -> Outcome<Self> {
        let process = cores::on_both_cores(|| start_process(case))?;
        Self::with_process(case, process, Load::new)?.opened(busy)
    }

    fn with_clients(
        case: &Case<'_>,
        clients: impl FnOnce(SocketAddr) -> Outcome<Load>,
    ) -> Outcome<Self> {
        let process = cores::on_the_servers_core(|| start_process(case))?;
        Self::with_process(case, process, clients)
    }

    fn with_process(
        case: &Case<'_>,
        process: ServerProcess,
        clients: impl FnOnce(SocketAddr) -> Outcome<Load>,
    ) -> Outcome<Self> {
        let load = clients(process.address())?;
        Ok(Self {
            idle: case.idle,
            process,
            load,
        })
    }

    fn opened(mut self, busy: usize) -> Outcome<Self> {
        let opened = self.load.open(busy + self.idle, 64, 0);
        self.explained(opened)?;
        Ok(self)
    }

    /// Replaces an error by the last lines of the server's log, if it has ended.
    pub(super) fn explained<T>(&mut self, outcome: Outcome<T>) -> Outcome<T> {
        outcome.map_err(|why| match self.process.check_alive() {
            Ok(()) => why,
            Err(words) => format!("{words} ({why})"),
        })
    }
}

fn start_process(case: &Case<'_>) -> Outcome<ServerProcess> {
    let Module {
        name,
        path,
        command,
        ..
    } = case.module;
    let runtime = case.module.runtime.unwrap_or(case.runtime);
    ServerProcess::start(name, runtime, |address| command(runtime, path, address))
}

#[cfg(test)]
mod tests {
    use super::super::{WASIP1, WASIP2};
    use super::*;

    fn module(name: &'static str, path: &str) -> Module {
        Module {
            name: name.into(),
            source: (name, &[]),
            reports_memory: true,
            runtime: None,
            only: &[],
            path: path.into(),
            command: run,
        }
    }

    #[test]
    fn two_programs_in_one_file_are_refused() {
        let [one, other] = [module("one", "/t/a.wasm"), module("other", "/t/b.wasm")];
        assert_eq!(check_files(&[one, other]), Ok(()));
        let [one, other] = [module("one", "/t/a.wasm"), module("other", "/t/a.wasm")];
        let why = check_files(&[one, other]).expect_err("one file");
        assert!(why.starts_with("other has overwritten one"), "{why}");
        // The same program twice, for two runtimes.
        let twice = ["one", "one"].map(|name| module(name, "/t/a.wasm"));
        assert_eq!(check_files(&twice), Ok(()));
    }

    /// All workspaces build into one folder when `CARGO_TARGET_DIR` is set.
    #[test]
    fn no_two_servers_of_a_suite_have_one_file_name() {
        for suite in [&WASIP1, &WASIP2] {
            let mut names: Vec<_> = suite.servers.iter().map(|it| it.what.last()).collect();
            names.sort_unstable();
            let all = names.len();
            names.dedup();
            assert_eq!(names.len(), all, "{}: {names:?}", suite.name);
        }
    }
}
