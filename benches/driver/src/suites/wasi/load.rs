//! Scenarios with busy connections and idle ones. They measure what a request of a busy connection costs, and how long
//! the next request of an idle connection waits.

use std::fmt;
use std::time::Duration;

use interop::{Outcome, Runtime};

use super::contestant::Contestant;
use super::{AXUM, Case, FLOOR, HYPER, OURS, OURS_ASYNC, OURS_TOWER, Run, SHIM, percentile};
use crate::load::Plan;
use crate::report::{Goal, Report, Row, Series, quartiles};
use crate::suites::native::wrk::{self, Kind};

pub(super) const MANY: &str = "load";
pub(super) const ONE: &str = "one";
pub(super) const ONE_CORE: &str = "one-core";
pub(super) const ASYNC: &str = "async-ready";
pub(super) const AXUM_APP: &str = "axum";
pub(super) const MIO: &str = "mio";
pub(super) const MIO_SLEEP: &str = "mio-sleep";
pub(super) const MIO_ONE_CORE: &str = "mio-one-core";

/// What is compared, and how.
pub(super) struct Setting {
    pub(super) scenario: &'static str,
    pub(super) busy: usize,
    pub(super) base: Base,
    pub(super) clients: ClientMode,
}

/// How the clients wait for responses, and on which core they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientMode {
    /// They poll again and again, on their own core.
    Spin,
    /// They sleep, on their own core.
    Sleep,
    /// They sleep, and share the server's core: clients that spin would take time from the server.
    ShareCore,
    /// They sleep, and the server has both cores.
    BothCores,
    /// They are those of wrk, which opens a connection for each request.
    Close,
}

/// What the others are compared with, and what the column of these figures is called.
pub(super) type Base = (&'static str, &'static str);
/// The column of rates.
pub(super) const RATE: &str = "requests/s";

const THE_FLOOR: Base = (FLOOR, "times the floor's");
const THE_SHIM: Base = (SHIM, "times the shim's");

/// 64 busy connections.
pub(super) fn run_many(run: &Run<'_>) -> Outcome<Report> {
    let cases = run.cases(&run.idle(run.suite.idle.load));
    compare(run, &setting(MANY, 64, THE_FLOOR), &cases)
}

/// One busy connection: the server gets one request at a time.
pub(super) fn run_one(run: &Run<'_>) -> Outcome<Report> {
    compare(run, &setting(ONE, 1, THE_FLOOR), &run.cases(&[0]))
}

/// A handler that is asynchronous and ready at once, beside ours that isn't asynchronous, and hyper.
pub(super) fn run_async(run: &Run<'_>) -> Outcome<Report> {
    let cases = run.cases_of(&[FLOOR, SHIM, OURS, OURS_ASYNC], &[0]);
    compare(run, &setting(ASYNC, 64, THE_FLOOR), &cases)
}

/// An axum app on this library, and on tokio and hyper.
pub(super) fn run_axum(run: &Run<'_>) -> Outcome<Report> {
    let cases = run.cases_of(&[FLOOR, OURS_TOWER, AXUM], &[0]);
    compare(run, &setting(AXUM_APP, 64, THE_FLOOR), &cases)
}

/// 64 busy connections, with server and clients on one core, as on a machine that has just one.
pub(super) fn run_one_core(run: &Run<'_>) -> Outcome<Report> {
    let cases = run.cases(&run.idle(run.suite.idle.load));
    compare(
        run,
        &setting(ONE_CORE, 64, THE_FLOOR).with(ClientMode::ShareCore),
        &cases,
    )
}

/// hyper on the mio of crates.io and on the shim, with clients that spin.
pub(super) fn run_mio(run: &Run<'_>) -> Outcome<Report> {
    compare(run, &setting(MIO, 32, THE_SHIM), &on_mio(run))
}

/// The same with clients that sleep: there is time in which the server could sleep, too.
pub(super) fn run_mio_sleep(run: &Run<'_>) -> Outcome<Report> {
    let setting = setting(MIO_SLEEP, 32, THE_SHIM).with(ClientMode::Sleep);
    compare(run, &setting, &on_mio(run))
}

/// The same with server and clients on one core.
pub(super) fn run_mio_one_core(run: &Run<'_>) -> Outcome<Report> {
    let setting = setting(MIO_ONE_CORE, 32, THE_SHIM).with(ClientMode::ShareCore);
    compare(run, &setting, &on_mio(run))
}

const fn setting(scenario: &'static str, busy: usize, base: Base) -> Setting {
    Setting {
        scenario,
        busy,
        base,
        clients: ClientMode::Spin,
    }
}

impl Setting {
    fn with(self, clients: ClientMode) -> Self {
        Self { clients, ..self }
    }
}

impl fmt::Display for ClientMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spin => "the clients spin",
            Self::Sleep => "the clients sleep",
            Self::ShareCore => "the clients sleep, and share the server's core",
            Self::BothCores => "the clients sleep, and the server has both cores",
            Self::Close => "wrk opens a connection for each request",
        })
    }
}

/// hyper on the mio of crates.io and on the shim, and the modules of the command line.
fn on_mio<'a>(run: &'a Run<'_>) -> Vec<Case<'a>> {
    run.cases_of(&[HYPER, SHIM], &run.idle(&[0, 500]))
}

/// A server in one setting, and its rounds so far.
struct Entry {
    /// Or why it has failed: then it takes part in no further round.
    contestant: Outcome<Contestant>,
    name: String,
    runtime: Runtime,
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

/// Lets all servers serve in turns, with the same idle connections in each round.
pub(super) fn compare(run: &Run<'_>, setting: &Setting, cases: &[Case<'_>]) -> Outcome<Report> {
    let options = run.options;
    let Setting {
        scenario,
        busy,
        base,
        clients,
    } = *setting;
    let clients = match clients {
        ClientMode::Spin if options.sleep => ClientMode::Sleep,
        clients => clients,
    };
    let rounds = options.rounds.unwrap_or(options.by_extent(9, 3, 1));
    let (seconds, duration) = run.seconds(2.0, 1.0, 0.1);
    let connections = match clients {
        ClientMode::Close => "connections at a time",
        _ => "busy keep-alive connections",
    };
    let about = format!(
        "{busy} {connections}, {rounds} interleaved rounds of {seconds} s; {clients}. \
         CPU: processor time of the server's process. Latencies in ms; an idle connection's next \
         request is sampled about every 10 ms."
    );
    let mut report = Report::new(run.suite.name, scenario, about);
    for of_one_runtime in cases.chunk_by(|case, next| case.runtime == next.runtime) {
        let mut entries = start(run, setting, of_one_runtime);
        for round in 0..rounds {
            run.announce(
                scenario,
                format_args!("{}, round {} of {rounds}", entries[0].runtime, round + 1),
            );
            // Another server comes first in each round.
            let first = round % entries.len();
            for at in 0..entries.len() {
                let at = (first + at) % entries.len();
                entries[at].play(busy, duration, clients);
            }
        }
        goals(run, &mut report, busy, &entries);
        report.rows.extend(rows(busy, base, &entries));
    }
    Ok(report)
}

/// Starts all, and lets them wait for their turn.
fn start(run: &Run<'_>, setting: &Setting, cases: &[Case<'_>]) -> Vec<Entry> {
    let mut entries = Vec::new();
    for case in cases {
        run.announce(setting.scenario, format_args!("starts {case}"));
        let contestant = match setting.clients {
            ClientMode::ShareCore => Contestant::start_on_one_core(case, setting.busy),
            ClientMode::BothCores => Contestant::start_on_both_cores(case, setting.busy),
            // wrk opens its own connections.
            ClientMode::Close => Contestant::start(case, 0),
            ClientMode::Spin | ClientMode::Sleep => Contestant::start(case, setting.busy),
        };
        if let Ok(contestant) = &contestant {
            contestant.process.pause();
        }
        entries.push(Entry {
            contestant,
            name: case.module.name.clone(),
            runtime: case.runtime,
            idle: case.idle,
            rounds: Vec::new(),
        });
    }
    entries
}

impl Entry {
    fn play(&mut self, busy: usize, duration: Duration, clients: ClientMode) {
        let Ok(contestant) = &mut self.contestant else {
            return;
        };
        contestant.process.resume();
        let round = match clients {
            ClientMode::Close => contestant.round_of_wrk(busy, duration),
            _ => contestant.round(busy, duration, clients == ClientMode::Spin),
        };
        match contestant.explained(round) {
            Ok(round) => {
                contestant.process.pause();
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
        // Not counted: while the server was stopped, its busy connections became idle, and other servers used the
        // processor's caches.
        self.load.run(plan(duration / 4, None))?;
        // Each sample begins 1.8 to 18 ms after the response to the one before, so about every 10 ms.
        let every = (self.idle > 0).then_some(Duration::from_millis(18));
        let before = self.process.cpu()?;
        let measured = self.load.run(plan(duration, every))?;
        let used = self.process.cpu()?.since(before);
        let requests = measured.requests as f64;
        Ok(Round {
            cpu: used.total.as_secs_f64() * 1e6 / requests,
            rate: requests / measured.elapsed.as_secs_f64(),
            busy: measured.busy,
            samples: measured.samples,
        })
    }
}

impl Contestant {
    /// The same, with wrk.
    fn round_of_wrk(&mut self, busy: usize, duration: Duration) -> Outcome<Round> {
        let address = self.process.address();
        wrk::run(address, Kind::Close, busy, duration / 4)?;
        let before = self.process.cpu()?;
        let measured = wrk::run(address, Kind::Close, busy, duration)?;
        let used = self.process.cpu()?.since(before);
        Ok(Round {
            cpu: used.total.as_secs_f64() * 1e6 / measured.requests,
            rate: measured.requests / measured.elapsed.as_secs_f64(),
            busy: Vec::new(),
            samples: Vec::new(),
        })
    }
}

fn rows(busy: usize, base: Base, entries: &[Entry]) -> Vec<Row> {
    let row = |entry: &Entry| Row {
        runtime: entry.runtime,
        setting: format!("{busy} busy beside {} idle", entry.idle),
        server: entry.name.clone(),
        series: series(entry, base, entries),
        failure: entry.contestant.as_ref().err().cloned(),
    };
    entries.iter().map(row).collect()
}

fn series(entry: &Entry, (base, column): Base, entries: &[Entry]) -> Vec<Series> {
    let each = |figure: fn(&Round) -> Option<f64>| entry.rounds.iter().filter_map(figure).collect();
    let mut series = vec![Series {
        name: "CPU µs a request",
        values: each(|round| Some(round.cpu)),
    }];
    if let Some(base) = find(entries, base, entry.idle) {
        series.push(Series {
            name: column,
            values: ratios(entry, base),
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
            name: RATE,
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

fn goals(run: &Run<'_>, report: &mut Report, busy: usize, entries: &[Entry]) {
    let goals = &run.suite.goals;
    let Some(runtime) = entries.first().map(|entry| entry.runtime) else {
        return;
    };
    if runtime != goals.runtime {
        return;
    }
    let scenario = report.scenario();
    let mut goal = |text: String, figure: f64, limit: f64| {
        let text = format!("{runtime}, {text}");
        report.goals.push(Goal {
            text,
            figure,
            limit,
        });
    };
    let median = |one: &Entry, other: &Entry| quartiles(&ratios(one, other))[1];
    for times in goals
        .times
        .iter()
        .filter(|times| times.scenario == scenario)
    {
        let (idle, server, of) = (times.idle, times.server, times.of);
        let pair = (find(entries, server, idle), find(entries, of, idle));
        if let (Some(one), Some(other)) = pair {
            goal(
                format!("CPU of {server} with {busy} busy beside {idle} idle, times {of}'s"),
                median(one, other),
                times.most,
            );
        }
    }
    let least = entries.iter().map(|entry| entry.idle).min().unwrap_or(0);
    for ours in entries.iter().filter(|entry| entry.name == OURS) {
        let idle = ours.idle;
        if let Some(without) = find(entries, OURS, least).filter(|_| idle > least) {
            goal(
                format!("CPU beside {idle} idle, times that beside {least}"),
                median(ours, without),
                goals.beside_idle,
            );
        }
        let busy = percentile(&pooled(ours, |round| &round.busy), 0.99);
        let samples = percentile(&pooled(ours, |round| &round.samples), 0.99);
        if let (Some(busy), Some(samples)) = (busy, samples) {
            // The more idle connections there are, the longer it takes to poll all of them.
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
