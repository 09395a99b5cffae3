//! [`Program`]: builds a program for a runtime, and makes the command that runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Outcome, Runtime, ensure, root};

/// Makes cargo share what it builds for the packages in `folder` with the checkout, whose dependencies are mostly the
/// same. The finished programs stay in the packages' own target folders. (Cargo before 1.91 ignores this.)
pub(crate) fn share_build(folder: &Path) -> Outcome {
    let config = format!("[build]\nbuild-dir = {:?}\n", root().join("target"));
    let folder = folder.join(".cargo");
    std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(folder.join("config.toml"), config))
        .map_err(|e| format!("{}: {e}", folder.display()))
}

/// A program, built for one runtime.
#[derive(Debug, Clone)]
pub struct Program {
    /// The runtime that it is built for.
    pub runtime: Runtime,
    /// The executable or module.
    pub path: PathBuf,
    /// Whether it is an example of this checkout, which cargo's runner can run.
    is_example: bool,
}

impl Program {
    /// An example of this checkout.
    ///
    /// # Errors
    /// When it doesn't compile.
    pub fn example(runtime: Runtime, name: &str, release: bool) -> Outcome<Self> {
        let what = ["--package", "mini-http-server", "--example", name];
        let program = Self::build(runtime, &root(), &what, release)?;
        Ok(Self {
            is_example: true,
            ..program
        })
    }

    /// An example that is a package in the folder `examples`. It is a release build: modules start sooner then, and
    /// all checks use the same builds.
    ///
    /// # Errors
    /// When it doesn't compile.
    pub fn package(runtime: Runtime, name: &str) -> Outcome<Self> {
        let what = ["--locked", "--package", name];
        let program = Self::build(runtime, &root().join("examples"), &what, true)?;
        Ok(Self {
            is_example: true,
            ..program
        })
    }

    /// Arguments for cargo in the workspace `examples`. Its programs are not measured, and to optimize what they depend
    /// on would take minutes.
    pub const QUICK: [&str; 2] = ["--config", "profile.release.opt-level=1"];

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
        if folder == root().join("examples") {
            cargo.args(Self::QUICK);
        }
        if let Some(target) = runtime.target() {
            cargo.args(["--target", target]);
        }
        if release {
            cargo.arg("--release");
        }
        // Only cargo knows the folder of its programs, which depends on configuration and variables.
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
                is_example: false,
                path: PathBuf::from(path),
            }),
            (one, _) => Err(format!(
                "{cargo:?} should have made one program, and made {}",
                if one.is_some() { "several" } else { "none" }
            )),
        }
    }

    /// The command that runs it at `address`. For an example in a runtime that has one, this is cargo's
    /// runner, so that the runner is tested, too.
    ///
    /// # Errors
    /// When the runtime can't be installed.
    pub fn command(&self, address: &str, env: &[(&str, &str)]) -> Outcome<Command> {
        // If the program sees the environment, it needs no runner.
        let runner = match self.runtime.wasi() {
            Some(wasi) if self.is_example && !self.runtime.inherits() => wasi.runner(),
            _ => return self.runtime.command(&self.path, address, env),
        };
        let mut command = Command::new(root().join(runner));
        command.arg(&self.path);
        command
            .env("MINI_HTTP_RUNTIME", self.runtime.name())
            .env("MINI_HTTP_ADDR", address);
        for (name, value) in env {
            command.arg("--env").arg(format!("{name}={value}"));
        }
        Ok(command)
    }

    /// The same for an example that takes the path of a folder as its argument.
    ///
    /// # Errors
    /// As there.
    pub fn command_with_folder(
        &self,
        address: &str,
        env: &[(&str, &str)],
        folder: &str,
    ) -> Outcome<Command> {
        let mut command = self.command(address, env)?;
        if self.runtime != Runtime::Native {
            command.args(["--dir", folder, "--"]);
        }
        command.arg(folder);
        Ok(command)
    }
}

/// The path in a JSON message of cargo about an executable, or a library that is a module. (A path with escapes isn't
/// supported. The build then counts as one without a result.)
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
