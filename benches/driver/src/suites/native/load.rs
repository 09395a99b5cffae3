//! Scenarios that measure the cost of a request, under several kinds of load.

use std::time::Duration;

use interop::{Outcome, Runtime};

use super::program::Program;
use super::scenarios::Scenario;
use super::turns::{Contestant, Plan, Turn};
use super::wrk::Kind;
use super::{OURS, SUITE, announce};
use crate::options::Options;
use crate::report::{Goal, Report, Row, Series, quartiles};

/// The goal with idle connections: the most that a request should cost, as a multiple of its cost without them.
const MOST_BESIDE_IDLE: f64 = 1.03;

/// The turns of one server in one setting.
struct Entry {
    /// Its index among the contestants.
    at: usize,
    turns: Vec<Turn>,
    /// The floor's turns in the same rounds.
    floors: Vec<Turn>,
    /// Its own turns without idle connections, in the same rounds.
    without: Vec<Turn>,
    /// The turns in the same rounds of other servers that a goal names.
    others: Vec<(&'static str, Vec<Turn>)>,
    failure: Option<String>,
}

pub(super) fn run(name: &str, options: &Options, programs: &[Program]) -> Outcome<Report> {
    let scenario = Scenario::named(name);
    let scenario = scenario.ok_or_else(|| format!("no scenario is called '{name}'"))?;
    let rounds = options.rounds.unwrap_or(options.by_extent(9, 3, 1));
    let seconds = options.seconds.unwrap_or(options.by_extent(
        // Long enough that the system's buffers hold little of what was sent.
        if scenario.kind == Kind::Stream {
            3.0
        } else {
            0.5
        },
        if scenario.kind == Kind::Stream {
            1.5
        } else {
            0.3
        },
        0.1,
    ));
    let idle = match options.idle[..] {
        _ if !scenario.is_beside_idle => 0,
        [] => options.by_extent(5_000, 5_000, 20),
        [given, ..] => given,
    };
    let (programs, absent) = measurable(scenario, idle, programs);
    let mut report = Report::new(
        SUITE,
        scenario.name,
        about(scenario, rounds, seconds, &absent),
    );
    let mut contestants = start(scenario.name, &programs, idle);
    for &connections in scenario.connections {
        let plan = Plan {
            kind: scenario.kind,
            connections,
            duration: Duration::from_secs_f64(seconds),
        };
        let mut entries: Vec<Entry> = (0..programs.len()).map(Entry::new).collect();
        for round in 0..rounds {
            let of = format_args!("{connections} busy, round {} of {rounds}", round + 1);
            announce(scenario.name, of);
            for at in 0..entries.len() {
                // The order changes from round to round.
                let at = (at + round) % programs.len();
                entries[at].play(scenario, &mut contestants, plan, round % 2 == 1);
            }
        }
        let setting = match idle {
            0 => format!("{connections} busy"),
            idle => format!("{connections} busy beside {idle} idle"),
        };
        for entry in entries {
            let server = programs[entry.at].name.clone();
            goals(&mut report, scenario, connections, &server, &entry);
            let series = entry.series(&contestants, scenario.kind)?;
            report.rows.push(Row {
                runtime: Runtime::Native,
                setting: setting.clone(),
                server,
                series,
                failure: entry.failure,
            });
        }
    }
    Ok(report)
}

/// The servers that can be measured, and why the others can't.
fn measurable<'a>(
    scenario: &Scenario,
    idle: usize,
    programs: &'a [Program],
) -> (Vec<&'a Program>, String) {
    let why = |program: &Program| program.why_left_out(scenario.kind, idle);
    let programs = programs
        .iter()
        .filter(|program| program.is_of(scenario.servers));
    let reasons = programs.clone().filter_map(|program| {
        let why = why(program)?;
        Some(format!(" Without {}: it {why}.", program.name))
    });
    let measurable = programs.clone().filter(|program| why(program).is_none());
    (measurable.collect(), reasons.collect())
}

fn about(scenario: &Scenario, rounds: usize, seconds: f64, absent: &str) -> String {
    format!(
        "{}; {rounds} rounds, in which each server and the floor have turns of {seconds} s one after the \
         other. CPU: processor time of the server's process. p99 in ms. Peak: the most memory that was \
         resident so far, in MiB.{absent}",
        scenario.about
    )
}

/// Starts all servers with the idle connections, and if there are some, once more without.
fn start(scenario: &str, programs: &[&Program], idle: usize) -> Vec<Outcome<Contestant>> {
    let mut contestants = Vec::new();
    let counts: &[usize] = if idle > 0 { &[idle, 0] } else { &[0] };
    for &idle in counts {
        for program in programs {
            announce(
                scenario,
                format_args!("starts {} with {idle} idle", program.name),
            );
            contestants.push(Contestant::start(program, idle));
        }
    }
    contestants
}

impl Entry {
    fn new(at: usize) -> Self {
        Self {
            at,
            turns: Vec::new(),
            floors: Vec::new(),
            without: Vec::new(),
            others: Vec::new(),
            failure: None,
        }
    }

    /// Runs its turn and those of the servers that it is compared with, in this order or reversed.
    fn play(
        &mut self,
        scenario: &Scenario,
        contestants: &mut [Outcome<Contestant>],
        plan: Plan,
        is_reverse: bool,
    ) {
        if self.failure.is_some() {
            return;
        }
        let is = |one: &Outcome<Contestant>, name| matches!(one, Ok(it) if it.name == name);
        let floor = contestants.iter().position(|one| is(one, scenario.floor));
        let name = match &contestants[self.at] {
            Ok(contestant) => contestant.name.clone(),
            Err(why) => {
                self.failure = Some(why.clone());
                return;
            }
        };
        // Those without idle connections come after those with them.
        let without = contestants.iter().rposition(|one| is(one, &name));
        let others = scenario.others(&name, plan.connections);
        let others: Vec<_> = others
            .filter_map(|of| Some((of, contestants.iter().position(|one| is(one, of))?)))
            .collect();
        let mut order = vec![self.at];
        order.extend(floor.filter(|&floor| floor != self.at));
        order.extend(without.filter(|&without| without != self.at));
        order.extend(others.iter().map(|(_, at)| at));
        if is_reverse {
            order.reverse();
        }
        let mut turns = Vec::new();
        for at in order {
            let turn = contestants[at].as_mut().map_err(|why| why.clone());
            match turn.and_then(|contestant| contestant.play(plan)) {
                Ok(turn) => turns.push((at, turn)),
                Err(why) => {
                    contestants[at] = Err(why.clone());
                    self.failure = Some(why);
                    return;
                }
            }
        }
        for (at, turn) in turns {
            if at == self.at {
                self.turns.push(turn);
            }
            if Some(at) == floor {
                self.floors.push(turn);
            }
            if Some(at) == without && at != self.at {
                self.without.push(turn);
            }
            if let Some((of, _)) = others.iter().find(|(_, other)| *other == at) {
                match self.others.iter_mut().find(|(name, _)| name == of) {
                    Some((_, turns)) => turns.push(turn),
                    None => self.others.push((of, vec![turn])),
                }
            }
        }
    }

    fn series(&self, contestants: &[Outcome<Contestant>], kind: Kind) -> Outcome<Vec<Series>> {
        let each = |name, figure: fn(&Turn) -> f64| Series {
            name,
            values: self.turns.iter().map(figure).collect(),
        };
        let mut series = vec![
            each("CPU µs a request", |turn| turn.cpu),
            Series {
                name: "times the floor's",
                values: ratios(&self.turns, &self.floors),
            },
        ];
        if !self.without.is_empty() {
            series.push(Series {
                name: "times without idle",
                values: ratios(&self.turns, &self.without),
            });
        }
        series.push(each("requests/s", |turn| turn.rate));
        if !matches!(kind, Kind::Pipelined | Kind::Stream) {
            series.push(each("p99", |turn| turn.p99));
        }
        if let Ok(contestant) = &contestants[self.at] {
            series.push(Series {
                name: "peak",
                values: vec![contestant.peak()?],
            });
        }
        Ok(series)
    }
}

fn goals(
    report: &mut Report,
    scenario: &Scenario,
    connections: usize,
    server: &str,
    entry: &Entry,
) {
    let mut goal = |text: String, turns: &[Turn], limit: f64| {
        if !turns.is_empty() {
            let figure = quartiles(&ratios(&entry.turns, turns))[1];
            report.goals.push(Goal {
                text,
                figure,
                limit,
            });
        }
    };
    for times in scenario.goals_of(server, connections) {
        let of = entry.others.iter().find(|(name, _)| *name == times.of);
        let turns = match of {
            Some((_, turns)) => turns,
            None if times.of == scenario.floor => &entry.floors,
            None => continue,
        };
        let of = if times.of == scenario.floor {
            "the floor"
        } else {
            times.of
        };
        goal(
            format!("CPU of {server} with {connections} busy, times {of}'s"),
            turns,
            times.most,
        );
    }
    if server == OURS {
        let text = "CPU beside idle connections, times that without";
        goal(text.into(), &entry.without, MOST_BESIDE_IDLE);
    }
}

/// Processor time for a request, divided by that of the turn next to it.
fn ratios(turns: &[Turn], others: &[Turn]) -> Vec<f64> {
    let pairs = turns.iter().zip(others);
    pairs.map(|(turn, other)| turn.cpu / other.cpu).collect()
}
