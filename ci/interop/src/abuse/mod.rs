//! Attacks a server with hundreds or thousands of hostile clients. Meanwhile, well-behaved new clients (*newcomers*)
//! must be served, and memory must stay bounded. Afterwards the counters must say that everything was closed, and
//! why.
//!
//! Each `Scenario` has a server of its own, the example `stats`. Most of its timeouts are shorter than the defaults, so
//! that all scenarios take only minutes. A scenario says how long a newcomer may wait, and how much memory the process
//! may use.

mod crowd;
mod descriptors;
mod health;
mod large;
mod lingering;
mod memory;
mod newcomer;
mod resets;
mod rest;
mod scenario;
mod slow;

use std::fs;
use std::time::Instant;

use crate::{Outcome, Program, Report, Runtime, ensure};
use scenario::Scenario;

/// Runs the scenarios whose names contain `filter`, on each of these runtimes.
#[must_use]
pub fn run(runtimes: &[Runtime], filter: &str, release: bool) -> Report {
    let mut report = Report::new("abuse", runtimes);
    let all = [slow::SCENARIOS, large::SCENARIOS, memory::SCENARIOS]
        .into_iter()
        .chain([resets::SCENARIOS, rest::SCENARIOS, descriptors::SCENARIOS])
        .chain([lingering::SCENARIOS])
        .flatten()
        .filter(|scenario| scenario.name.contains(filter));
    let all: Vec<_> = all.collect();
    for &runtime in runtimes {
        let program =
            check_descriptors().and_then(|()| Program::example(runtime, "stats", release));
        for scenario in &all {
            let started = Instant::now();
            let outcome = match &program {
                Ok(program) => scenario.run(program),
                Err(why) => Err(why.clone()),
            };
            let seconds = started.elapsed().as_secs_f64();
            eprintln!("{runtime}: {} took {seconds:.1} s", scenario.name);
            report.add(&row(scenario, runtimes), runtime, outcome);
        }
    }
    report
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
    let path = "/proc/self/limits";
    let limits = fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    // `unlimited` isn't a number.
    let soft = soft.unwrap_or(u64::MAX);
    ensure!(
        soft >= NEEDED,
        "this needs {NEEDED} file descriptors and may have {soft}: raise the limit with `ulimit -n {NEEDED}`, \
         or where that is refused the hard one, as root (`ulimit -Hn`, /etc/security/limits.conf, or the \
         container's --ulimit nofile={NEEDED})"
    );
    Ok(())
}
