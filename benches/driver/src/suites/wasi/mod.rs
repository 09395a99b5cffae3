//! WASI: the same scenarios for preview 1 and for 0.2, with the servers and the goals of each.
//!
//! - [`wasip1`], [`wasip2`]: the servers that are compared there, and the goals.
//! - [`host`]: the same programs in `wasip1-host` and elsewhere.
//! - [`rest`], [`load`], [`quiet`], [`memory`]: the scenarios.
//! - [`contestant`]: a server in a runtime, with the connections to it.

mod contestant;
mod host;
mod load;
mod memory;
mod quiet;
mod rest;
mod wasip1;
mod wasip2;

use std::process::Command;
use std::time::Duration;

use interop::{Outcome, Runtime};

use self::contestant::{Module, Server};
pub(crate) use self::host::HOST;
pub(crate) use self::wasip1::WASIP1;
pub(crate) use self::wasip2::WASIP2;
use crate::cores;
use crate::options::Options;
use crate::report::{Goal, Report, Row, Series};

/// Servers for one kind of runtime, and the scenarios that compare them.
pub(crate) struct Suite {
    name: &'static str,
    /// The runtimes where it is measured unless others are named.
    runtimes: &'static [Runtime],
    servers: &'static [Server],
    scenarios: &'static [(&'static str, Scenario)],
    idle: Idle,
    goals: Goals,
    /// The versions of packages, read from lock files, that are reported with the figures.
    versions: fn() -> Outcome<Vec<(String, String)>>,
}

type Scenario = fn(&Run<'_>) -> Outcome<Report>;

/// The numbers of idle connections, by scenario.
struct Idle {
    rest: &'static [usize],
    load: &'static [usize],
    quiet: &'static [usize],
    memory: usize,
}

/// The goals of a suite.
struct Goals {
    /// Goals of processor time and latency are for this runtime only: interpreters are too slow for them.
    runtime: Runtime,
    times: &'static [Times],
    /// Our processor time a request beside idle connections, as a multiple of that without.
    beside_idle: f64,
}

/// A goal: in a scenario, beside this many idle connections, a server's processor time for a request should be at most
/// this many times another's.
struct Times {
    scenario: &'static str,
    idle: usize,
    server: &'static str,
    of: &'static str,
    most: f64,
}

// The names of servers that scenarios mention.

const OURS: &str = "ours";
/// Ours with an asynchronous handler.
const OURS_ASYNC: &str = "ours_async";
/// Ours with an axum app, and the same app on tokio and hyper, on the shim.
const OURS_TOWER: &str = "ours_tower";
const AXUM: &str = "axum";
/// What the others are compared with.
const FLOOR: &str = "floor";
/// hyper on the mio of crates.io, and (`SHIM`) on the shim.
const HYPER: &str = "hyper";
const SHIM: &str = "shim";

impl Times {
    const fn new(
        scenario: &'static str,
        idle: usize,
        server: &'static str,
        of: &'static str,
        most: f64,
    ) -> Self {
        Self {
            scenario,
            idle,
            server,
            of,
            most,
        }
    }
}

impl Suite {
    /// What `--only` can name.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        let of = |name: &str| [name.to_owned(), format!("{}-{name}", self.name)];
        let scenarios = self.scenarios.iter().flat_map(move |(name, _)| of(name));
        std::iter::once(self.name.to_owned()).chain(scenarios)
    }

    /// What `--server` can name.
    pub(crate) fn server_names(&self) -> impl Iterator<Item = &'static str> {
        self.servers.iter().map(|server| server.name)
    }

    /// Runs the scenarios of this suite that the options name.
    pub(crate) fn run(&'static self, options: &Options) -> Outcome {
        let wanted: Vec<_> = self
            .scenarios
            .iter()
            .filter(|(name, _)| options.wants(self.name, name))
            .collect();
        let runtimes: Vec<Runtime> = match &options.runtimes[..] {
            [] => self.runtimes.to_vec(),
            // The others are for the other suites.
            named => named.iter().copied().filter(|it| self.has(*it)).collect(),
        };
        let (false, Some(&first)) = (wanted.is_empty(), runtimes.first()) else {
            return Ok(());
        };
        for runtime in runtimes.iter().copied().chain(self.bound()) {
            runtime.prepare()?;
        }
        let scenarios: Vec<_> = wanted.iter().map(|(name, _)| *name).collect();
        let run = Run {
            suite: self,
            options,
            modules: contestant::modules(self.servers, &scenarios, options, first)?,
            runtimes,
        };
        if options.build {
            return Ok(());
        }
        let versions = run.versions()?;
        // Only now, because the builds above may use all cores.
        cores::prepare()?;
        for (_, scenario) in wanted {
            scenario(&run)?.finish(options, &versions)?;
        }
        Ok(())
    }

    /// Whether the suite can be measured in this runtime. It can in its own runtimes and, if none of its servers is
    /// bound to a runtime, in any with the same target.
    fn has(&self, runtime: Runtime) -> bool {
        let is_bound = self.bound().next().is_some();
        self.runtimes
            .iter()
            .any(|own| *own == runtime || !is_bound && own.target() == runtime.target())
    }

    /// The runtimes that some of its servers are bound to.
    fn bound(&self) -> impl Iterator<Item = Runtime> {
        self.servers.iter().filter_map(|server| server.runtime)
    }
}

/// What the scenarios of a suite are run with.
struct Run<'a> {
    suite: &'static Suite,
    options: &'a Options,
    runtimes: Vec<Runtime>,
    modules: Vec<Module>,
}

/// One server in one setting.
#[derive(Clone, Copy)]
struct Case<'a> {
    module: &'a Module,
    runtime: Runtime,
    idle: usize,
}

impl Run<'_> {
    /// How long a measurement lasts, in seconds.
    fn seconds(&self, full: f64, quick: f64, smoke: f64) -> (f64, Duration) {
        let seconds = self.options.by_extent(full, quick, smoke);
        let seconds = self.options.seconds.unwrap_or(seconds);
        (seconds, Duration::from_secs_f64(seconds))
    }

    /// How many connections are idle: what the options say, or else the suite.
    fn idle(&self, suite: &[usize]) -> Vec<usize> {
        match &self.options.idle[..] {
            [] => self.options.by_extent(suite, suite, &[0, 20]).to_vec(),
            given => given.to_vec(),
        }
    }

    /// Each of these servers, and the modules of `--with`, in each setting.
    fn cases_of(&self, servers: &[&str], idle: &[usize]) -> Vec<Case<'_>> {
        let mut cases = self.all_cases(idle);
        let is_of_suite = |name: &str| self.suite.server_names().any(|own| own == name);
        cases.retain(|case| {
            let name = case.module.name.as_str();
            servers.contains(&name) || !is_of_suite(name)
        });
        cases
    }

    /// Each server in each setting, except those that take part in certain scenarios only.
    fn cases(&self, idle: &[usize]) -> Vec<Case<'_>> {
        let mut cases = self.all_cases(idle);
        cases.retain(|case| case.module.only.is_empty());
        cases
    }

    fn all_cases(&self, idle: &[usize]) -> Vec<Case<'_>> {
        let mut cases = Vec::new();
        for &runtime in &self.runtimes {
            for &idle in idle {
                let case = |module| Case {
                    module,
                    runtime,
                    idle,
                };
                cases.extend(self.modules.iter().map(case));
            }
        }
        cases
    }

    /// Measures one case after the other. Each figure is a single value. The row of a case that fails has the error.
    fn rows(
        &self,
        scenario: &'static str,
        cases: &[Case<'_>],
        measure: impl Fn(&Case<'_>) -> Outcome<Vec<(&'static str, f64)>>,
    ) -> Vec<Row> {
        let row = |case: &Case<'_>| {
            self.announce(scenario, format_args!("{case}"));
            let measured = measure(case);
            let series = measured.iter().flatten().map(|&(name, value)| Series {
                name,
                values: vec![value],
            });
            Row {
                runtime: case.runtime,
                setting: format!("{} idle", case.idle),
                server: case.module.name.clone(),
                series: series.collect(),
                failure: measured.as_ref().err().cloned(),
            }
        };
        cases.iter().map(row).collect()
    }

    /// Adds a goal for each row of ours: this figure should be at most `limit`.
    fn goals(&self, report: &mut Report, text: &str, figure: &str, limit: f64) {
        let ours = report.rows.iter().filter(|row| row.server == OURS);
        for row in ours {
            let series = row.series.iter().find(|series| series.name == figure);
            if let Some(series) = series {
                report.goals.push(Goal {
                    text: format!("{}, {text} with {}", row.runtime, row.setting),
                    figure: series.values[0],
                    limit,
                });
            }
        }
    }

    fn versions(&self) -> Outcome<Vec<(String, String)>> {
        let mut versions = (self.suite.versions)()?;
        let mut runtimes = self.runtimes.clone();
        for runtime in self.suite.bound() {
            if runtime.wasi().is_some() && !runtimes.contains(&runtime) {
                runtimes.push(runtime);
            }
        }
        for runtime in runtimes {
            let output = Command::new(runtime.path()?)
                .arg("--version")
                .output()
                .map_err(|e| format!("{runtime}: {e}"))?;
            let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            versions.push((runtime.name().into(), version));
        }
        Ok(versions)
    }

    /// Prints what is being done, because it takes a while.
    fn announce(&self, scenario: &str, what: std::fmt::Arguments<'_>) {
        eprintln!("{} {scenario}: {what}", self.suite.name);
    }
}

impl std::fmt::Display for Case<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            module,
            runtime,
            idle,
        } = self;
        write!(f, "{runtime}, {} with {idle} idle", module.name)
    }
}

/// A percentile of sorted durations, in ms: the 99th if `part` is 0.99. `None` if there are no values.
fn percentile(sorted: &[Duration], part: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let at = (last as f64 * part).ceil() as usize;
    Some(sorted[at].as_secs_f64() * 1e3)
}
