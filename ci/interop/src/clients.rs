//! Runs widely used clients against servers whose bodies stream: curl, and libraries of Python and Node, which the
//! scripts in `ci/interop/clients` use.

use std::path::PathBuf;
use std::process::Command;
use std::thread;

use crate::client::same;
use crate::curl::{Scratch, curl};
use crate::runtime::script;
use crate::{Outcome, Program, Report, Runtime, Server, ensure, root};

/// Runs all clients on each of these runtimes.
#[must_use]
pub fn run(runtimes: &[Runtime]) -> Report {
    let mut report = Report::new("clients", runtimes);
    for &runtime in runtimes {
        let servers = Servers::start(runtime);
        for (name, client) in CURL {
            let outcome = servers.as_ref().map_err(Clone::clone).and_then(client);
            report.add(name, runtime, outcome);
        }
        // Beside each other, because they wait most of the time.
        let outcomes = match &servers {
            Ok(servers) => thread::scope(|scope| {
                let of = |kind: &'static Kind| scope.spawn(move || kind_of_clients(kind, servers));
                let running = [(of(&PYTHON), &PYTHON), (of(&NODE), &NODE)];
                running.map(|(it, kind)| it.join().unwrap_or_else(|_| kind.failed("a panic")))
            }),
            Err(why) => [&PYTHON, &NODE].map(|kind| kind.failed(why)),
        };
        for (name, outcome) in outcomes.into_iter().flatten() {
            report.add(&name, runtime, outcome);
        }
        let log = servers.and_then(|it| it.check_logs());
        report.add(
            "logs without complaints",
            runtime,
            log.map(|()| "ok".into()),
        );
    }
    report
}

/// The server of `tests/servers`, and the examples `sse` and `chat`.
struct Servers([Server; 3]);

impl Servers {
    fn start(runtime: Runtime) -> Outcome<Self> {
        let env = [("RUST_LOG", "info")];
        // Node ends only its side of a connection when it gives up.
        let patience = ("HALF_CLOSED_TIMEOUT", "1000");
        let server = Program::example(runtime, "async_server", true)?;
        Ok(Self([
            Server::start(&server, &[env[0], patience])?,
            Server::start(&Program::package(runtime, "sse")?, &env)?,
            Server::start(&Program::package(runtime, "chat")?, &env)?,
        ]))
    }

    fn check_logs(&self) -> Outcome {
        self.0.iter().try_for_each(Server::check_log)
    }
}

type Client = fn(&Servers) -> Outcome<String>;

const CURL: &[(&str, Client)] = &[
    ("curl -N, events come one by one", no_buffer),
    (
        "curl -T -, an upload with pauses, echoed",
        upload_from_a_pipe,
    ),
    ("curl --expect100-timeout, 100, and a refusal", expect),
];

/// The first step is there long before the last one: the job takes two seconds.
fn no_buffer(Servers([_, sse, _]): &Servers) -> Outcome<String> {
    let started = curl(&["-i", "-X", "POST", &sse.url("/jobs")])?.text();
    let job = started
        .lines()
        .find_map(|line| line.strip_prefix("location: "));
    let job = job.ok_or_else(|| format!("there is no job: {started}"))?;
    let times = " %{time_starttransfer} %{time_total}";
    let said = curl(&["-N", "-w", times, &sse.url(job)])?.text();
    let (events, times) = said.rsplit_once("\n\n").unwrap_or_default();
    let steps = events
        .lines()
        .filter_map(|line| line.strip_prefix("id: ")?.parse::<u32>().ok());
    ensure!(steps.eq(1..=40), "the events are {events}");
    let times: Vec<f64> = times
        .split_whitespace()
        .filter_map(|it| it.parse().ok())
        .collect();
    ensure!(
        times.len() == 2 && times[1] - times[0] > 1.0,
        "the first byte and the last came after {times:?} s"
    );
    Ok("ok".into())
}

/// curl's input pauses. With `-T .`, curl goes on receiving meanwhile; with `-T -`, it may block.
fn upload_from_a_pipe(Servers([server, ..]): &Servers) -> Outcome<String> {
    let part: String = (1..=20_000).map(|number| format!("{number}\n")).collect();
    let url = server.url("/echo");
    for source in ["-", "."] {
        let line = format!(
            "for part in 1 2 3; do seq 20000; sleep 0.1; done | \
             curl -q -sS --fail --max-time 120 -N -T {source} {url}"
        );
        let output = Command::new("sh").args(["-c", &line]).output();
        let output = output.map_err(|e| format!("sh: {e}"))?;
        let error = String::from_utf8_lossy(&output.stderr);
        same(&output.stdout, part.repeat(3).as_bytes())
            .map_err(|why| format!("-T {source}: {why}\n{error}"))?;
    }
    Ok("ok".into())
}

fn expect(Servers([server, ..]): &Servers) -> Outcome<String> {
    const LENGTH: usize = 2 << 20;
    let scratch = Scratch::new()?;
    let file = scratch.write("body", vec![b'x'; LENGTH])?;
    let send = |target: &str| {
        let upload = [
            "-T",
            &file,
            "--expect100-timeout",
            "10",
            "-H",
            "Expect: 100-continue",
        ];
        let shown = [
            "-w",
            " %{http_code} %{size_upload} %{time_total}",
            &server.url(target),
        ];
        let said = curl(&[&upload[..], &shown].concat())?.text();
        let words: Vec<_> = said.split_whitespace().map(str::to_owned).collect();
        let time = words.last().and_then(|it| it.parse::<f64>().ok());
        ensure!(time.is_some_and(|it| it < 5.0), "it waited: {said}");
        Ok(words)
    };
    let sent = send("/count")?;
    ensure!(sent[..3] == ["2097152", "200", "2097152"], "{sent:?}");
    let refused = send("/limited?10")?;
    ensure!(
        refused[refused.len() - 3..][..2] == ["413", "0"],
        "not refused before the body: {refused:?}"
    );
    Ok("ok".into())
}

/// Clients of a language: a script whose lines are `ok NAME` or `failed NAME: WHY`.
struct Kind {
    tool: &'static str,
    script: &'static str,
}

static PYTHON: Kind = Kind {
    tool: "python",
    script: "ci/interop/clients/clients.py",
};
static NODE: Kind = Kind {
    tool: "node",
    script: "ci/interop/clients/clients.cjs",
};

impl Kind {
    fn failed(&self, why: &str) -> Vec<(String, Outcome<String>)> {
        vec![(format!("{} runs", self.script), Err(why.into()))]
    }
}

fn kind_of_clients(kind: &Kind, servers: &Servers) -> Vec<(String, Outcome<String>)> {
    match output_of(kind, servers) {
        Ok(lines) => lines.lines().map(outcome).collect(),
        Err(why) => kind.failed(&why),
    }
}

fn output_of(kind: &Kind, servers: &Servers) -> Outcome<String> {
    let program = PathBuf::from(script("ci/tool", kind.tool)?);
    let mut command = Command::new(program);
    command.arg(root().join(kind.script));
    command.args(servers.0.iter().map(|server| server.url("")));
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{command:?}: {}\n{error}",
        output.status
    );
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(!lines.is_empty(), "no client has run:\n{error}");
    Ok(lines)
}

fn outcome(line: &str) -> (String, Outcome<String>) {
    match line.split_once(' ') {
        Some(("ok", name)) => (name.into(), Ok("ok".into())),
        Some(("failed", rest)) => {
            let (name, why) = rest
                .split_once(": ")
                .unwrap_or((rest, "it doesn't say why"));
            (name.into(), Err(why.into()))
        }
        _ => ("each line is an outcome".into(), Err(line.into())),
    }
}
