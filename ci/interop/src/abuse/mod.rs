//! Attacks a server with hundreds or thousands of hostile clients. Meanwhile, well-behaved new clients (*newcomers*)
//! must be served, and memory must stay bounded. Afterwards the counters must say that everything was closed, and
//! why.
//!
//! Each `Scenario` has a server of its own, the example `stats`, or `async_server` of `tests/servers` for
//! streams. Most of its timeouts are shorter than the defaults, so that all scenarios take only minutes. A scenario
//! says how long a newcomer may wait, and how much memory the process may use.

mod crowd;
mod descriptors;
mod health;
mod large;
mod lingering;
mod memory;
mod newcomer;
mod resets;
mod scenario;
mod silent;
mod slow;
mod streams;
mod upgrades;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use crate::{Outcome, Program, Report, Runtime, ensure};
use scenario::Scenario;

/// The server of the scenarios with streams.
const STREAMS: &str = "async_server";

/// A lock for scenarios that must not run at the same time.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs the scenarios whose names contain `filter`, on each of these runtimes.
#[must_use]
pub fn run(runtimes: &[Runtime], filter: &str, release: bool) -> Report {
    let mut report = Report::new("abuse", runtimes);
    let mut scenarios = scenarios();
    scenarios.retain(|(_, scenario)| scenario.name.contains(filter));
    // Built before anything is timed.
    let programs = runtimes
        .iter()
        .map(|&it| (it, programs(it, &scenarios, release)));
    let programs: Vec<_> = programs.collect();
    // Side by side, since most scenarios mostly wait. Each runtime begins with another scenario, so that those which
    // need the processor or thousands of descriptors don't run at the same time.
    let outcomes = thread::scope(|scope| {
        let mut running = Vec::new();
        for (index, (runtime, programs)) in programs.iter().enumerate() {
            let mut turns = scenarios.clone();
            turns.rotate_left(index * scenarios.len() / runtimes.len());
            running.push(scope.spawn(move || in_turn(*runtime, programs, &turns)));
        }
        let joined = running.into_iter().map(|it| it.join());
        joined
            .map(|it| it.expect("it doesn't panic"))
            .collect::<Vec<_>>()
    });
    for (_, scenario) in &scenarios {
        for (&runtime, outcomes) in runtimes.iter().zip(&outcomes) {
            let (_, outcome) = outcomes
                .iter()
                .find(|(name, _)| *name == scenario.name)
                .expect("all have run");
            report.add(&row(scenario, runtimes), runtime, outcome.clone());
        }
    }
    report
}

/// All scenarios, each with the example that is its server.
fn scenarios() -> Vec<(&'static str, &'static Scenario)> {
    let complete = [slow::SCENARIOS, large::SCENARIOS, memory::SCENARIOS]
        .into_iter()
        .chain([resets::SCENARIOS, silent::SCENARIOS, descriptors::SCENARIOS])
        .chain([lingering::SCENARIOS])
        .flatten();
    let streams = streams::SCENARIOS.iter().chain(upgrades::SCENARIOS);
    let complete = complete.map(|it| ("stats", it));
    complete.chain(streams.map(|it| (STREAMS, it))).collect()
}

/// The programs that these scenarios need, or why there is none.
fn programs(
    runtime: Runtime,
    scenarios: &[(&'static str, &'static Scenario)],
    release: bool,
) -> BTreeMap<&'static str, Outcome<Program>> {
    let names: BTreeSet<_> = scenarios.iter().map(|(name, _)| *name).collect();
    let build = |name| {
        let program = check_descriptors().and_then(|()| Program::example(runtime, name, release));
        (name, program)
    };
    names.into_iter().map(build).collect()
}

/// Runs scenarios one after the other. Returns the outcome of each, with its name.
fn in_turn(
    runtime: Runtime,
    programs: &BTreeMap<&'static str, Outcome<Program>>,
    scenarios: &[(&'static str, &'static Scenario)],
) -> Vec<(&'static str, Outcome<String>)> {
    let run = |(program, scenario): &(&'static str, &'static Scenario)| {
        // Thousands of streams need the processor: one runtime at a time.
        let _alone =
            (*program == STREAMS).then(|| ALONE.lock().unwrap_or_else(PoisonError::into_inner));
        let started = Instant::now();
        let outcome = match &programs[program] {
            Ok(program) => scenario.run(program),
            Err(why) => Err(why.clone()),
        };
        let seconds = started.elapsed().as_secs_f64();
        eprintln!("{runtime}: {} took {seconds:.1} s", scenario.name);
        (scenario.name, outcome)
    };
    scenarios.iter().map(run).collect()
}

/// The name of a scenario with its bounds, for the table.
fn row(scenario: &Scenario, runtimes: &[Runtime]) -> String {
    let bounds = runtimes
        .iter()
        .map(|&runtime| scenario.memory(runtime).to_string());
    let mut bounds: Vec<_> = bounds.collect();
    bounds.dedup();
    let bounds = bounds.join(" or ");
    if scenario.within.is_zero() {
        return format!("{} (at most {bounds} MiB)", scenario.name);
    }
    let within = scenario.within;
    format!("{} (at most {within:.1?}, {bounds} MiB)", scenario.name)
}

/// Checks that there may be enough open files: one for each client here, and as many in the server.
fn check_descriptors() -> Outcome {
    const NEEDED: u64 = 2_500;
    let soft = descriptors()?;
    ensure!(
        soft >= NEEDED,
        "this needs {NEEDED} file descriptors and may have {soft}: raise the limit with `ulimit -n {NEEDED}`; \
         where that is refused, raise the hard limit as root (`ulimit -Hn`, /etc/security/limits.conf, or the \
         container's --ulimit nofile={NEEDED})"
    );
    Ok(())
}

/// How many file descriptors this process may have; the server has the same limit.
fn descriptors() -> Outcome<u64> {
    let path = "/proc/self/limits";
    let limits = fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    // `unlimited` is no number.
    Ok(soft.unwrap_or(u64::MAX))
}

/// This many connections, or fewer where there aren't enough descriptors for them and the rest of the check.
fn at_most(count: usize) -> Outcome<usize> {
    const OTHERS: u64 = 500;
    let room = descriptors()?.saturating_sub(OTHERS);
    Ok(count.min(usize::try_from(room).unwrap_or(usize::MAX)))
}
