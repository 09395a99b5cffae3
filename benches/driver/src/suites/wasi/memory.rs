//! A scenario that measures the memory of an idle connection.

use interop::Outcome;

use super::contestant::Contestant;
use super::{Case, HYPER, Run};
use crate::report::Report;

pub(super) const SCENARIO: &str = "memory";
/// The goal, in bytes of linear memory for a connection.
const MOST: f64 = 600.0;
const LINEAR: &str = "linear memory";
/// The length of the body that each connection has sent before.
const BODY: usize = 64 << 10;
/// On the mio of crates.io connections take long to open. This number is enough for a figure.
const ENOUGH: usize = 500;
/// How many bodies are sent at once.
const AT_ONCE: usize = 8;

pub(super) fn run(run: &Run<'_>) -> Outcome<Report> {
    let about = format!(
        "bytes for each of the idle connections, after each has sent a body of {BODY} bytes, \
         {AT_ONCE} of them at once. Linear memory is what the module reports. The first {AT_ONCE} \
         connections aren't counted."
    );
    let mut report = Report::new(run.suite.name, SCENARIO, about);
    let idle = run.idle(&[run.suite.idle.memory]);
    let most = idle.into_iter().max().unwrap_or_default();
    let mut cases = run.cases(&[most]);
    cases.retain(|case| case.module.reports_memory);
    for case in cases.iter_mut().filter(|case| case.module.name == HYPER) {
        case.idle = case.idle.min(ENOUGH);
    }
    report.rows = run.rows(SCENARIO, &cases, measure);
    run.goals(&mut report, "linear memory of a connection", LINEAR, MOST);
    Ok(report)
}

fn measure(case: &Case<'_>) -> Outcome<Vec<(&'static str, f64)>> {
    let mut contestant = Contestant::alone(case)?;
    let mut opened = |count| {
        let opened = contestant.load.open(count, AT_ONCE, BODY);
        contestant.explained(opened)?;
        sizes(&mut contestant)
    };
    let before = opened(AT_ONCE)?;
    let after = opened(case.idle)?;
    let each = |before: f64, after: f64| (after - before) / case.idle as f64;
    Ok(vec![
        (LINEAR, each(before.0, after.0)),
        ("the process's RSS", each(before.1, after.1)),
        ("linear memory, all", after.0),
    ])
}

/// The linear memory, and the resident memory of the whole process.
fn sizes(contestant: &mut Contestant) -> Outcome<(f64, f64)> {
    let linear = contestant.load.ask("/memory");
    let linear = contestant.explained(linear)?;
    let bytes: u64 = linear
        .parse()
        .map_err(|_| format!("/memory says {linear}"))?;
    Ok((bytes as f64, contestant.process.resident()? as f64))
}
