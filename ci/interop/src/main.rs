//! `interop COMMAND [--OPTION VALUE]... [RUNTIME]...`: the tests from outside. Without a runtime, all.
//!
//! - `matrix [--release]`: the curl matrix.
//! - `runner`: `cargo run --example hello` as a person types it.
//! - `own-project`: a crate outside the checkout.
//! - `conformance`: the conformance cases over sockets.
//! - `files`: the example that reads files while it serves.
//! - `first-answer [--starts 10] [--most-ms 50]`: of a precompiled module in wasmtime.
//! - `idle [--connections 50] [--seconds 10] [--most-ticks 2]`: the cost of idle connections.
//! - `probe [--json | --markdown] RUNTIME`: what a runtime does, by the example `probe`.
//! - `probe --address HOST:PORT`: the other end for a probe that somebody else has started there.
//! - `abuse [--only WORDS]`: hostile clients; of the scenarios, those whose names contain the words.
//! - `shim`: the programs of `examples/hyper`, on the mio shim in the runtimes of preview 1.
//! - `registry-mio [--resets 2000] [--seconds 5]`: one of them beside itself on the mio of crates.io.
//! - `resets [--count 10000] [--seed 1] [--limit-seconds 300]`: connections reset at random moments.
//! - `stop`: what a server that is stopped still serves, and when it ends.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that tells a person"
)]

use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use interop::{
    Outcome, Report, Runtime, abuse, conformance, ensure, files, first_answer, idle, matrix,
    own_project, probe, registry_mio, resets, runner, shim, stop,
};

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("interop: {why}");
            ExitCode::from(2)
        }
    }
}

/// Whether all is well.
fn run(mut arguments: Vec<String>) -> Outcome<bool> {
    ensure!(
        !arguments.is_empty(),
        "which command? matrix, runner, own-project, conformance, files, first-answer, idle, resets, \
         stop, shim, registry-mio, abuse or probe"
    );
    let command = arguments.remove(0);
    if command == "probe" {
        return examine(arguments).map(|()| true);
    }
    report(&command, arguments).map(|report| report.finish())
}

fn examine(mut arguments: Vec<String>) -> Outcome {
    let address: String = option(&mut arguments, "--address", String::new())?;
    if !address.is_empty() {
        let address = address
            .parse()
            .map_err(|_| format!("{address} is no address, like 127.0.0.1:3000"))?;
        return probe::serve(address);
    }
    let mut format = "text";
    for other in ["json", "markdown"] {
        if flag(&mut arguments, &format!("--{other}")) {
            format = other;
        }
    }
    ensure!(arguments.len() == 1, "which runtime? One of them");
    for runtime in runtimes(&arguments)? {
        print!("{}", probe::run(runtime, format)?);
    }
    Ok(())
}

fn report(command: &str, mut arguments: Vec<String>) -> Outcome<Report> {
    let release = flag(&mut arguments, "--release");
    match command {
        "matrix" => Ok(matrix::run(&runtimes(&arguments)?, release)),
        "runner" => Ok(runner::run(&runtimes(&arguments)?)),
        "shim" => Ok(shim::run(&runtimes(&arguments)?)),
        "registry-mio" => {
            let settings = registry_mio::Settings {
                resets: option(&mut arguments, "--resets", 2000)?,
                seconds: option(&mut arguments, "--seconds", 5)?,
            };
            Ok(registry_mio::run(&runtimes(&arguments)?, settings))
        }
        "own-project" => Ok(own_project::run(&runtimes(&arguments)?)),
        "conformance" => Ok(conformance::run(&runtimes(&arguments)?)),
        "files" => Ok(files::run(&runtimes(&arguments)?)),
        "first-answer" => {
            let settings = first_answer::Settings {
                starts: option(&mut arguments, "--starts", 10)?,
                most: Duration::from_millis(option(&mut arguments, "--most-ms", 50)?),
            };
            Ok(first_answer::run(&runtimes(&arguments)?, settings))
        }
        "idle" => {
            let settings = idle::Settings {
                connections: option(&mut arguments, "--connections", 50)?,
                seconds: option(&mut arguments, "--seconds", 10)?,
                most_ticks: option(&mut arguments, "--most-ticks", 2)?,
                release,
            };
            Ok(idle::run(&runtimes(&arguments)?, settings))
        }
        "resets" => {
            let settings = resets::Settings {
                count: option(&mut arguments, "--count", 10_000)?,
                seed: option(&mut arguments, "--seed", 1)?,
                limit: Duration::from_secs(option(&mut arguments, "--limit-seconds", 300)?),
                release,
            };
            Ok(resets::run(&runtimes(&arguments)?, settings))
        }
        "stop" => Ok(stop::run(
            &runtimes(&arguments)?,
            stop::Settings { release },
        )),
        "abuse" => {
            let only = option(&mut arguments, "--only", String::new())?;
            Ok(abuse::run(&runtimes(&arguments)?, &only, release))
        }
        _ => Err(format!("no command is called '{command}'")),
    }
}

/// Takes a flag out of the arguments.
fn flag(arguments: &mut Vec<String>, name: &str) -> bool {
    let before = arguments.len();
    arguments.retain(|argument| argument != name);
    arguments.len() < before
}

/// Takes an option's value out of the arguments, or gives what it is by default.
fn option<T: FromStr>(arguments: &mut Vec<String>, name: &str, default: T) -> Outcome<T> {
    let Some(at) = arguments.iter().position(|argument| argument == name) else {
        return Ok(default);
    };
    ensure!(at + 1 < arguments.len(), "{name} needs a value");
    let value = arguments.remove(at + 1);
    arguments.remove(at);
    value
        .parse()
        .map_err(|_| format!("{name} can't be '{value}'"))
}

/// What is left: the runtimes. They are made ready.
fn runtimes(arguments: &[String]) -> Outcome<Vec<Runtime>> {
    let named: Outcome<Vec<Runtime>> = arguments.iter().map(|name| name.parse()).collect();
    let runtimes = if arguments.is_empty() {
        Runtime::USUAL.to_vec()
    } else {
        named?
    };
    for runtime in &runtimes {
        runtime.prepare()?;
    }
    Ok(runtimes)
}
