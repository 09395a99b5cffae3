//! Natively: ours beside a bare epoll loop, the servers of other libraries, and nginx.
//!
//! - [`program`]: the servers, and how each is started; nginx has a configuration written for it.
//! - [`wrk`]: the load of most scenarios; [`fan_out`]: that of `fan-out`; [`sockets`]: that of `websocket`.
//! - [`turns`]: a server and the floor are measured one right after the other, each in a turn.
//! - [`load`]: what a request costs, in the scenarios of [`scenarios`]; [`rss`]: how much memory an idle connection
//!   needs; [`workers`]: what a second core is worth.

mod fan_out;
mod load;
mod program;
mod rss;
mod scenarios;
mod sockets;
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
pub(crate) const SCENARIOS: [&str; 15] = [
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
    "axum",
    "fan-out",
    "websocket",
];
pub(crate) const SERVERS: [&str; 20] = [
    FLOOR,
    OURS,
    NGINX,
    "may_minihttp",
    "actix-web",
    HYPER,
    AXUM,
    "tiny_http",
    OURS_ASYNC,
    STREAM_FLOOR,
    OURS_TWO,
    FLOOR_OF_TWO,
    workers::ONE,
    workers::TWO,
    OURS_LOG,
    OURS_TOWER,
    OURS_FAN_OUT,
    FAN_OUT_FLOOR,
    OURS_WEBSOCKET,
    TUNGSTENITE,
];
/// The servers of the scenarios that don't list their own. The others are compared with the first one.
const COMMON: [&str; 8] = [
    FLOOR,
    OURS,
    NGINX,
    "may_minihttp",
    "actix-web",
    HYPER,
    AXUM,
    "tiny_http",
];
const FLOOR: &str = "floor";
/// The least that a stream can cost.
const STREAM_FLOOR: &str = "floor_stream";
/// The floor with two threads: the least that two workers can cost.
const FLOOR_OF_TWO: &str = "floor_two";
const OURS: &str = "ours";
/// Ours with an asynchronous handler.
const OURS_ASYNC: &str = "ours_async";
/// Ours with two workers.
const OURS_TWO: &str = "ours_two";
/// Ours with an access log.
const OURS_LOG: &str = "ours_log";
/// Ours with the app of `axum`.
const OURS_TOWER: &str = "ours_tower";
const OURS_FAN_OUT: &str = "ours_fan_out";
/// The least that publishing to many streams can cost.
const FAN_OUT_FLOOR: &str = "floor_fan_out";
const OURS_WEBSOCKET: &str = "ours_websocket";
const TUNGSTENITE: &str = "tokio_tungstenite";
const HYPER: &str = "hyper";
const AXUM: &str = "axum";
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
        wanted.any(|scenario| scenarios::servers(scenario).contains(&server))
    };
    let programs = programs(options, takes_part)?;
    if options.build {
        return Ok(());
    }
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
            "async-tungstenite",
            "tokio-tungstenite",
            "tungstenite",
        ],
    )?;
    versions.push(("wrk".into(), wrk::version()?));
    for program in &programs {
        versions.extend(program.version()?);
    }
    // Only now, because the builds above may use all cores.
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

/// Prints what is being done, because it takes a while.
fn announce(scenario: &str, what: std::fmt::Arguments<'_>) {
    eprintln!("{SUITE} {scenario}: {what}");
}
