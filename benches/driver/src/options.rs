//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use interop::{Outcome, Runtime, ensure};

/// What the command line says.
#[derive(Debug)]
pub(crate) struct Options {
    /// As it was typed, for the report.
    pub(crate) command: String,
    pub(crate) extent: Extent,
    /// The suites and scenarios that are run; all if it is empty.
    only: Vec<String>,
    /// The servers that are compared; all if it is empty.
    servers: Vec<String>,
    /// Programs that are compared too: `--with NAME=PATH`, for instance of another branch.
    pub(crate) with: Vec<(String, PathBuf)>,
    /// The runtimes in which it is measured, instead of a suite's own.
    pub(crate) runtimes: Vec<Runtime>,
    /// The numbers of idle connections, instead of a scenario's own.
    pub(crate) idle: Vec<usize>,
    pub(crate) rounds: Option<usize>,
    pub(crate) seconds: Option<f64>,
    /// Whether clients of load tests sleep while they wait, instead of spinning.
    pub(crate) sleep: bool,
    /// Whether a goal that is missed is a failure.
    pub(crate) assert: bool,
    /// Where the results are written, if at all.
    pub(crate) results: Option<PathBuf>,
    /// Whether the servers are only built.
    pub(crate) build: bool,
}

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// What is committed.
    Full,
    /// For a first look: a few short rounds.
    Quick,
    /// Whether everything runs: the figures mean nothing.
    Smoke,
}

impl Options {
    pub(crate) fn of(arguments: impl Iterator<Item = String>) -> Outcome<Self> {
        let arguments: Vec<String> = arguments.collect();
        let mut options = Self {
            command: std::env::var("BENCH_COMMAND")
                .unwrap_or_else(|_| format!("bench {}", arguments.join(" "))),
            extent: Extent::Full,
            only: Vec::new(),
            servers: Vec::new(),
            with: Vec::new(),
            runtimes: Vec::new(),
            idle: Vec::new(),
            rounds: None,
            seconds: None,
            sleep: false,
            assert: false,
            results: None,
            build: false,
        };
        let mut arguments = arguments.into_iter();
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{name} needs a value"));
            match name.as_str() {
                "--quick" => options.extent = Extent::Quick,
                "--assert" => options.assert = true,
                "--sleep" => options.sleep = true,
                "--build" => options.build = true,
                "--smoke" => options.extent = Extent::Smoke,
                "--only" => options.only.push(value()?),
                "--server" => options.servers.push(value()?),
                "--with" => {
                    let value = value()?;
                    let (name, path) = value.split_once('=').ok_or("--with needs NAME=FILE")?;
                    options.with.push((name.into(), path.into()));
                }
                "--runtime" => options.runtimes.push(value()?.parse()?),
                "--idle" => options.idle.push(number(&name, &value()?)?),
                "--rounds" => options.rounds = Some(number(&name, &value()?)?),
                "--seconds" => options.seconds = Some(number(&name, &value()?)?),
                "--results" => options.results = Some(value()?.into()),
                _ => {
                    return Err(format!(
                        "'{name}' isn't understood; see the head of ci/bench"
                    ));
                }
            }
        }
        Ok(options)
    }

    /// Whether a scenario of a suite is to be run.
    pub(crate) fn wants(&self, suite: &str, scenario: &str) -> bool {
        self.only.is_empty()
            || self.only.iter().any(|name| {
                name == suite
                    || name == scenario
                    || *name == format!("{suite}-{scenario}")
                    || GROUPS.contains(&name.as_str()) && scenario.starts_with(&format!("{name}-"))
            })
    }

    /// Whether a server is to be compared.
    pub(crate) fn compares(&self, server: &str) -> bool {
        self.servers.is_empty() || self.servers.iter().any(|name| name == server)
    }

    /// Fails if `--only` or `--server` has a name that isn't among these.
    pub(crate) fn check_names(&self, scenarios: &[String], servers: &[String]) -> Outcome {
        for (names, known) in [(&self.only, scenarios), (&self.servers, servers)] {
            for name in names {
                let with = self.with.iter().any(|(with, _)| with == name);
                ensure!(
                    with || known.contains(name),
                    "nothing is called '{name}': there are {}",
                    known.join(", ")
                );
            }
        }
        Ok(())
    }

    /// One of three, as the extent says.
    pub(crate) fn by_extent<T>(&self, full: T, quick: T, smoke: T) -> T {
        match self.extent {
            Extent::Full => full,
            Extent::Quick => quick,
            Extent::Smoke => smoke,
        }
    }
}

/// Names for `--only` that mean several scenarios of all suites: those whose names begin with one of these.
pub(crate) const GROUPS: [&str; 2] = ["async", "workers"];

fn number<T: FromStr>(name: &str, value: &str) -> Outcome<T> {
    value
        .parse()
        .map_err(|_| format!("{name} can't be '{value}'"))
}
