//! Where a program runs: the operating system itself, or a WASI runtime.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

use crate::{Outcome, ensure, root};

/// A column of the tables: the operating system itself, or a WASI runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// No runtime: a program of this machine.
    Native,
    /// wasmi, an interpreter: WASI preview 1.
    Wasmi,
    /// wasmtime 36, the long-term release that still has preview 1 sockets.
    Wasmtime36,
    /// wasmtime 48, the long-term release of today: WASI 0.2.
    Wasmtime48,
    /// jco, which runs components in Node: WASI 0.2.
    Jco,
    /// The host of `shim/host`: preview 1 on the crate wasmtime 48.
    Wasip1Host,
    /// The same, which reports writability once, for programs on the mio of crates.io.
    Wasip1HostEdge,
    /// The host of `ci/wazero-like`, whose `poll_oneoff` is as blind as that of wazero.
    WazeroLike,
}

/// The runtimes, in the order of the columns. Scripts and programs have no other list of them: `ci/run
/// runtimes` prints their names, and a check says by their properties on which it runs.
const TABLE: [Row; 8] = [
    Row {
        runtime: Runtime::Native,
        name: "native",
        about: "no runtime: a program of this machine",
        wasi: None,
        run: &[],
        inherits: true,
        traits: &[Trait::Usual, Trait::Quick],
    },
    Row {
        runtime: Runtime::Wasmi,
        name: "wasmi",
        about: "an interpreter, installed in a minute or two",
        wasi: Some(Wasi::Preview1),
        run: &["run", "--tcplisten", ADDRESS],
        inherits: false,
        traits: &[Trait::Usual, Trait::Quick, Trait::Interprets],
    },
    Row {
        runtime: Runtime::Wasmtime36,
        name: "wasmtime36",
        about: "the last long-term release with the sockets of preview 1",
        wasi: Some(Wasi::Preview1),
        run: &["run", "-S", "preview2=n", "-S", "tcplisten=ADDRESS"],
        inherits: false,
        traits: &[Trait::Usual, Trait::Precompiles],
    },
    Row {
        runtime: Runtime::Wasmtime48,
        name: "wasmtime48",
        about: "the long-term release with the sockets of 0.2",
        wasi: Some(Wasi::Preview2),
        run: &[
            "run",
            "-S",
            "inherit-network",
            "--env",
            "MINI_HTTP_ADDR=ADDRESS",
        ],
        inherits: false,
        traits: &[Trait::Usual, Trait::Precompiles],
    },
    Row {
        runtime: Runtime::Jco,
        name: "jco",
        about: "components in Node, which has to be there; only when it is named",
        wasi: Some(Wasi::Preview2),
        run: &["run"],
        inherits: true,
        traits: &[Trait::DropsEarly, Trait::Forks],
    },
    Row {
        runtime: Runtime::Wasip1Host,
        name: "wasip1-host",
        about: "preview 1 with sockets on the crate wasmtime 48, see shim/host",
        wasi: Some(Wasi::Preview1),
        run: &["--listen", ADDRESS],
        inherits: false,
        traits: &[Trait::Usual, Trait::Caches],
    },
    Row {
        runtime: Runtime::Wasip1HostEdge,
        name: "wasip1-host-edge",
        about: "the same with --edge, for programs on the mio of crates.io; only when it is named",
        wasi: Some(Wasi::Preview1),
        run: &["--edge", "--listen", ADDRESS],
        inherits: false,
        traits: &[Trait::Caches, Trait::RunsRegistryMio],
    },
    Row {
        runtime: Runtime::WazeroLike,
        name: "wazero-like",
        about: "a host with the habits of wazero, see ci/wazero-like",
        wasi: Some(Wasi::Preview1),
        run: &["run", "-listen=ADDRESS"],
        inherits: false,
        traits: &[Trait::Usual, Trait::Interprets, Trait::Blind],
    },
];

/// Stands for the server's address in the arguments of a runtime.
const ADDRESS: &str = "ADDRESS";

/// What is known of a runtime.
#[derive(Debug)]
struct Row {
    runtime: Runtime,
    /// On the command line, in the tables, and of `ci/runtime`.
    name: &'static str,
    /// For the help.
    about: &'static str,
    wasi: Option<Wasi>,
    /// The runtime's arguments, before those that set variables and the program. With these it serves
    /// [`ADDRESS`], as the README says.
    run: &'static [&'static str],
    /// Whether the program sees the environment. If not, a variable is an argument of the runtime.
    inherits: bool,
    traits: &'static [Trait],
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

/// What some runtimes do and others don't.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trait {
    /// Checks run on it when none is named.
    Usual,
    /// There at once, or soon: for a first run of the tests.
    Quick,
    /// Slow, as it compiles nothing.
    Interprets,
    /// Can compile a module before it is started.
    Precompiles,
    /// Keeps the modules that it has compiled.
    Caches,
    /// Programs on the mio of crates.io are well there.
    RunsRegistryMio,
    /// See [`Runtime::drops_early`].
    DropsEarly,
    /// See [`Runtime::forks`].
    Forks,
    /// See [`Runtime::is_blind`].
    Blind,
}

impl Runtime {
    /// All of them, in the order of the columns.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.runtime)
    }

    /// The name on the command line, in the tables, and of `ci/runtime`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// What it is, in a few words.
    #[must_use]
    pub fn about(self) -> &'static str {
        self.row().about
    }

    /// The WASI that it has sockets for, if it is a WASI runtime.
    #[must_use]
    pub fn wasi(self) -> Option<Wasi> {
        self.row().wasi
    }

    /// The compile target of its programs, if it isn't this machine's own.
    #[must_use]
    pub fn target(self) -> Option<&'static str> {
        self.wasi().map(Wasi::target)
    }

    /// Whether checks run on it when none is named.
    #[must_use]
    pub fn is_usual(self) -> bool {
        self.has(Trait::Usual)
    }

    /// Whether it is there at once or soon, for a first run of the tests.
    #[must_use]
    pub fn is_quick(self) -> bool {
        self.has(Trait::Quick)
    }

    /// Whether it compiles nothing, and so is slow.
    #[must_use]
    pub fn interprets(self) -> bool {
        self.has(Trait::Interprets)
    }

    /// Whether it can compile a module before it is started.
    #[must_use]
    pub fn precompiles(self) -> bool {
        self.has(Trait::Precompiles)
    }

    /// Whether it keeps the modules that it has compiled, so that the next start is quick.
    #[must_use]
    pub fn caches(self) -> bool {
        self.has(Trait::Caches)
    }

    /// Whether programs on the mio of crates.io are held to what those on the shim are.
    #[must_use]
    pub fn runs_registry_mio(self) -> bool {
        self.has(Trait::RunsRegistryMio)
    }

    /// Whether its programs see the environment of the runtime.
    #[must_use]
    pub fn inherits(self) -> bool {
        self.row().inherits
    }

    fn has(self, property: Trait) -> bool {
        self.row().traits.contains(&property)
    }

    fn row(self) -> &'static Row {
        // The rows are in the order of the variants; a test holds them to it.
        &TABLE[self as usize]
    }

    /// A free port for the next server. Somebody else can take it before the server does, so who
    /// starts one tries again.
    ///
    /// It lies below the ports from which Linux and macOS take those of outgoing connections, so that a
    /// test's own connections can't sit on it.
    ///
    /// # Errors
    /// When no port was free in a hundred tries.
    pub fn free_port() -> Outcome<u16> {
        use std::hash::{BuildHasher, RandomState};
        for attempt in 0..100_u8 {
            // `RandomState` is std's only source of randomness.
            let offset = RandomState::new().hash_one(attempt) % 12_000;
            let port = 20_000 + u16::try_from(offset).unwrap_or(0);
            if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
                return Ok(port);
            }
        }
        Err("no free port in a hundred tries".into())
    }

    /// The command that runs `program` here, serving `address`, with these variables in its
    /// environment: the lines of the README, without the runner of `cargo run`.
    ///
    /// # Errors
    /// When the runtime can't be had.
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

    /// Whether a program binds its address itself, and isn't handed a listener.
    #[must_use]
    pub fn binds(self) -> bool {
        self.wasi() != Some(Wasi::Preview1)
    }

    /// Whether it takes connections as soon as the program has bound its address, and drops those that
    /// come before it listens.
    #[must_use]
    pub fn drops_early(self) -> bool {
        self.has(Trait::DropsEarly)
    }

    /// Whether a process of its own, which doesn't end with it, runs the program.
    #[must_use]
    pub fn forks(self) -> bool {
        self.has(Trait::Forks)
    }

    /// Whether its `poll_oneoff` doesn't look at sockets, so that waiting there is trying again and again.
    #[must_use]
    pub fn is_blind(self) -> bool {
        self.has(Trait::Blind)
    }

    /// Whether what the module has closed is closed only at a collection.
    #[must_use]
    pub fn closes_late(self) -> bool {
        self == Self::WazeroLike
    }

    /// The path of the runtime's program, which `ci/runtime` installs when it isn't there yet.
    ///
    /// # Errors
    /// When it can't be installed.
    pub fn path(self) -> Outcome<PathBuf> {
        Ok(PathBuf::from(script("ci/runtime", self.name())?))
    }

    /// Gets all that this column needs, so that what can't be had is reported at once and in its own words.
    ///
    /// # Errors
    /// When something can't be had.
    pub fn prepare(self) -> Outcome {
        self.prepare_target()?;
        if self.target().is_some() {
            self.path()?;
        }
        Ok(())
    }

    /// Gets what building for it needs.
    ///
    /// # Errors
    /// When the target can't be had.
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

/// Runs a script of the checkout, and gives what it prints.
fn script(name: &str, argument: &str) -> Outcome<String> {
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
    fn names_go_both_ways() {
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

    /// A runtime is installed by `ci/runtime`, which knows how, but has no list.
    #[test]
    fn each_runtime_can_be_installed() {
        let script = std::fs::read_to_string(root().join("ci/runtime")).expect("ci/runtime");
        for runtime in Runtime::all().filter(|it| it.wasi().is_some()) {
            let case = format!("\n{runtime})\n");
            assert!(script.contains(&case), "ci/runtime can't install {runtime}");
        }
    }

    #[test]
    fn a_native_program_is_told_its_address() {
        let env = [("RUST_LOG", "off")];
        let command = Runtime::Native.command(Path::new("/t/echo"), "127.0.0.1:1", &env);
        let shown = format!("{:?}", command.expect("a command"));
        assert!(shown.ends_with(r#""/t/echo""#), "{shown}");
        assert!(shown.contains(r#"MINI_HTTP_ADDR="127.0.0.1:1""#), "{shown}");
    }
}
