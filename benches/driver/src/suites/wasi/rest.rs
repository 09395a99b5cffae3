//! A scenario that measures the processor time for idle connections when nothing happens.

use std::thread::sleep;
use std::time::Duration;

use interop::Outcome;

use super::contestant::Contestant;
use super::{Case, Run};
use crate::report::Report;

pub(super) const SCENARIO: &str = "rest";
/// The goal, in ticks in ten seconds.
const MOST_TICKS: f64 = 2.0;
const TICKS: &str = "ticks";

pub(super) fn run(run: &Run<'_>) -> Outcome<Report> {
    let (seconds, duration) = run.seconds(10.0, 3.0, 0.2);
    let about = format!(
        "processor time in {seconds} s without requests; each idle connection has had one response. \
         A tick is 10 ms."
    );
    let mut report = Report::new(run.suite.name, SCENARIO, about);
    let cases = run.cases(&run.idle(run.suite.idle.rest));
    report.rows = run.rows(SCENARIO, &cases, |case| measure(case, duration));
    let goal = format!("ticks in {seconds} s");
    run.goals(&mut report, &goal, TICKS, MOST_TICKS);
    Ok(report)
}

fn measure(case: &Case<'_>, duration: Duration) -> Outcome<Vec<(&'static str, f64)>> {
    let mut contestant = Contestant::start(case, 0)?;
    // Until the work of the last requests is done.
    sleep(duration.min(Duration::from_secs(1)));
    let before = contestant.process.cpu()?;
    sleep(duration);
    let used = contestant.process.cpu()?.since(before);
    // The connections must still be open.
    let open = contestant.load.check();
    contestant.explained(open)?;
    let milliseconds = used.total.as_secs_f64() * 1e3;
    Ok(vec![(TICKS, used.ticks as f64), ("CPU ms", milliseconds)])
}
