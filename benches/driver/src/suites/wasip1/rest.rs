//! What idle connections cost when nothing happens.

use std::thread::sleep;
use std::time::Duration;

use interop::{Outcome, Runtime};

use super::{Contestant, Module, OURS, SUITE, tell};
use crate::options::Options;
use crate::report::{Goal, Report, Row, Series};

const SCENARIO: &str = "rest";
/// What is to be reached: ticks in ten seconds.
const MOST_TICKS: f64 = 2.0;

pub(super) fn run(options: &Options, runtimes: &[Runtime], modules: &[Module]) -> Outcome<Report> {
    let seconds = options.seconds.unwrap_or(options.by_extent(10.0, 3.0, 0.2));
    let counts = match &options.idle[..] {
        [] => options.by_extent(vec![0, 100, 5_000], vec![0, 100, 5_000], vec![0, 10]),
        given => given.to_vec(),
    };
    let mut report = Report::new(
        SUITE,
        SCENARIO,
        format!(
            "processor time in {seconds} s at rest; each idle connection has had one answer. \
             A tick is 10 ms."
        ),
    );
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
                    Ok((ticks, milliseconds)) => {
                        if module.name == OURS {
                            report.goals.push(Goal {
                                text: format!("{runtime}, ticks in {seconds} s with {idle} idle"),
                                figure: ticks,
                                limit: MOST_TICKS,
                            });
                        }
                        let series = |name, value| Series {
                            name,
                            values: vec![value],
                        };
                        row.series = vec![series("ticks", ticks), series("CPU ms", milliseconds)];
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
) -> Outcome<(f64, f64)> {
    let mut contestant = Contestant::start(module, runtime, 0, idle)?;
    // What the last requests have set in motion is to come to rest.
    sleep(duration.min(Duration::from_secs(1)));
    let before = contestant.peer.cpu()?;
    sleep(duration);
    let used = contestant.peer.cpu()?.since(before);
    // They were idle, and not closed.
    let open = contestant.load.check();
    contestant.explained(open)?;
    Ok((used.ticks as f64, used.total.as_secs_f64() * 1e3))
}
