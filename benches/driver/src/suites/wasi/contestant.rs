//! A server in a runtime, with the connections to it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use interop::{Outcome, Program, Runtime, root};

use super::{Case, OURS};
use crate::cores;
use crate::load::Load;
use crate::options::Options;
use crate::server::Peer;

/// A program that is compared, of this repository.
pub(super) struct Server {
    /// What it is called in the tables.
    pub(super) name: &'static str,
    /// The workspace where it is built, seen from the root of the repository.
    pub(super) workspace: &'static str,
    /// What cargo is to build there: one program.
    pub(super) what: &'static [&'static str],
    /// The one runtime that it runs in, if it isn't that of the case.
    pub(super) runtime: Option<Runtime>,
    /// Whether it responds to a request for `/memory` with the size of its linear memory, and takes a body.
    pub(super) tells_memory: bool,
    /// The scenarios that it takes part in, which name it. If there are none, it takes part in all.
    pub(super) only: &'static [&'static str],
    pub(super) command: Start,
}

/// The command that serves an address.
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
            tells_memory: true,
            only: &[],
            command: run,
        }
    }
}

/// As the README says.
fn run(runtime: Runtime, program: &Path, address: SocketAddr) -> Outcome<Command> {
    runtime.command(program, &address.to_string(), &[])
}

/// A program that was built, or that the options name.
#[derive(Debug)]
pub(super) struct Module {
    pub(super) name: String,
    pub(super) tells_memory: bool,
    pub(super) runtime: Option<Runtime>,
    /// As for its [`Server`].
    pub(super) only: &'static [&'static str],
    path: PathBuf,
    source: Source,
    command: Start,
}

/// The workspace where a program is built, and what cargo builds there. Nothing for one of the options.
type Source = (&'static str, &'static [&'static str]);

/// Builds what the options want to be compared in these scenarios.
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
        // Programs that are compared between runtimes are built as the native one among them.
        let (runtime, profile) = match server.runtime {
            Some(bound) => (bound, "release"),
            None => (runtime, "wasm-release"),
        };
        let what = [server.what, &["--locked", "--profile", profile]].concat();
        let program = Program::build(runtime, &root().join(server.workspace), &what, false)?;
        Ok(Module {
            name: server.name.into(),
            tells_memory: server.tells_memory,
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
        tells_memory: true,
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
    pub(super) peer: Peer,
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
        let peer = cores::on_both_cores(|| start_peer(case))?;
        Self::with_peer(case, peer, Load::new)?.opened(busy)
    }

    fn with_clients(
        case: &Case<'_>,
        clients: impl FnOnce(SocketAddr) -> Outcome<Load>,
    ) -> Outcome<Self> {
        let peer = cores::on_the_servers_core(|| start_peer(case))?;
        Self::with_peer(case, peer, clients)
    }

    fn with_peer(
        case: &Case<'_>,
        peer: Peer,
        clients: impl FnOnce(SocketAddr) -> Outcome<Load>,
    ) -> Outcome<Self> {
        let load = clients(peer.address())?;
        Ok(Self {
            idle: case.idle,
            peer,
            load,
        })
    }

    fn opened(mut self, busy: usize) -> Outcome<Self> {
        let opened = self.load.open(busy + self.idle, 64, 0);
        self.explained(opened)?;
        Ok(self)
    }

    /// If a server has ended, its last words say more than that a connection was closed.
    pub(super) fn explained<T>(&mut self, outcome: Outcome<T>) -> Outcome<T> {
        outcome.map_err(|why| match self.peer.check_alive() {
            Ok(()) => why,
            Err(words) => format!("{words} ({why})"),
        })
    }
}

fn start_peer(case: &Case<'_>) -> Outcome<Peer> {
    let Module {
        name,
        path,
        command,
        ..
    } = case.module;
    let runtime = case.module.runtime.unwrap_or(case.runtime);
    Peer::start(name, runtime, |address| command(runtime, path, address))
}

#[cfg(test)]
mod tests {
    use super::super::{WASIP1, WASIP2};
    use super::*;

    fn module(name: &'static str, path: &str) -> Module {
        Module {
            name: name.into(),
            source: (name, &[]),
            tells_memory: true,
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
