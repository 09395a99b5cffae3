//! A scenario that measures what a second core is worth: a handler that computes, with one worker and with two.

use std::time::Duration;

use interop::{Outcome, Runtime};

use super::program::Program;
use super::turns::{Contestant, Plan, Turn};
use super::wrk::Kind;
use super::{SUITE, announce};
use crate::options::Options;
use crate::report::{Goal, Report, Row, Series, quartiles};

pub(super) const SCENARIO: &str = "workers-two-cores";
pub(super) const ONE: &str = "busy_one";
pub(super) const TWO: &str = "busy_two";
pub(super) const SERVERS: [&str; 2] = [ONE, TWO];

/// The least factor by which two workers must serve more requests than one. It is below 2 because the clients need
/// processor time, too.
const LEAST: f64 = 1.9;

/// Enough that both workers always have some, however the system spreads them.
const CONNECTIONS: usize = 64;

pub(super) fn run(options: &Options, programs: &[Program]) -> Outcome<Report> {
    let rounds = options.rounds.unwrap_or(options.by_extent(9, 3, 1));
    let seconds = options.seconds.unwrap_or(options.by_extent(2.0, 1.0, 0.2));
    let about = format!(
        "a handler that computes for one to two milliseconds, with one worker and with two, on both cores, which \
         they share with the clients; {rounds} rounds of {seconds} s each."
    );
    let mut report = Report::new(SUITE, SCENARIO, about);
    let programs = programs.iter();
    let programs: Vec<_> = programs
        .filter(|program| SERVERS.contains(&program.name.as_str()))
        .collect();
    let started = programs.iter().map(|program| Contestant::start(program, 0));
    let mut contestants: Vec<Contestant> = started.collect::<Outcome<_>>()?;
    let plan = Plan {
        kind: Kind::Plain,
        connections: CONNECTIONS,
        duration: Duration::from_secs_f64(seconds),
    };
    let mut turns: Vec<Vec<Turn>> = contestants.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        announce(SCENARIO, format_args!("round {} of {rounds}", round + 1));
        for (contestant, turns) in contestants.iter_mut().zip(&mut turns) {
            turns.push(contestant.play(plan)?);
        }
    }
    for (contestant, turns) in contestants.iter().zip(&turns) {
        report.rows.push(row(&contestant.name, turns));
    }
    if let [one, two] = &turns[..] {
        let pairs = one.iter().zip(two);
        let ratios: Vec<f64> = pairs.map(|(one, two)| one.rate / two.rate).collect();
        report.goals.push(Goal {
            text: "requests/s of one worker, times those of two".into(),
            figure: quartiles(&ratios)[1],
            limit: 1.0 / LEAST,
        });
    }
    Ok(report)
}

fn row(server: &str, turns: &[Turn]) -> Row {
    let each = |name, figure: fn(&Turn) -> f64| Series {
        name,
        values: turns.iter().map(figure).collect(),
    };
    Row {
        runtime: Runtime::Native,
        setting: format!("{CONNECTIONS} busy"),
        server: server.into(),
        series: vec![
            each("requests/s", |turn| turn.rate),
            each("CPU µs a request", |turn| turn.cpu),
            each("p99", |turn| turn.p99),
        ],
        failure: None,
    }
}
