//! Where a program runs, and how it is built for there.

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
    /// The host of `ci/wazero-like`, whose `poll_oneoff` is as blind as that of wazero.
    WazeroLike,
}

impl Runtime {
    /// All of them, in the order of the columns.
    pub const ALL: [Self; 6] = [
        Self::Native,
        Self::Wasmi,
        Self::Wasmtime36,
        Self::Wasmtime48,
        Self::Jco,
        Self::WazeroLike,
    ];
    /// Those for which a server is made: the ones that are tried when none is named.
    pub const USUAL: [Self; 5] = [
        Self::Native,
        Self::Wasmi,
        Self::Wasmtime36,
        Self::Wasmtime48,
        Self::WazeroLike,
    ];

    /// The name on the command line, in the tables, and of `ci/runtime`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Wasmi => "wasmi",
            Self::Wasmtime36 => "wasmtime36",
            Self::Wasmtime48 => "wasmtime48",
            Self::Jco => "jco",
            Self::WazeroLike => "wazero-like",
        }
    }

    /// The compile target of its programs, if it isn't this machine's own.
    #[must_use]
    pub fn target(self) -> Option<&'static str> {
        match self {
            Self::Native => None,
            Self::Wasmi | Self::Wasmtime36 | Self::WazeroLike => Some("wasm32-wasip1"),
            Self::Wasmtime48 | Self::Jco => Some("wasm32-wasip2"),
        }
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
        let mut command = match self {
            Self::Native => {
                let mut command = Command::new(program);
                command
                    .env("MINI_HTTP_ADDR", address)
                    .envs(env.iter().copied());
                return Ok(command);
            }
            Self::Wasmi => {
                let mut command = Command::new(self.path()?);
                command.args(["run", "--tcplisten", address]);
                command
            }
            Self::Wasmtime36 => {
                let mut command = Command::new(self.path()?);
                command.args(["run", "-S", "preview2=n", "-S"]);
                command.arg(format!("tcplisten={address}"));
                command
            }
            Self::Wasmtime48 => {
                let mut command = Command::new(self.path()?);
                command.args(["run", "-S", "inherit-network", "--env"]);
                command.arg(format!("MINI_HTTP_ADDR={address}"));
                command
            }
            Self::Jco => {
                // It passes its own environment on.
                let mut command = Command::new(self.path()?);
                command.arg("run").arg(program);
                command
                    .env("MINI_HTTP_ADDR", address)
                    .envs(env.iter().copied());
                return Ok(command);
            }
            Self::WazeroLike => {
                let mut command = Command::new(self.path()?);
                command.arg("run").arg(format!("-listen={address}"));
                command
            }
        };
        if program.extension().is_some_and(|kind| kind == "cwasm") {
            command.arg("--allow-precompiled");
        }
        for (name, value) in env {
            command.arg("--env").arg(format!("{name}={value}"));
        }
        command.arg(program);
        Ok(command)
    }

    /// Whether a program binds its address itself, and isn't handed a listener.
    #[must_use]
    pub fn binds(self) -> bool {
        matches!(self, Self::Native | Self::Wasmtime48 | Self::Jco)
    }

    /// Whether it takes connections as soon as the program has bound its address, and drops those that
    /// come before it listens.
    #[must_use]
    pub fn drops_early(self) -> bool {
        self == Self::Jco
    }

    /// Whether a process of its own, which doesn't end with it, runs the program.
    #[must_use]
    pub fn forks(self) -> bool {
        self == Self::Jco
    }

    /// Whether its `poll_oneoff` doesn't look at sockets, so that waiting there is trying again and again.
    #[must_use]
    pub fn is_blind(self) -> bool {
        self == Self::WazeroLike
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

    /// Gets all that this column needs, so that what can't be had is told at once and in its own words.
    ///
    /// # Errors
    /// When something can't be had.
    pub fn prepare(self) -> Outcome {
        if let Some(target) = self.target() {
            script("ci/target", target)?;
            self.path()?;
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
        Self::ALL
            .into_iter()
            .find(|runtime| runtime.name() == name)
            .ok_or_else(|| {
                let names = Self::ALL.map(Self::name).join(", ");
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

/// A program, built for one runtime.
#[derive(Debug, Clone)]
pub struct Program {
    /// What it is built for.
    pub runtime: Runtime,
    /// The executable, or the module.
    pub path: PathBuf,
    /// Whether it is an example of this checkout, which a runner of `ci` runs.
    example: bool,
}

impl Program {
    /// An example of this checkout.
    ///
    /// # Errors
    /// When it doesn't compile.
    pub fn example(runtime: Runtime, name: &str, release: bool) -> Outcome<Self> {
        Self::build(
            runtime,
            &root(),
            &["--package", "mini_http", "--example", name],
            release,
        )
    }

    /// The one program that `cargo build` makes in `folder` with these arguments.
    ///
    /// # Errors
    /// When it doesn't compile, or isn't one program.
    pub fn build(runtime: Runtime, folder: &Path, what: &[&str], release: bool) -> Outcome<Self> {
        let mut cargo = Command::new("cargo");
        cargo
            .arg("build")
            .args(what)
            .current_dir(folder)
            .stderr(Stdio::inherit());
        if let Some(target) = runtime.target() {
            cargo.args(["--target", target]);
        }
        if release {
            cargo.arg("--release");
        }
        // Only cargo knows where its programs are put: configuration and variables have a say.
        cargo.args(["--quiet", "--message-format=json-render-diagnostics"]);
        let output = cargo.output().map_err(|e| format!("cargo: {e}"))?;
        ensure!(
            output.status.success(),
            "{cargo:?} failed: {}",
            output.status
        );
        let messages = String::from_utf8_lossy(&output.stdout);
        let mut built = messages.lines().filter_map(executable);
        match (built.next(), built.next()) {
            (Some(path), None) => Ok(Self {
                runtime,
                example: what.contains(&"--example"),
                path: PathBuf::from(path),
            }),
            (one, _) => Err(format!(
                "{cargo:?} should have made one program, and made {}",
                if one.is_some() { "several" } else { "none" }
            )),
        }
    }

    /// The command that serves it at `address`: for an example in a runtime that has one, cargo's own
    /// runner, so that the runner is tested too.
    ///
    /// # Errors
    /// When the runtime can't be had.
    pub fn command(&self, address: &str, env: &[(&str, &str)]) -> Outcome<Command> {
        if !self.example || matches!(self.runtime, Runtime::Native | Runtime::Jco) {
            return self.runtime.command(&self.path, address, env);
        }
        let mut command = Command::new(root().join(match self.runtime {
            Runtime::Wasmtime48 => "ci/run-wasip2",
            _ => "ci/run-wasip1",
        }));
        command.arg(&self.path);
        command
            .env("MINI_HTTP_RUNTIME", self.runtime.name())
            .env("MINI_HTTP_ADDR", address);
        for (name, value) in env {
            command.arg("--env").arg(format!("{name}={value}"));
        }
        Ok(command)
    }
}

/// The path in one of cargo's JSON messages that tells of an executable, or of a library that is a
/// module. (A path that JSON has to escape isn't understood, and the build then counts as having made
/// nothing.)
fn executable(message: &str) -> Option<&str> {
    let after = |start| {
        let (_, rest) = message.split_once(start)?;
        let (path, _) = rest.split_once('"')?;
        (!path.contains('\\')).then_some(path)
    };
    let module = || after(r#""filenames":[""#).filter(|path| path.ends_with(".wasm"));
    after(r#""executable":""#).or_else(module)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        for runtime in Runtime::ALL {
            assert_eq!(runtime.name().parse(), Ok(runtime));
        }
        assert!("wasmer".parse::<Runtime>().is_err());
    }

    #[test]
    fn executables_are_found_in_the_messages_of_cargo() {
        let library =
            r#"{"reason":"compiler-artifact","filenames":["/t/libx.rlib"],"executable":null}"#;
        let program =
            r#"{"reason":"compiler-artifact","executable":"/t/examples/echo","fresh":true}"#;
        assert_eq!(executable(library), None);
        assert_eq!(executable(program), Some("/t/examples/echo"));
        let module = r#"{"filenames":["/t/x.wasm"],"executable":null,"fresh":true}"#;
        assert_eq!(executable(module), Some("/t/x.wasm"));
    }
}
