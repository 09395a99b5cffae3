//! The packages of the folder `examples`: lints, tests, and a first response in each runtime.

use std::process::Command;

use crate::curl::{Scratch, curl};
use crate::{Outcome, Program, Report, Runtime, Server, ensure, root};

/// A package of the workspace `examples`.
struct Example {
    name: &'static str,
    /// Where it runs.
    runs: fn(Runtime) -> bool,
    /// The path of a first request, and a part of the response. No path: another check has requests.
    first: (&'static str, &'static str),
    /// Whether its argument is a folder. There is a file `hello.txt` in it.
    takes_folder: bool,
}

const fn example(name: &'static str, first: (&'static str, &'static str)) -> Example {
    Example {
        name,
        runs: |_| true,
        first,
        takes_folder: false,
    }
}

const EXAMPLES: &[Example] = &[
    example("axum-api", ("/notes", "[] 200")),
    example("chat", ("/", "<title>Chat</title>")),
    Example {
        takes_folder: true,
        ..example("download", ("/hello.txt", "Hello from a file!"))
    },
    Example {
        runs: |it| it == Runtime::Native || it == Runtime::Wasmtime48,
        ..example("proxy", ("", ""))
    },
    Example {
        runs: |it| it == Runtime::Native,
        // Its process id.
        ..example("restart", ("/", " 200"))
    },
    example("slow", ("/query", "42 rows")),
    example("sse", ("/", "<title>Server-sent events</title>")),
    Example {
        runs: |it| it == Runtime::Native,
        ..example("tls", ("", ""))
    },
    Example {
        takes_folder: true,
        ..example("upload", ("/", "<title>Upload</title>"))
    },
    example("websocket", ("/", " 200")),
];

/// Packages that another check builds and requests: `wasi-http`.
#[cfg(test)]
const ELSEWHERE: [&str; 2] = ["everywhere", "exports"];

/// Checks them for each of these runtimes.
#[must_use]
pub fn run(runtimes: &[Runtime]) -> Report {
    let mut report = Report::new("examples", runtimes);
    for &runtime in runtimes {
        let lints = clippy(runtime).and_then(|()| match runtime {
            Runtime::Native => natively(),
            _ => Ok(()),
        });
        report.add(
            "clippy; natively tests, too",
            runtime,
            lints.map(|()| "ok".into()),
        );
        for example in EXAMPLES {
            let is_requested = !example.first.0.is_empty();
            let outcome = match is_requested && (example.runs)(runtime) {
                true => first_response(example, runtime).map(|()| "ok"),
                false => Ok("-"),
            };
            let name = format!("{} responds", example.name);
            report.add(&name, runtime, outcome.map(Into::into));
        }
    }
    report
}

/// The tests are release builds, as those of the other checks.
fn natively() -> Outcome {
    cargo(&["test", "--quiet", "--locked", "--release", "--workspace"])
}

/// Of those that run there.
fn clippy(runtime: Runtime) -> Outcome {
    let mut arguments = vec!["clippy", "--quiet", "--locked", "--release"];
    for example in EXAMPLES.iter().filter(|it| (it.runs)(runtime)) {
        arguments.extend(["--package", example.name]);
    }
    match runtime.target() {
        Some(target) => arguments.extend(["--target", target]),
        None => arguments.push("--all-targets"),
    }
    arguments.extend(["--", "-D", "warnings"]);
    cargo(&arguments)
}

fn cargo(arguments: &[&str]) -> Outcome {
    let mut command = Command::new("cargo");
    let (name, arguments) = arguments.split_first().expect("a command of cargo");
    command.arg(name).args(Program::QUICK).args(arguments);
    command.current_dir(root().join("examples"));
    let output = command.output().map_err(|e| format!("cargo: {e}"))?;
    let shown = [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
    ensure!(output.status.success(), "{command:?}:\n{}", shown.concat());
    Ok(())
}

fn first_response(example: &Example, runtime: Runtime) -> Outcome {
    let program = Program::package(runtime, example.name)?;
    let scratch = Scratch::new()?;
    scratch.write("hello.txt", "Hello from a file!")?;
    let folder = scratch.path().display().to_string();
    let server = Server::with_command(runtime, |address| {
        let (address, env) = (address.to_string(), [("RUST_LOG", "info")]);
        match example.takes_folder {
            true => program.command_with_folder(&address, &env, &folder),
            false => program.command(&address, &env),
        }
    })?;
    let (path, expected) = example.first;
    let said = curl(&["-w", " %{http_code}", &server.url(path)])?.text();
    ensure!(said.contains(expected), "{path} is {said}");
    server.check_log()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn each_package_is_checked() {
        let manifest = fs::read_to_string(root().join("examples/Cargo.toml")).expect("a manifest");
        let members = manifest
            .split_once("members = [")
            .and_then(|(_, rest)| rest.split_once(']'));
        let members = members
            .expect("the members")
            .0
            .split(',')
            .map(|it| it.trim().trim_matches('"'));
        let members = members.filter(|it| !it.is_empty() && !ELSEWHERE.contains(it));
        let members: Vec<_> = members.collect();
        // A package can't be called like the crate that it needs: axum.
        let folders = EXAMPLES.iter().map(|it| it.name.trim_end_matches("-api"));
        let checked: Vec<_> = folders.collect();
        assert_eq!(members, checked);
    }
}
