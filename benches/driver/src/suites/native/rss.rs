//! A scenario that measures the memory of an idle connection, after it has been used.

use interop::{Outcome, Runtime};

use super::program::Program;
use super::wrk::Kind;
use super::{COMMON, OURS, SUITE, announce};
use crate::load::Load;
use crate::options::Options;
use crate::report::{Goal, Report, Row, Series};

const SCENARIO: &str = "rss";
/// The goal, in bytes for a connection.
const MOST: f64 = 512.0;
/// The length of the body that each connection has sent before.
const BODY: usize = 64 << 10;
/// How many bodies are sent at once.
const AT_ONCE: usize = 8;

pub(super) fn run(options: &Options, programs: &[Program]) -> Outcome<Report> {
    let idle = match options.idle[..] {
        [] => options.by_extent(5_000, 5_000, 20),
        [given, ..] => given,
    };
    let about = format!(
        "bytes that are resident for each of the idle connections, after each has sent a body of {BODY} \
         bytes to `/`, {AT_ONCE} of them at once. The first {AT_ONCE} connections aren't counted, nor is the \
         kernel's memory."
    );
    let mut report = Report::new(SUITE, SCENARIO, about);
    let takes_part = |program: &&Program| {
        program.is_of(&COMMON) && program.why_left_out(Kind::Plain, idle).is_none()
    };
    for program in programs.iter().filter(takes_part) {
        announce(SCENARIO, format_args!("{} with {idle} idle", program.name));
        let mut row = Row {
            runtime: Runtime::Native,
            setting: format!("{idle} idle"),
            server: program.name.clone(),
            series: Vec::new(),
            failure: None,
        };
        match measure(program, idle) {
            Ok(figure) => {
                if program.name == OURS {
                    report.goals.push(Goal {
                        text: "bytes resident for an idle connection".into(),
                        figure,
                        limit: MOST,
                    });
                }
                row.series.push(Series {
                    name: "bytes a connection",
                    values: vec![figure],
                });
            }
            Err(why) => row.failure = Some(why),
        }
        report.rows.push(row);
    }
    Ok(report)
}

fn measure(program: &Program, idle: usize) -> Outcome<f64> {
    let mut process = program.start()?;
    let mut load = Load::new(process.address())?;
    let mut grow = || {
        load.open(AT_ONCE, AT_ONCE, BODY)?;
        let before = process.resident()?;
        load.open(idle, AT_ONCE, BODY)?;
        load.check()?;
        Ok((process.resident()? as f64 - before as f64) / idle as f64)
    };
    let grown: Outcome<f64> = grow();
    grown.map_err(|why| match process.check_alive() {
        Ok(()) => why,
        Err(words) => format!("{words} ({why})"),
    })
}
