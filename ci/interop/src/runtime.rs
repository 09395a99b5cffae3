//! [`Runtime`]: natively, or one of the WASI runtimes in which the checks run programs. `table.rs` has everything that
//! checks need to know about a runtime.

mod ports;
mod table;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

use self::table::{ADDRESS, Property, Row, TABLE};
use crate::{Outcome, ensure, root};

/// A column of the tables: native, or a WASI runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// No runtime: a program of this machine.
    Native,
    /// wasmi, an interpreter: WASI preview 1.
    Wasmi,
    /// wasmtime 36, the last long-term release with preview 1 sockets.
    Wasmtime36,
    /// wasmtime 48, the current long-term release: WASI 0.2.
    Wasmtime48,
    /// wasmtime 46 from PyPI, an embedding of its C API in Python: WASI 0.2.
    Wasmtime46,
    /// The same of wasmtime 47.
    Wasmtime47,
    /// jco, which runs components in Node: WASI 0.2.
    Jco,
    /// The host of `shim/host`: preview 1 on the crate wasmtime 48.
    Wasip1Host,
    /// The same, which reports writability once, for programs on the mio of crates.io.
    Wasip1HostEdge,
    /// The host of `ci/wazero-like`, whose `poll_oneoff` is as blind as that of wazero.
    WazeroLike,
}

/// The version of WASI that a runtime has sockets for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wasi {
    /// Preview 1, also called 0.1.
    Preview1,
    /// 0.2, also called preview 2.
    Preview2,
}

impl Wasi {
    fn target(self) -> &'static str {
        match self {
            Self::Preview1 => "wasm32-wasip1",
            Self::Preview2 => "wasm32-wasip2",
        }
    }

    /// cargo's runner for the target.
    pub(crate) fn runner(self) -> &'static str {
        match self {
            Self::Preview1 => "ci/run-wasip1",
            Self::Preview2 => "ci/run-wasip2",
        }
    }
}

impl Runtime {
    /// All runtimes, in the order of the columns.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.runtime)
    }

    /// Its name on the command line, in the tables, and for `ci/runtime`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// What it is, in a few words.
    #[must_use]
    pub fn about(self) -> &'static str {
        self.row().about
    }

    /// The version of WASI for which it has sockets, if it is a WASI runtime.
    #[must_use]
    pub fn wasi(self) -> Option<Wasi> {
        self.row().wasi
    }

    /// The compile target of its programs, if it isn't this machine's own.
    #[must_use]
    pub fn target(self) -> Option<&'static str> {
        self.wasi().map(Wasi::target)
    }

    /// Whether checks run in it if no runtime is named.
    #[must_use]
    pub fn is_usual(self) -> bool {
        self.has(Property::Usual)
    }

    /// Whether it is installed soon enough for a first run of the tests.
    #[must_use]
    pub fn is_quick(self) -> bool {
        self.has(Property::Quick)
    }

    /// Whether it is an interpreter, and therefore slow.
    #[must_use]
    pub fn interprets(self) -> bool {
        self.has(Property::Interprets)
    }

    /// Whether it can compile a module before it is started.
    #[must_use]
    pub fn precompiles(self) -> bool {
        self.has(Property::Precompiles)
    }

    /// Whether it keeps the modules that it has compiled, so that the next start is quick.
    #[must_use]
    pub fn caches(self) -> bool {
        self.has(Property::Caches)
    }

    /// Whether programs on the mio of crates.io must pass the same checks as those on the shim.
    #[must_use]
    pub fn runs_registry_mio(self) -> bool {
        self.has(Property::RunsRegistryMio)
    }

    /// Whether its programs see the environment of the runtime.
    #[must_use]
    pub fn inherits(self) -> bool {
        self.row().inherits
    }

    fn has(self, property: Property) -> bool {
        self.row().properties.contains(&property)
    }

    fn row(self) -> &'static Row {
        // The rows are in the order of the variants, which a test checks.
        &TABLE[self as usize]
    }

    /// A free port for the next server. A program that is no part of the checks may still take it before the server
    /// binds it. So a caller that starts a server must try again.
    ///
    /// # Errors
    /// When no port was free in a hundred tries.
    pub fn free_port() -> Outcome<u16> {
        ports::free_port()
    }

    /// The command that runs `program` in this runtime, at `address`, with these variables in its
    /// environment. It is the command of the README, without the runner of `cargo run`.
    ///
    /// # Errors
    /// When the runtime can't be installed.
    pub fn command(self, program: &Path, address: &str, env: &[(&str, &str)]) -> Outcome<Command> {
        let row = self.row();
        let mut command = match row.wasi {
            None => Command::new(program),
            Some(_) => Command::new(self.path()?),
        };
        command.args(row.run.iter().map(|it| it.replace(ADDRESS, address)));
        if program.extension().is_some_and(|kind| kind == "cwasm") {
            command.arg("--allow-precompiled");
        }
        if row.inherits {
            command
                .env("MINI_HTTP_ADDR", address)
                .envs(env.iter().copied());
        } else {
            for (name, value) in env {
                command.arg("--env").arg(format!("{name}={value}"));
            }
        }
        if row.wasi.is_some() {
            command.arg(program);
        }
        Ok(command)
    }

    /// Whether a program binds its address itself, instead of being passed a listener.
    #[must_use]
    pub fn binds(self) -> bool {
        self.wasi() != Some(Wasi::Preview1)
    }

    /// Whether it accepts connections as soon as the program has bound its address, and drops those that
    /// arrive before it listens.
    #[must_use]
    pub fn drops_early(self) -> bool {
        self.has(Property::DropsEarly)
    }

    /// Whether the program runs in another process, which doesn't end with the runtime's.
    #[must_use]
    pub fn forks(self) -> bool {
        self.has(Property::Forks)
    }

    /// Whether its `poll_oneoff` doesn't check sockets, so that the server can only wait by sleeping and trying.
    #[must_use]
    pub fn is_blind(self) -> bool {
        self.has(Property::Blind)
    }

    /// Whether its programs can write files.
    #[must_use]
    pub fn writes_files(self) -> bool {
        self != Self::WazeroLike
    }

    /// The path of the runtime's program. `ci/runtime` installs it if necessary.
    ///
    /// # Errors
    /// When it can't be installed.
    pub fn path(self) -> Outcome<PathBuf> {
        Ok(PathBuf::from(script("ci/runtime", self.name())?))
    }

    /// Installs everything that it needs, so that a failure to install is reported first, and as that.
    ///
    /// # Errors
    /// When something can't be installed.
    pub fn prepare(self) -> Outcome {
        self.prepare_target()?;
        if self.target().is_some() {
            self.path()?;
        }
        Ok(())
    }

    /// Installs what is needed to build for it.
    ///
    /// # Errors
    /// When the target can't be installed.
    pub fn prepare_target(self) -> Outcome {
        if let Some(target) = self.target() {
            script("ci/target", target)?;
        }
        Ok(())
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Runtime {
    type Err = String;

    fn from_str(name: &str) -> Outcome<Self> {
        Self::all()
            .find(|runtime| runtime.name() == name)
            .ok_or_else(|| {
                let names: Vec<_> = Self::all().map(Self::name).collect();
                let names = names.join(", ");
                format!("no runtime is called '{name}': there are {names}")
            })
    }
}

/// Runs a script of the checkout. Returns its output.
pub(crate) fn script(name: &str, argument: &str) -> Outcome<String> {
    let mut command = Command::new(root().join(name));
    command.arg(argument).stderr(Stdio::inherit());
    let output = command.output().map_err(|e| format!("{name}: {e}"))?;
    ensure!(
        output.status.success(),
        "{name} {argument} failed: {}",
        output.status
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_parsed_to_its_runtime() {
        for runtime in Runtime::all() {
            assert_eq!(runtime.name().parse(), Ok(runtime));
        }
        let why = "wasmer".parse::<Runtime>().expect_err("it isn't tested");
        for runtime in Runtime::all() {
            assert!(why.contains(runtime.name()), "{why}");
        }
    }

    #[test]
    fn each_row_is_found_by_its_runtime() {
        for row in &TABLE {
            assert_eq!(row.runtime.row().name, row.name);
        }
    }

    /// `ci/runtime` installs a runtime, but has no list of them.
    #[test]
    fn each_runtime_can_be_installed() {
        let script = std::fs::read_to_string(root().join("ci/runtime")).expect("ci/runtime");
        for runtime in Runtime::all().filter(|it| it.wasi().is_some()) {
            let case = format!("\n{runtime})\n");
            assert!(script.contains(&case), "ci/runtime can't install {runtime}");
        }
    }

    #[test]
    fn the_readme_has_the_command_and_the_version_of_each_runtime() {
        let read = |name| std::fs::read_to_string(root().join(name)).expect(name);
        let (readme, versions) = (read("README.md"), read("ci/versions"));
        for row in TABLE.iter().filter(|row| row.wasi.is_some()) {
            // Variables are no part of it.
            let arguments = row.run.iter().take_while(|it| **it != "--env");
            let arguments: Vec<_> = arguments.copied().collect();
            let command = arguments.join(" ").replace(ADDRESS, "127.0.0.1:3000");
            let is_variant = row.runtime == Runtime::Wasip1HostEdge;
            let shown = format!(" {command} hello.wasm`");
            assert!(is_variant || readme.contains(&shown), "{shown}");
        }
        for name in ["WASMI", "WASMTIME36", "WASMTIME48", "JCO"] {
            let name = format!("{name}_VERSION=");
            let version = versions.lines().find_map(|line| line.strip_prefix(&name));
            let cell = format!("| {} |", version.expect("a pinned version"));
            assert!(readme.contains(&cell), "{name}: no cell {cell}");
        }
    }

    #[test]
    fn a_native_program_gets_its_address() {
        let env = [("RUST_LOG", "off")];
        let command = Runtime::Native.command(Path::new("/t/echo"), "127.0.0.1:1", &env);
        let shown = format!("{:?}", command.expect("a command"));
        assert!(shown.ends_with(r#""/t/echo""#), "{shown}");
        assert!(shown.contains(r#"MINI_HTTP_ADDR="127.0.0.1:1""#), "{shown}");
    }
}
