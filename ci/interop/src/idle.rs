//! Measures the processor time of a server with idle connections. It must be almost none, since nothing wakes the
//! server.

use std::thread::{self, sleep};
use std::time::Duration;

use crate::client::Client;
use crate::{Outcome, Program, Report, Runtime, Server, ensure};

/// The settings of a run.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How many idle connections there are.
    pub connections: usize,
    /// How long the server is observed.
    pub seconds: u64,
    /// How many ticks of processor time the server may use in that time. In a blind runtime
    /// ([`Runtime::is_blind`]) it may use 5 % of the time.
    pub most_ticks: u64,
    /// Whether the server is a release build.
    pub release: bool,
}

/// Measures on each of these runtimes.
#[must_use]
pub fn run(runtimes: &[Runtime], settings: Settings) -> Report {
    let mut report = Report::new("idle connections", runtimes);
    let Settings {
        connections,
        seconds,
        ..
    } = settings;
    let kinds: [(String, &str, Measure); 2] = [
        (
            format!("ticks in {seconds} s, {connections} connections"),
            "echo",
            measure,
        ),
        (
            format!("the same, {connections} that wait for a handler"),
            "async_server",
            measure_waiting,
        ),
    ];
    // All servers rest at the same time. All are built before, so that no compiler runs meanwhile.
    let mut programs = Vec::new();
    for &runtime in runtimes {
        for (row, example, measure) in &kinds {
            let program = Program::example(runtime, example, settings.release);
            programs.push((row, runtime, program, *measure));
        }
    }
    let outcomes: Vec<_> = thread::scope(|scope| {
        let running = programs
            .into_iter()
            .map(|(row, runtime, program, measure)| {
                let of = move || measure(&program?, settings.of(runtime));
                (row, runtime, scope.spawn(of))
            });
        let running: Vec<_> = running.collect();
        let joined = running
            .into_iter()
            .map(|(row, runtime, it)| (row, runtime, it.join()));
        joined.collect()
    });
    for (row, runtime, outcome) in outcomes {
        let outcome = outcome.unwrap_or_else(|_| Err("it panicked".into()));
        report.add(row, runtime, outcome);
    }
    report
}

type Measure = fn(&Program, Settings) -> Outcome<String>;

impl Settings {
    /// Those for one runtime.
    fn of(self, runtime: Runtime) -> Self {
        let most_ticks = match runtime.is_blind() {
            true => self.seconds * 5,
            false => self.most_ticks,
        };
        Self { most_ticks, ..self }
    }
}

/// Measures one program that responds like `echo`.
///
/// # Errors
/// It has used more, or didn't serve.
pub fn measure(program: &Program, settings: Settings) -> Outcome<String> {
    judge(ticks(program, settings)?, settings)
}

fn judge(ticks: u64, settings: Settings) -> Outcome<String> {
    ensure!(
        ticks <= settings.most_ticks,
        "{} connections cost {ticks} ticks in {} s, more than {}",
        settings.connections,
        settings.seconds,
        settings.most_ticks
    );
    Ok(format!("{ticks} (at most {})", settings.most_ticks))
}

/// The same for connections whose requests wait: half of them for their handlers, half for the next event.
fn measure_waiting(program: &Program, settings: Settings) -> Outcome<String> {
    let limits = [("RUST_LOG", "warn"), ("MAX_REQUESTS", "20000")];
    let mut server = Server::start(program, &limits)?;
    let mut clients = Vec::new();
    for number in 0..settings.connections {
        let mut client = Client::connect(server.address)?;
        let target = if number % 2 == 0 {
            "/wait"
        } else {
            "/events?0,3600000"
        };
        client.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"))?;
        if number % 2 == 1 {
            client.response_head()?;
            ensure!(client.chunk()?.is_some(), "no event came");
        }
        clients.push(client);
    }
    sleep(Duration::from_secs(1));
    let before = server.cpu_ticks()?;
    sleep(Duration::from_secs(settings.seconds));
    let ticks = server.cpu_ticks()? - before;
    let mut other = Client::connect(server.address)?;
    other.send("POST /tell HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nnews")?;
    let expected = settings.connections.div_ceil(2).to_string();
    other.response()?.check(expected.as_bytes())?;
    for client in clients.iter_mut().step_by(2) {
        client.response()?.check(b"news")?;
    }
    server.check_alive()?;
    server.check_log()?;
    judge(ticks, settings)
}

/// Returns how many ticks a program uses, without a limit.
///
/// # Errors
/// It didn't serve.
pub fn ticks(program: &Program, settings: Settings) -> Outcome<u64> {
    let mut server = Server::start(program, &[("RUST_LOG", "warn")])?;
    let mut clients = Vec::new();
    for number in 0..settings.connections {
        let mut client = Client::connect(server.address)?;
        // Half have never sent anything, half are kept alive after a request.
        if number % 2 == 0 {
            client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")?;
            client.response()?.check(b"hello!")?;
        }
        clients.push(client);
    }
    // Until the work of the start and of these requests is done.
    sleep(Duration::from_secs(1));
    let before = server.cpu_ticks()?;
    sleep(Duration::from_secs(settings.seconds));
    let ticks = server.cpu_ticks()? - before;
    // The connections must still be open.
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")?;
        client.response()?.check(b"hello!")?;
    }
    server.check_alive()?;
    server.check_log()?;
    Ok(ticks)
}
