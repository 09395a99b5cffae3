//! Checks that the example `restart` loses no request when it replaces itself, again and again, under load.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use crate::load::{Kind, Load, Sent};
use crate::wait::within;
use crate::{Client, Outcome, Program, Report, Runtime, Server, ensure, root};

/// The settings of a run.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How often it is restarted.
    pub restarts: u64,
    /// How many requests there are at least.
    pub requests: u64,
}

const KINDS: [Kind; 2] = [
    Kind {
        clients: 4,
        method: "GET",
        keeps: false,
    },
    Kind {
        clients: 4,
        method: "GET",
        keeps: true,
    },
];

/// How long each client pauses after a response: with eight clients there are some 2,000 requests a second, which
/// leaves the machine room for the restarts.
const PAUSE: Duration = Duration::from_millis(3);

/// The length of the response to `/large`. The system's buffers hold half of it at most.
const LARGE: usize = 8 << 20;
/// How long its download takes: the restarts go on beside it.
const DOWNLOAD: Duration = Duration::from_secs(8);
/// How many requests there are at least between two restarts, so that each process has had some of them: the clients send
/// eight at a time, and some may still be at the process before.
const SERVED_BY_EACH: u64 = 50;
/// How long a restart, or a stop, may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many requests may be sent again, because they were sent just when the connection was closed. The client can't
/// avoid that.
const MOST_AGAIN: usize = 2;

/// Runs it.
#[must_use]
pub fn run(settings: Settings) -> Report {
    let mut report = Report::new("restart", &[Runtime::Native]);
    let outcome = restarts(settings);
    report.add("restarts under load", Runtime::Native, outcome);
    let outcome = stopped_meanwhile();
    report.add("SIGTERM during a restart", Runtime::Native, outcome);
    report
}

fn program() -> Outcome<Program> {
    let package = ["--package", "restart"];
    Program::build(Runtime::Native, &root().join("examples"), &package, true)
}

/// Both signals come before the successor is ready. Then no process serves any more.
fn stopped_meanwhile() -> Outcome<String> {
    let mut server = Server::start(&program()?, &[("RUST_LOG", "info")])?;
    let address = server.address;
    let pid = pid_at(address)?.to_string();
    let script = r#"kill -HUP "$0"; kill -TERM "$0""#;
    let sent = Command::new("sh").args(["-c", script, &pid]).status();
    ensure!(
        sent.is_ok_and(|it| it.success()),
        "the signals weren't sent"
    );
    within(PATIENCE, || server.ended()).ok_or("it doesn't end")?;
    // While any process has a copy of the listener, clients can connect.
    match within(PATIENCE, || {
        TcpStream::connect(address).is_err().then_some(())
    }) {
        Some(()) => Ok("ok".into()),
        None => {
            if let Ok(successor) = pid_at(address) {
                let _ = Command::new("kill").arg(successor.to_string()).status();
            }
            Err("the successor still serves".into())
        }
    }
}

fn restarts(settings: Settings) -> Outcome<String> {
    let program = program()?;
    let mut first = Server::start(&program, &[("RUST_LOG", "info")])?;
    let mut processes = Processes {
        program: program.path,
        pids: vec![pid_at(first.address)?],
    };

    let download = slow_download(first.address);
    let load = Load::start(first.address, &KINDS, PAUSE);
    for number in 0..settings.restarts {
        let due = settings.requests * number / settings.restarts;
        wait_for(&load, due.max(load.count() + SERVED_BY_EACH));
        processes.restart(first.address)?;
    }
    wait_for(&load, settings.requests);
    let sent = load.end()?;
    let got = download.join().map_err(|_| "the download panicked")??;
    ensure!(got == LARGE, "{got} bytes of the download came");
    processes.stop()?;
    let ended = within(PATIENCE, || {
        // A child that has ended stays a zombie until its parent waits for it.
        let _ = first.ended();
        processes.are_over().then_some(())
    });
    ensure!(ended.is_some(), "not all processes have ended");
    first.check_log()?;
    judge(&sent, &processes)
}

fn judge(sent: &[Sent], processes: &Processes) -> Outcome<String> {
    let lost: Vec<_> = sent.iter().filter(|it| it.outcome.is_err()).collect();
    ensure!(
        lost.is_empty(),
        "{} of {} requests are lost, like {:?}",
        lost.len(),
        sent.len(),
        lost[0]
    );
    for pid in &processes.pids {
        let name = Ok(pid.to_string());
        let served = sent.iter().filter(|it| it.outcome == name).count();
        ensure!(served > 0, "the process {pid} has served nothing");
    }
    let again = sent.iter().filter(|it| it.again).count();
    ensure!(
        again <= MOST_AGAIN,
        "{again} of {} requests were sent again",
        sent.len()
    );
    Ok(format!("{} requests, {again} sent again", sent.len()))
}

fn wait_for(load: &Load, count: u64) {
    while load.count() < count {
        sleep(Duration::from_millis(5));
    }
}

/// The processes of the server, in their order. When this is dropped, those that are left are killed.
#[derive(Debug)]
struct Processes {
    program: PathBuf,
    pids: Vec<u32>,
}

impl Processes {
    /// Restarts the one that serves. Returns when the next one does.
    fn restart(&mut self, address: SocketAddr) -> Outcome {
        let old = *self.pids.last().ok_or("there is no process")?;
        self.signal(old, "-HUP")?;
        let new = within(PATIENCE, || {
            // Both accept for a moment.
            let pid = pid_at(address);
            (!matches!(&pid, Ok(pid) if self.pids.contains(pid))).then_some(pid)
        });
        self.pids
            .push(new.ok_or_else(|| format!("{old} doesn't restart"))??);
        Ok(())
    }

    /// Stops the one that serves.
    fn stop(&self) -> Outcome {
        let last = *self.pids.last().ok_or("there is no process")?;
        self.signal(last, "-TERM")
    }

    fn signal(&self, pid: u32, signal: &str) -> Outcome {
        if !self.is_alive(pid) {
            return Ok(());
        }
        let kill = Command::new("kill")
            .args([signal, &pid.to_string()])
            .status();
        let sent = kill.map_err(|e| format!("kill: {e}"))?;
        ensure!(sent.success(), "kill {signal} {pid}: {sent}");
        Ok(())
    }

    /// Whether a process of this program has the id: by now another program's may have it.
    fn is_alive(&self, pid: u32) -> bool {
        fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == self.program)
    }

    fn are_over(&self) -> bool {
        !self.pids.iter().any(|&pid| self.is_alive(pid))
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for &pid in &self.pids {
            // An error means that it has ended by itself.
            let _ = self.signal(pid, "-KILL");
        }
    }
}

/// The id of the process that serves a new connection.
fn pid_at(address: SocketAddr) -> Outcome<u32> {
    let mut client = Client::connect(address)?;
    client.send("GET /pid HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    let body = client.response()?.body;
    let text = String::from_utf8_lossy(&body);
    text.parse().map_err(|e| format!("{text:?}: {e}"))
}

/// Downloads at an even pace. Returns the number of bytes.
fn slow_download(address: SocketAddr) -> JoinHandle<Outcome<usize>> {
    const PIECES: usize = 200;
    spawn(move || {
        let mut client = Client::connect_slow(address)?;
        client.send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n")?;
        let head = client.response_head()?;
        ensure!(head.status == 200, "the download is {}", head.status);
        let since = Instant::now();
        let mut got = 0;
        for piece in 0..PIECES {
            got += client.take(LARGE * (piece + 1) / PIECES - got)?.len();
            let due = DOWNLOAD * u32::try_from(piece + 1).unwrap_or(1) / 200;
            sleep(due.saturating_sub(since.elapsed()));
        }
        Ok(got)
    })
}
