//! [`Scenario`]: one kind of attack, and what is checked during it and afterwards.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::health::{Stats, open_files};
use super::newcomer::Newcomers;
use crate::client::Client;
use crate::server::peak_memory;
use crate::{Outcome, Program, Runtime, Server, ensure};

/// One kind of attack.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    /// The settings of the server, as environment variables. Times are in milliseconds.
    pub(super) settings: &'static [(&'static str, &'static str)],
    /// Runs the clients. Returns the reasons for which their connections must be closed.
    pub(super) attack: fn(&Target) -> Outcome<Reasons>,
    /// A newcomer must have received the response within this time after it is connected. Time in which other processes
    /// have the processor is not counted.
    pub(super) within: Duration,
    /// The most memory that the process may use, in MiB: natively, and in a runtime including the runtime's own.
    pub(super) memory: (u64, u64),
    pub(super) special: Special,
}

/// What is special about a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Special {
    Nothing,
    /// The memory budget is used up for a while, so a newcomer with a body may get 503.
    Full,
    /// There are no newcomers, for example because processor time is measured.
    NoNewcomers,
    /// The server may have only this many file descriptors, which are enough.
    Descriptors(u32),
    /// The server may have only this many file descriptors. They are too few, which it logs once a second.
    TooFewDescriptors(u32),
}

/// How many connections must be closed for which reason. If it depends on timing which of two reasons it is, both names
/// are given, separated by `|`.
pub(super) type Reasons = Vec<(&'static str, usize)>;

/// The server that is attacked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) address: SocketAddr,
    pub(super) server: &'a Server,
}

/// A newcomer must be connected within this time. This depends on the system: if more clients connect at once than fit
/// into the listener's backlog, it drops their packets, which the client sends again after 1 s and 3 s.
const CONNECTED_WITHIN: Duration = Duration::from_millis(3_500);
/// When a runtime must have closed the sockets that the module has closed. Some do that in another thread, or at a
/// garbage collection: wazero-like has one every 250 ms. Natively they are closed at once.
const COLLECTED_WITHIN: Duration = Duration::from_secs(3);
/// How long the server may take to end after `/stop`.
const STOPPED_WITHIN: Duration = Duration::from_secs(3);

impl Scenario {
    /// The most memory, in MiB.
    pub(super) fn memory(&self, runtime: Runtime) -> u64 {
        match runtime.wasi() {
            None => self.memory.0,
            Some(_) => self.memory.1,
        }
    }

    /// Runs it. Returns the figures for the table.
    pub(super) fn run(&self, program: &Program) -> Outcome<String> {
        let mut server = self.start(program)?;
        let outcome = self.attack(&server);
        // First, because it explains other failures.
        server.check_alive()?;
        let figures = outcome.map_err(|why| format!("{why}\n{}", server.log_end(5)))?;
        self.check_log(&server, figures.lasted)?;
        stop(&mut server)?;
        Ok(figures.to_string())
    }

    fn start(&self, program: &Program) -> Outcome<Server> {
        let env: Vec<_> = [("RUST_LOG", "warn")]
            .iter()
            .chain(self.settings)
            .copied()
            .collect();
        Server::with_command(program.runtime, |address| {
            let command = program.command(&address.to_string(), &env)?;
            Ok(match self.special {
                Special::Descriptors(most) | Special::TooFewDescriptors(most) => {
                    with_descriptors(most, &command)
                }
                Special::Nothing | Special::Full | Special::NoNewcomers => command,
            })
        })
    }

    fn attack(&self, server: &Server) -> Outcome<Figures> {
        let address = server.address;
        // Wait for the first response, because a runtime listens before its module runs.
        Stats::ask(address)?;
        let files = open_files(server.pid())?;
        let started = Instant::now();
        let stop = AtomicBool::new(self.special == Special::NoNewcomers);
        let may_be_full = self.special == Special::Full;
        let (newcomers, reasons) = thread::scope(|scope| {
            let newcomers = scope.spawn(|| Newcomers::come(server, &stop, may_be_full));
            let reasons = (self.attack)(&Target { address, server });
            stop.store(true, Ordering::Relaxed);
            (newcomers.join(), reasons)
        });
        let newcomers = newcomers.map_err(|_| "a newcomer panicked".to_owned())??;
        let reasons = reasons?;
        let lasted = started.elapsed();
        let (stats, asked) = Stats::ask_until_alone(server)?;
        let figures = Figures {
            peak: peak_memory(server.pid())?,
            newcomers,
            stats,
            lasted,
        };
        eprintln!("    {}", figures.long());
        let (worst, most) = (figures.newcomers.worst_own, self.memory(server.runtime));
        check_reasons(&figures, reasons, asked)?;
        check_files(server, files)?;
        let connecting = figures.newcomers.worst_connect;
        ensure!(
            connecting <= CONNECTED_WITHIN,
            "a newcomer took {connecting:.1?} to connect, longer than {CONNECTED_WITHIN:.1?}"
        );
        ensure!(
            worst <= self.within,
            "a newcomer waited {worst:.1?}, longer than {:.1?}",
            self.within
        );
        ensure!(
            figures.peak <= most,
            "it took {} MiB of memory, more than {most}",
            figures.peak
        );
        Ok(figures)
    }

    fn check_log(&self, server: &Server, lasted: Duration) -> Outcome {
        match self.special {
            Special::TooFewDescriptors(_) => self.check_complaints(server, lasted),
            // A runtime may not be able to poll more sockets than there may be descriptors, which the server logs.
            Special::Descriptors(_) => server.check_log_but(&["they are polled in parts"]),
            Special::Nothing | Special::Full | Special::NoNewcomers => server.check_log(),
        }
    }

    /// Checks that the lack of descriptors is logged once a second.
    fn check_complaints(&self, server: &Server, lasted: Duration) -> Outcome {
        let log = server.log();
        let logged = log.matches("can't accept connections").count();
        // The first line comes at once.
        let most = lasted.as_secs() + 2;
        // cargo's runner writes what it runs.
        let is_line = |line: &&str| !line.is_empty() && !line.starts_with("run-wasip");
        let complaints = log.lines().filter(is_line).count();
        ensure!(
            logged >= 1 && logged as u64 <= most && complaints == logged,
            "that it can't accept was logged {logged} times in {lasted:.0?}:\n{log}"
        );
        Ok(())
    }
}

/// The figures of a run.
struct Figures {
    newcomers: Newcomers,
    stats: Stats,
    /// The most memory of the process, in MiB.
    peak: u64,
    lasted: Duration,
}

impl Figures {
    /// All figures, for the log of the check.
    fn long(&self) -> String {
        let closed = self.stats.reasons().filter(|(_, count)| *count > 0);
        let closed: Vec<_> = closed
            .map(|(reason, count)| format!("{reason} {count}"))
            .collect();
        let mib = |name| self.stats.get(name) >> 20;
        format!(
            "{self}; with a busy machine {:.0?}, {} ticks, to connect {:.1?}; {} newcomers, {} of their bodies refused; \
             held at most {} MiB, linear memory {} MiB; {} accepted, closed for: {}",
            self.newcomers.worst,
            self.newcomers.worst_ticks,
            self.newcomers.worst_connect,
            self.newcomers.count,
            self.newcomers.overloaded,
            mib("held_peak"),
            mib("linear_memory"),
            self.stats.get("accepted"),
            closed.join(", ")
        )
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let worst = self.newcomers.worst_own.as_millis();
        write!(f, "{worst} ms, {} MiB", self.peak)
    }
}

/// Checks that every accepted connection was closed, and for the expected reason.
fn check_reasons(figures: &Figures, attackers: Reasons, asked: u64) -> Outcome {
    let stats = &figures.stats;
    let closed: u64 = stats.reasons().map(|(_, count)| count).sum();
    let accepted = stats.get("accepted");
    // The connection of this request is still open.
    ensure!(
        closed + 1 == accepted,
        "{accepted} accepted and {closed} closed"
    );

    let Newcomers {
        count, overloaded, ..
    } = figures.newcomers;
    let asked = usize::try_from(asked).unwrap_or(0);
    let ours = [
        // The connection that has waited for the server's start.
        ("ClientClosed", 1),
        // There was one request before the attack. The connection of the last one is still open.
        ("ClientAskedClose", count - overloaded + asked),
        ("Overloaded", overloaded),
    ];
    let mut wanted: Vec<(BTreeSet<&str>, usize)> = Vec::new();
    for (reasons, count) in attackers.into_iter().chain(ours) {
        let mut names: BTreeSet<_> = reasons.split('|').collect();
        let mut sum = count;
        // Reasons that can't be distinguished here are counted together everywhere.
        wanted.retain(|(others, count)| {
            let is_apart = others.is_disjoint(&names);
            if !is_apart {
                names.extend(others);
                sum += count;
            }
            is_apart
        });
        wanted.push((names, sum));
    }
    for (reason, _) in stats.reasons() {
        if !wanted.iter().any(|(names, _)| names.contains(reason)) {
            wanted.push((BTreeSet::from([reason]), 0));
        }
    }
    for (names, count) in &wanted {
        let found: u64 = names.iter().map(|name| stats.closed(name)).sum();
        ensure!(
            found == *count as u64,
            "{found} connections were closed for {names:?}, and not {count}"
        );
    }
    Ok(())
}

/// Checks that as many files are open as before the attack, as soon as the runtime has closed the sockets that the
/// module has closed.
fn check_files(server: &Server, before: usize) -> Outcome {
    let patience = match server.runtime {
        Runtime::Native => Duration::ZERO,
        _ => COLLECTED_WITHIN,
    };
    let asked = Instant::now();
    loop {
        let still = open_files(server.pid())?;
        // The connection of a request for the counters may just be closing.
        if still <= before + 1 {
            return Ok(());
        }
        ensure!(
            asked.elapsed() < patience,
            "{before} files were open before, and {still} are"
        );
        thread::sleep(Duration::from_millis(10));
    }
}

/// Stops the server with a request, and checks that it ends without an error, and soon.
fn stop(server: &mut Server) -> Outcome {
    let mut client = Client::connect(server.address)?;
    client.send("POST /stop HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")?;
    client.response()?.check(b"stopping")?;
    client.check_end()?;
    drop(client);
    server.ends_within(STOPPED_WITHIN)?;
    Ok(())
}

/// The same command, with a limit of its open files.
fn with_descriptors(most: u32, command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited
        .arg("-c")
        .arg(format!("ulimit -n {most} && exec \"$0\" \"$@\""));
    limited.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            limited.env(name, value);
        }
    }
    limited
}
