//! A scenario that measures how long the next request of an idle connection takes when nothing is busy.

use std::time::Duration;

use interop::Outcome;

use super::contestant::Contestant;
use super::{Case, Run, percentile};
use crate::load::Plan;
use crate::report::Report;

pub(super) const SCENARIO: &str = "quiet";
/// The goal, in ms.
const MOST: f64 = 2.0;
const P99: &str = "p99";
/// The longest pause between two requests. After it, the connection of the last one is idle again.
const EVERY: Duration = Duration::from_millis(80);

pub(super) fn run(run: &Run<'_>) -> Outcome<Report> {
    let (seconds, duration) = run.seconds(10.0, 3.0, 0.3);
    let about = format!(
        "nothing is busy; for {seconds} s one idle connection at a time sends a request, every 8 to \
         {} ms. Latencies in ms.",
        EVERY.as_millis()
    );
    let mut report = Report::new(run.suite.name, SCENARIO, about);
    let mut idle = run.idle(run.suite.idle.quiet);
    // At least one connection is needed to send requests.
    idle.retain(|&idle| idle > 0);
    let cases = run.cases(&idle);
    report.rows = run.rows(SCENARIO, &cases, |case| measure(case, duration));
    run.goals(&mut report, "p99 in ms", P99, MOST);
    // The goal is for one runtime: interpreters are too slow for it.
    let runtime = run.suite.goals.runtime.name();
    report.goals.retain(|goal| goal.text.starts_with(runtime));
    Ok(report)
}

fn measure(case: &Case<'_>, duration: Duration) -> Outcome<Vec<(&'static str, f64)>> {
    let mut contestant = Contestant::start(case, 0)?;
    let before = contestant.process.cpu()?;
    let measured = contestant.load.run(Plan {
        busy: 0,
        duration,
        sample_every: Some(EVERY),
        spin: false,
    });
    let measured = contestant.explained(measured)?;
    let used = contestant.process.cpu()?.since(before);
    let part = |part| percentile(&measured.samples, part).unwrap_or(f64::NAN);
    let share = used.total.as_secs_f64() / measured.elapsed.as_secs_f64();
    Ok(vec![
        ("p50", part(0.5)),
        (P99, part(0.99)),
        ("requests", measured.requests as f64),
        ("CPU % of a core", share * 100.0),
    ])
}
