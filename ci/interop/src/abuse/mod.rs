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
mod rest;
mod scenario;
mod slow;
mod streams;

use std::fs;
use std::time::Instant;

use crate::{Outcome, Program, Report, Runtime, ensure};
use scenario::Scenario;

/// Runs the scenarios whose names contain `filter`, on each of these runtimes.
#[must_use]
pub fn run(runtimes: &[Runtime], filter: &str, release: bool) -> Report {
    let mut report = Report::new("abuse", runtimes);
    let whole = [slow::SCENARIOS, large::SCENARIOS, memory::SCENARIOS]
        .into_iter()
        .chain([resets::SCENARIOS, rest::SCENARIOS, descriptors::SCENARIOS])
        .chain([lingering::SCENARIOS])
        .flatten();
    let programs = [
        ("stats", named(whole, filter)),
        ("async_server", named(streams::SCENARIOS, filter)),
    ];
    for &runtime in runtimes {
        for (program, scenarios) in &programs {
            if scenarios.is_empty() {
                continue;
            }
            let program =
                check_descriptors().and_then(|()| Program::example(runtime, program, release));
            for scenario in scenarios {
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
    }
    report
}

/// Those whose names contain `filter`.
fn named<'a>(scenarios: impl IntoIterator<Item = &'a Scenario>, filter: &str) -> Vec<&'a Scenario> {
    let all = scenarios.into_iter();
    all.filter(|scenario| scenario.name.contains(filter))
        .collect()
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
        "this needs {NEEDED} file descriptors and may have {soft}: raise the limit with `ulimit -n {NEEDED}`, \
         or where that is refused the hard one, as root (`ulimit -Hn`, /etc/security/limits.conf, or the \
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

/// So many connections, or fewer where there aren't descriptors for them and some more.
fn at_most(count: usize) -> Outcome<usize> {
    const OTHERS: u64 = 500;
    let room = descriptors()?.saturating_sub(OTHERS);
    Ok(count.min(usize::try_from(room).unwrap_or(usize::MAX)))
}
