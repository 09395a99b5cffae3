//! What an idle connection's next request waits when nothing is busy.

use std::time::Duration;

use interop::{Outcome, Runtime};

use super::{Contestant, Module, OURS, SUITE, percentile, tell};
use crate::load::Plan;
use crate::options::Options;
use crate::report::{Goal, Report, Row, Series};

const SCENARIO: &str = "quiet";
/// What is to be reached, in ms.
const MOST: f64 = 2.0;
/// So far apart are the requests at most: the last one's connection is idle again by then.
const EVERY: Duration = Duration::from_millis(80);

pub(super) fn run(options: &Options, runtimes: &[Runtime], modules: &[Module]) -> Outcome<Report> {
    let seconds = options.seconds.unwrap_or(options.by_extent(10.0, 3.0, 0.3));
    let counts = match &options.idle[..] {
        [] => options.by_extent(vec![100, 1_000, 5_000], vec![1_000, 5_000], vec![10]),
        given => given.to_vec(),
    };
    let about = format!(
        "nothing is busy; for {seconds} s one idle connection at a time sends a request, every 8 to \
         {} ms. Latencies in ms.",
        EVERY.as_millis()
    );
    let mut report = Report::new(SUITE, SCENARIO, about);
    for &runtime in runtimes {
        for &idle in &counts {
            for module in modules {
                tell(
                    SCENARIO,
                    format_args!("{runtime}, {} with {idle} idle", module.name),
                );
                let mut row = Row {
                    runtime,
                    setting: format!("{idle} idle"),
                    server: module.name.clone(),
                    series: Vec::new(),
                    failure: None,
                };
                match measure(module, runtime, idle, Duration::from_secs_f64(seconds)) {
                    Ok(series) => {
                        if module.name == OURS && runtime == Runtime::Wasmtime36 {
                            report.goals.push(Goal {
                                text: format!("{runtime}, p99 in ms with {idle} idle"),
                                figure: series[1].values[0],
                                limit: MOST,
                            });
                        }
                        row.series = series;
                    }
                    Err(why) => row.failure = Some(why),
                }
                report.rows.push(row);
            }
        }
    }
    Ok(report)
}

fn measure(
    module: &Module,
    runtime: Runtime,
    idle: usize,
    duration: Duration,
) -> Outcome<Vec<Series>> {
    let mut contestant = Contestant::start(module, runtime, 0, idle)?;
    let before = contestant.peer.cpu()?;
    let measured = contestant.load.run(Plan {
        busy: 0,
        duration,
        sample_every: Some(EVERY),
        spin: false,
    });
    let measured = contestant.explained(measured)?;
    let used = contestant.peer.cpu()?.since(before);
    let part = |part| percentile(&measured.samples, part).unwrap_or(f64::NAN);
    let one = |name, value| Series {
        name,
        values: vec![value],
    };
    Ok(vec![
        one("p50", part(0.5)),
        one("p99", part(0.99)),
        one("requests", measured.requests as f64),
        one(
            "CPU % of a core",
            used.total.as_secs_f64() * 100.0 / measured.elapsed.as_secs_f64(),
        ),
    ])
}
