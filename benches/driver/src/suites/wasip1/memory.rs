//! What an idle connection costs in memory.

use interop::{Outcome, Runtime};

use super::{Contestant, HYPER, Module, OURS, SUITE, tell};
use crate::options::Options;
use crate::report::{Goal, Report, Row, Series};

const SCENARIO: &str = "memory";
/// What is to be reached: bytes of linear memory for a connection.
const MOST: f64 = 600.0;
/// Each connection has sent such a body.
const BODY: usize = 64 << 10;
/// Of the others, so many connections are enough for a figure; they take long to open.
const OTHERS: usize = 500;
/// So many bodies are under way at once.
const AT_ONCE: usize = 8;

pub(super) fn run(options: &Options, runtimes: &[Runtime], modules: &[Module]) -> Outcome<Report> {
    let idle = match options.idle[..] {
        [] => options.by_extent(5_000, 5_000, 20),
        [given, ..] => given,
    };
    let about = format!(
        "bytes for each of the idle connections, after each has sent a body of {BODY} bytes, \
         {AT_ONCE} of them at once. Linear memory's growth, as the module tells it; a first lot of \
         {AT_ONCE} isn't counted."
    );
    let mut report = Report::new(SUITE, SCENARIO, about);
    for &runtime in runtimes {
        for module in modules.iter().filter(|module| module.tells_memory()) {
            let idle = match module.name == HYPER {
                true => idle.min(OTHERS),
                false => idle,
            };
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
            match measure(module, runtime, idle) {
                Ok(series) => {
                    if module.name == OURS {
                        report.goals.push(Goal {
                            text: format!("{runtime}, linear memory of a connection"),
                            figure: series[0].values[0],
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
    Ok(report)
}

fn measure(module: &Module, runtime: Runtime, idle: usize) -> Outcome<Vec<Series>> {
    let mut contestant = Contestant::start(module, runtime, 0, 0)?;
    let opened = contestant.load.open(AT_ONCE, AT_ONCE, BODY);
    contestant.explained(opened)?;
    let before = sizes(&mut contestant)?;
    let opened = contestant.load.open(idle, AT_ONCE, BODY);
    contestant.explained(opened)?;
    let after = sizes(&mut contestant)?;
    let each = |name, before: f64, after: f64| Series {
        name,
        values: vec![(after - before) / idle as f64],
    };
    Ok(vec![
        each("linear memory", before.0, after.0),
        each("the process's RSS", before.1, after.1),
        Series {
            name: "linear memory, all",
            values: vec![after.0],
        },
    ])
}

/// Linear memory, and what is resident of the whole process.
fn sizes(contestant: &mut Contestant) -> Outcome<(f64, f64)> {
    let linear = contestant.load.ask("/memory");
    let linear = contestant.explained(linear)?;
    let bytes: u64 = linear
        .parse()
        .map_err(|_| format!("/memory says {linear}"))?;
    Ok((bytes as f64, contestant.peer.resident()? as f64))
}
