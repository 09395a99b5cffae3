//! What a request costs under load, beside idle connections, and what an idle connection's next
//! request waits meanwhile.

use std::time::Duration;

use interop::{Outcome, Runtime};

use super::{Contestant, FLOOR, HYPER, Module, OURS, SUITE, percentile, tell};
use crate::load::Plan;
use crate::options::Options;
use crate::report::{Goal, Report, Row, Series, quartiles};

/// 64 busy connections.
pub(super) fn run(options: &Options, runtimes: &[Runtime], modules: &[Module]) -> Outcome<Report> {
    let counts = match &options.idle[..] {
        [] => options.by_extent(vec![0, 1_000, 5_000], vec![0, 1_000, 5_000], vec![0, 20]),
        given => given.to_vec(),
    };
    compare("load", 64, &counts, options, runtimes, modules)
}

/// One busy connection: what a request costs that comes alone.
pub(super) fn run_one(
    options: &Options,
    runtimes: &[Runtime],
    modules: &[Module],
) -> Outcome<Report> {
    compare("one", 1, &[0], options, runtimes, modules)
}

/// A contestant, or why it dropped out, with the rounds before.
struct Entry {
    contestant: Outcome<Contestant>,
    name: String,
    idle: usize,
    rounds: Vec<Round>,
}

struct Round {
    /// Microseconds of processor time a request.
    cpu: f64,
    rate: f64,
    busy: Vec<Duration>,
    samples: Vec<Duration>,
}

fn compare(
    scenario: &'static str,
    busy: usize,
    counts: &[usize],
    options: &Options,
    runtimes: &[Runtime],
    modules: &[Module],
) -> Outcome<Report> {
    let rounds = options.rounds.unwrap_or(options.by_extent(9, 3, 1));
    let seconds = options.seconds.unwrap_or(options.by_extent(2.0, 1.0, 0.1));
    let clients = if options.sleep { "sleep" } else { "spin" };
    let about = format!(
        "{busy} busy keep-alive connections, {rounds} interleaved rounds of {seconds} s; the clients {clients}. \
         CPU: processor time of the server's process. Latencies in ms; an idle connection's next \
         request is sampled about every 10 ms."
    );
    let mut report = Report::new(SUITE, scenario, about);
    let duration = Duration::from_secs_f64(seconds);
    for &runtime in runtimes {
        let mut entries = start(scenario, busy, counts, runtime, modules);
        for round in 0..rounds {
            tell(
                scenario,
                format_args!("{runtime}, round {} of {rounds}", round + 1),
            );
            // Who comes first changes.
            let first = round % entries.len();
            for at in 0..entries.len() {
                let at = (first + at) % entries.len();
                entries[at].play(busy, duration, !options.sleep);
            }
        }
        goals(&mut report, runtime, &entries);
        report.rows.extend(rows(runtime, busy, &entries));
    }
    Ok(report)
}

/// Starts all, and lets them wait for their turn.
fn start(
    scenario: &str,
    busy: usize,
    counts: &[usize],
    runtime: Runtime,
    modules: &[Module],
) -> Vec<Entry> {
    let mut entries = Vec::new();
    for &idle in counts {
        for module in modules {
            tell(
                scenario,
                format_args!("{runtime}, starts {} with {idle} idle", module.name),
            );
            let contestant = Contestant::start(module, runtime, busy, idle);
            if let Ok(contestant) = &contestant {
                contestant.peer.pause();
            }
            entries.push(Entry {
                contestant,
                name: module.name.clone(),
                idle,
                rounds: Vec::new(),
            });
        }
    }
    entries
}

impl Entry {
    fn play(&mut self, busy: usize, duration: Duration, spin: bool) {
        let Ok(contestant) = &mut self.contestant else {
            return;
        };
        contestant.peer.resume();
        let round = contestant.round(busy, duration, spin);
        match contestant.explained(round) {
            Ok(round) => {
                contestant.peer.pause();
                self.rounds.push(round);
            }
            Err(why) => self.contestant = Err(why),
        }
    }
}

impl Contestant {
    fn round(&mut self, busy: usize, duration: Duration, spin: bool) -> Outcome<Round> {
        let plan = |duration, every| Plan {
            busy,
            duration,
            sample_every: every,
            spin,
        };
        self.load.run(plan(duration / 4, None))?;
        let every = (self.idle > 0).then_some(Duration::from_millis(18));
        let before = self.peer.cpu()?;
        let measured = self.load.run(plan(duration, every))?;
        let used = self.peer.cpu()?.since(before);
        let requests = measured.requests as f64;
        Ok(Round {
            cpu: used.total.as_secs_f64() * 1e6 / requests,
            rate: requests / measured.elapsed.as_secs_f64(),
            busy: measured.busy,
            samples: measured.samples,
        })
    }
}

fn rows(runtime: Runtime, busy: usize, entries: &[Entry]) -> Vec<Row> {
    let row = |entry: &Entry| Row {
        runtime,
        setting: format!("{busy} busy beside {} idle", entry.idle),
        server: entry.name.clone(),
        series: series(entry, entries),
        failure: entry.contestant.as_ref().err().cloned(),
    };
    entries.iter().map(row).collect()
}

fn series(entry: &Entry, entries: &[Entry]) -> Vec<Series> {
    let each = |figure: fn(&Round) -> Option<f64>| entry.rounds.iter().filter_map(figure).collect();
    let mut series = vec![Series {
        name: "CPU µs a request",
        values: each(|round| Some(round.cpu)),
    }];
    if let Some(floor) = find(entries, FLOOR, entry.idle) {
        series.push(Series {
            name: "times the floor's",
            values: ratios(entry, floor),
        });
    }
    let least = entries.iter().map(|entry| entry.idle).min().unwrap_or(0);
    if let Some(without) = find(entries, &entry.name, least).filter(|_| entry.idle > least) {
        series.push(Series {
            name: "times with least idle",
            values: ratios(entry, without),
        });
    }
    series.extend([
        Series {
            name: "requests/s",
            values: each(|round| Some(round.rate)),
        },
        Series {
            name: "busy p50",
            values: each(|round| percentile(&round.busy, 0.5)),
        },
        Series {
            name: "busy p99",
            values: each(|round| percentile(&round.busy, 0.99)),
        },
    ]);
    if entry.idle > 0 {
        let samples = pooled(entry, |round| &round.samples);
        let one = |part| percentile(&samples, part).into_iter().collect();
        series.extend([
            Series {
                name: "idle p50",
                values: one(0.5),
            },
            Series {
                name: "idle p99",
                values: one(0.99),
            },
        ]);
    }
    series
}

fn goals(report: &mut Report, runtime: Runtime, entries: &[Entry]) {
    // They are set for wasmtime, and for many connections.
    if runtime != Runtime::Wasmtime36 {
        return;
    }
    let one = report.scenario() == "one";
    let mut goal = |text: String, figure: f64, limit: f64| {
        let text = format!("{runtime}, {text}");
        report.goals.push(Goal {
            text,
            figure,
            limit,
        });
    };
    let least = entries.iter().map(|entry| entry.idle).min().unwrap_or(0);
    for ours in entries.iter().filter(|entry| entry.name == OURS) {
        let idle = ours.idle;
        let median = |other: &Entry| quartiles(&ratios(ours, other))[1];
        if let Some(floor) = find(entries, FLOOR, idle).filter(|_| idle == 0) {
            let (busy, limit) = if one {
                ("1 busy", 1.15)
            } else {
                ("64 busy", 1.25)
            };
            goal(
                format!("CPU with {busy}, times the floor's"),
                median(floor),
                limit,
            );
        }
        if let Some(hyper) = find(entries, HYPER, idle).filter(|_| idle == 0 && !one) {
            goal("CPU, times hyper's".into(), median(hyper), 0.5);
        }
        if let Some(without) = find(entries, OURS, least).filter(|_| idle > least) {
            goal(
                format!("CPU beside {idle} idle, times that beside {least}"),
                median(without),
                1.25,
            );
        }
        let busy = percentile(&pooled(ours, |round| &round.busy), 0.99);
        let samples = percentile(&pooled(ours, |round| &round.samples), 0.99);
        if let (Some(busy), Some(samples)) = (busy, samples) {
            let limit = if idle > 1_000 { 60.0 } else { 20.0 };
            let text = format!("ms more that an idle connection waits at p99, of {idle}");
            goal(text, samples - busy, limit);
        }
    }
}

fn find<'a>(entries: &'a [Entry], name: &str, idle: usize) -> Option<&'a Entry> {
    entries
        .iter()
        .find(|entry| entry.name == name && entry.idle == idle)
}

/// Processor time a request, divided by the other's in the same round.
fn ratios(entry: &Entry, other: &Entry) -> Vec<f64> {
    entry
        .rounds
        .iter()
        .zip(&other.rounds)
        .map(|(round, other)| round.cpu / other.cpu)
        .collect()
}

fn pooled(entry: &Entry, which: fn(&Round) -> &Vec<Duration>) -> Vec<Duration> {
    let mut all: Vec<Duration> = entry.rounds.iter().flat_map(which).copied().collect();
    all.sort_unstable();
    all
}
