//! Checks that a server which is stopped serves the requests that have arrived, refuses new connections, and ends soon.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::client::{PATIENCE, Response};
use crate::wait::{self, TOO_BUSY, unless_too_busy};
use crate::{Client, Outcome, Program, Report, Runtime, Server, ensure};

/// The settings of a run.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Whether the server is a release build.
    pub release: bool,
}

type Case = fn(&mut Server) -> Outcome<String>;

const CASES: [(&str, Case); 4] = [
    (
        "7 requests that arrive while the handler stops it",
        came_meanwhile,
    ),
    ("a pipeline, and a truncated request", pipeline),
    (
        "new connections while a slow download drains",
        new_connections,
    ),
    ("ms to stop with clients that don't close", dont_close),
];

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
/// The length of the response to `/large`.
const LARGE: usize = 16 << 20;

/// Runs each case, in each of these runtimes.
#[must_use]
pub fn run(runtimes: &[Runtime], settings: Settings) -> Report {
    let mut report = Report::new("stop", runtimes);
    for &runtime in runtimes {
        let program = Program::example(runtime, "stop_server", settings.release);
        for (name, case) in CASES {
            let outcome = program
                .clone()
                .and_then(|program| unless_too_busy(|| run_case(&program, case)));
            report.add(name, runtime, outcome);
        }
    }
    report
}

fn run_case(program: &Program, case: Case) -> Outcome<String> {
    let mut server = Server::start(program, &[("RUST_LOG", "info")])?;
    // Wait for a response, because a runtime listens before the program runs.
    kept(&server)?;
    let word = case(&mut server)?;
    server.check_log()?;
    Ok(word)
}

fn came_meanwhile(server: &mut Server) -> Outcome<String> {
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(kept(server)?);
    }
    let mut work = Work::begin(server)?;
    for _ in 0..4 {
        others.push(Client::connect(server.address)?);
    }
    for client in &mut others {
        client.send(GET)?;
    }
    work.end()?;
    for client in &mut others {
        let response = client.response()?;
        response.check(b"hello!")?;
        check_last(&response)?;
        client.check_end()?;
    }
    drop((work, others));
    server.ends_within(Duration::from_secs(5))?;
    Ok("served".into())
}

fn pipeline(server: &mut Server) -> Outcome<String> {
    const COUNT: usize = 500;
    let (mut complete, mut truncated) = (kept(server)?, kept(server)?);
    let mut work = Work::begin(server)?;
    complete.send(GET.repeat(COUNT))?;
    truncated.send(format!("{GET}{GET}{}", &GET[..20]))?;
    work.end()?;
    for number in 1..=COUNT {
        let response = complete.response()?;
        response.check(b"hello!")?;
        let closes = response.values("connection").any(|value| value == "close");
        ensure!(
            closes == (number == COUNT),
            "the response {number} of {COUNT} says close: {closes}"
        );
    }
    complete.check_end()?;
    for _ in 0..2 {
        truncated.response()?.check(b"hello!")?;
    }
    let refused = truncated.any_response()?;
    ensure!(
        refused.status == 503,
        "the part of a request got {}",
        refused.status
    );
    check_last(&refused)?;
    truncated.check_end()?;
    drop((work, complete, truncated));
    server.ends_within(Duration::from_secs(5))?;
    Ok("served".into())
}

fn new_connections(server: &mut Server) -> Outcome<String> {
    let mut slow = Client::connect_slow(server.address)?;
    slow.send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n")?;
    let mut got = slow.swallow(1 << 16, Duration::from_secs(10));
    let mut stopper = Client::connect(server.address)?;
    stopper.send(stop_after(0))?;
    stopper.response()?.check(b"stopping")?;
    let mut words = Vec::new();
    for _ in 0..4 {
        sleep(Duration::from_millis(300));
        words.push(new_connection(server)?);
        got += slow.swallow(1 << 18, Duration::from_secs(10));
    }
    ensure!(server.ended().is_none(), "it didn't wait for the download");
    got += slow.swallow(usize::MAX, Duration::from_secs(60));
    ensure!(got > LARGE, "only {got} bytes of the download came");
    drop((stopper, slow));
    server.ends_within(Duration::from_secs(5))?;
    ensure!(
        words.iter().all(|word| *word == words[0]),
        "new connections had different results: {words:?}"
    );
    Ok(words[0].into())
}

/// Makes a new connection. It must be refused, or get 503, although the download goes on.
fn new_connection(server: &Server) -> Outcome<&'static str> {
    let mut stream = match TcpStream::connect_timeout(&server.address, PATIENCE) {
        Ok(stream) => stream,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Ok("refused"),
        Err(error) => return Err(format!("a new connection: {error}")),
    };
    let failed = |error: std::io::Error| format!("a new connection was accepted: {error}");
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    stream.write_all(GET.as_bytes()).map_err(failed)?;
    let mut response = String::new();
    stream.read_to_string(&mut response).map_err(failed)?;
    ensure!(
        response.starts_with("HTTP/1.1 503 "),
        "a new connection got {response:?}"
    );
    Ok("503")
}

fn dont_close(server: &mut Server) -> Outcome<String> {
    let idle = kept(server)?;
    let mut lingers = Client::connect(server.address)?;
    lingers.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    lingers.response()?.check(b"hello!")?;
    let mut stopper = Client::connect(server.address)?;
    stopper.send(stop_after(0))?;
    stopper.response()?.check(b"stopping")?;
    let took = server.ends_within(Duration::from_secs(2))?;
    drop((idle, lingers, stopper));
    Ok(took.as_millis().to_string())
}

/// A connection on which a request was served.
fn kept(server: &Server) -> Outcome<Client> {
    let mut client = Client::connect(server.address)?;
    client.send(GET)?;
    client.response()?.check(b"hello!")?;
    Ok(client)
}

/// A handler that works for a time, in which the server does nothing else, and then stops the server.
struct Work {
    stopper: Client,
    asked: Instant,
}

impl Work {
    const TIME: Duration = Duration::from_secs(1);

    /// Returns when the handler works.
    fn begin(server: &Server) -> Outcome<Self> {
        let mut stopper = Client::connect(server.address)?;
        let asked = Instant::now();
        stopper.send(stop_after(1_000))?;
        wait::until("the handler works", || server.log().contains("working"))?;
        Ok(Self { stopper, asked })
    }

    /// Waits for its end. What was sent before has arrived while it worked.
    fn end(&mut self) -> Outcome {
        ensure!(self.asked.elapsed() < Self::TIME, "{TOO_BUSY}");
        self.stopper.response()?.check(b"stopping")
    }
}

fn stop_after(millis: u64) -> String {
    format!("GET /stop?{millis} HTTP/1.1\r\nHost: x\r\n\r\n")
}

fn check_last(response: &Response) -> Outcome {
    ensure!(
        response.values("connection").any(|value| value == "close"),
        "the last response doesn't say close"
    );
    Ok(())
}
