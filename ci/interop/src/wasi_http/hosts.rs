//! [`Component`]: a component, and the hosts that run it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use crate::{Outcome, Program, Runtime, Server, root};

/// A component that exports `wasi:http/incoming-handler`.
#[derive(Debug, Clone)]
pub(super) struct Component(PathBuf);

impl Component {
    /// An example of the package `exports`.
    pub(super) fn example(name: &str) -> Outcome<Self> {
        Self::build(&["--locked", "--package", "exports", "--example", name])
    }

    /// The library of the package `everywhere`.
    pub(super) fn everywhere() -> Outcome<Self> {
        Self::build(&["--locked", "--package", "everywhere", "--lib"])
    }

    fn build(what: &[&str]) -> Outcome<Self> {
        let examples = root().join("examples");
        let built = Program::build(Runtime::Wasmtime48, &examples, what, true)?;
        Ok(Self(built.path))
    }

    /// Starts a host with it on a free port. `options` are wasmtime's.
    pub(super) fn start(&self, host: Runtime, options: &[&str]) -> Outcome<Server> {
        Server::with_command(host, |address| self.command(host, address, options))
    }

    /// The command of a host with it.
    pub(super) fn command(
        &self,
        host: Runtime,
        address: SocketAddr,
        options: &[&str],
    ) -> Outcome<Command> {
        let mut command = Command::new(host.path()?);
        command.arg("serve");
        if host == Runtime::Jco {
            let port = address.port().to_string();
            // Otherwise a response that doesn't end keeps all other requests waiting. So each request gets a thread of
            // its own, in which Node and the component are started. By default jco starts 50 of them in advance.
            command.args(["--isolate-requests", "worker"]);
            command.args(["--isolate-worker-pool-size", "4"]);
            command.args(["--host", "127.0.0.1", "--port", &port]);
        } else {
            command.args(["-S", "cli", "--addr", &address.to_string()]);
            command.args(options);
        }
        command.arg(&self.0);
        Ok(command)
    }
}
