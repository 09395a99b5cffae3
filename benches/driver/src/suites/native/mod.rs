//! Natively: ours beside a bare epoll loop, the servers of other libraries, and nginx.
//!
//! - [`program`]: the servers, and how each is started; nginx has a configuration written for it.
//! - [`wrk`]: the load.
//! - [`turns`]: turns of a server and the floor, one right after the other.
//! - [`load`]: what a request costs, in all scenarios but two; [`rss`]: what an idle connection does; [`workers`]:
//!   what a second core is worth.

mod load;
mod program;
mod rss;
mod turns;
mod workers;
pub(super) mod wrk;

use interop::{Outcome, Runtime};

use self::program::programs;
use crate::chart;
use crate::cores;
use crate::options::Options;
use crate::report;

pub(crate) const SUITE: &str = "native";
pub(crate) const SCENARIOS: [&str; 12] = [
    "keepalive",
    "pipelined",
    "echo",
    "close",
    "idle",
    "rss",
    "async-ready",
    "async-stream",
    "async-echo",
    "workers-one-core",
    workers::SCENARIO,
    "access-log",
];
pub(crate) const SERVERS: [&str; 14] = [
    FLOOR,
    OURS,
    NGINX,
    "may_minihttp",
    "actix-web",
    HYPER,
    "axum",
    "tiny_http",
    OURS_ASYNC,
    STREAM_FLOOR,
    OURS_TWO,
    workers::ONE,
    workers::TWO,
    OURS_LOG,
];
/// Those of the scenarios that aren't about asynchronous handlers. The first one is what the others are
/// compared with.
const COMMON: [&str; 8] = [
    FLOOR,
    OURS,
    NGINX,
    "may_minihttp",
    "actix-web",
    HYPER,
    "axum",
    "tiny_http",
];
const FLOOR: &str = "floor";
/// The least that a stream can cost.
const STREAM_FLOOR: &str = "floor_stream";
const OURS: &str = "ours";
/// Ours with an asynchronous handler.
const OURS_ASYNC: &str = "ours_async";
/// Ours with two workers.
const OURS_TWO: &str = "ours_two";
/// Ours with an access log.
const OURS_LOG: &str = "ours_log";
const HYPER: &str = "hyper";
const NGINX: &str = "nginx";

pub(crate) fn run(options: &Options) -> Outcome {
    let runtimes = &options.runtimes;
    let wanted = |scenario: &&str| options.wants(SUITE, scenario);
    let wanted: Vec<_> = SCENARIOS.into_iter().filter(wanted).collect();
    if wanted.is_empty() || !runtimes.is_empty() && !runtimes.contains(&Runtime::Native) {
        return Ok(());
    }
    wrk::prepare()?;
    let takes_part = |server: &str| {
        let mut wanted = wanted.iter();
        wanted.any(|scenario| load::servers(scenario).contains(&server))
    };
    let programs = programs(options, takes_part)?;
    let mut versions = report::locked(
        "benches/native",
        &[
            "hyper",
            "axum",
            "actix-web",
            "may_minihttp",
            "tiny_http",
            "tokio",
            "mio",
        ],
    )?;
    versions.push(("wrk".into(), wrk::version()?));
    for program in &programs {
        versions.extend(program.version()?);
    }
    // Not before: what was built above may use all cores.
    cores::prepare()?;
    for scenario in wanted {
        let report = match scenario {
            "rss" => rss::run(options, &programs),
            workers::SCENARIO => workers::run(options, &programs),
            scenario => load::run(scenario, options, &programs),
        };
        report?.finish(options, &versions)?;
    }
    match &options.results {
        Some(folder) => chart::draw(folder),
        None => Ok(()),
    }
}

/// Says what is being done, as it takes a while.
fn tell(scenario: &str, what: std::fmt::Arguments<'_>) {
    eprintln!("{SUITE} {scenario}: {what}");
}
