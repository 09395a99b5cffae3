//! The load generator: the clients of a server, with any number of connections in one thread, with epoll.
//!
//! Between two [`run`](Load::run)s all connections are idle. In a run, the first ones are *busy*: each
//! sends its next request when it has received the response to the one before. The others are *sampled*, one at a time
//! and at random moments: the time of one request on it is measured.
//!
//! A [`Load`] is a process of its own, which runs this program again: the system limits the connections of a
//! process, and a comparison needs many times 5,000. It reads commands, one in each line, and replies with a line to
//! each ([`serve`]).

mod client;
mod clients;
mod random;

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::str::SplitAsciiWhitespace;
use std::time::Duration;

use interop::Outcome;

use self::client::{get, post};
use self::clients::Clients;

/// The connections to one server.
#[derive(Debug)]
pub(crate) struct Load {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

/// The first argument of this program that makes it a [`Load`].
pub(crate) const CLIENTS: &str = "clients";

/// What to do in a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// How many connections are busy: the first ones.
    pub(crate) busy: usize,
    pub(crate) duration: Duration,
    /// The longest time between two samples; the shortest is a tenth of it. `None`: no samples.
    pub(crate) sample_every: Option<Duration>,
    /// Whether the clients never sleep, so that waking them doesn't cost the server time.
    pub(crate) spin: bool,
}

/// The results of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Measured {
    pub(crate) requests: u64,
    pub(crate) elapsed: Duration,
    /// How long each request of the busy connections took, sorted.
    pub(crate) busy: Vec<Duration>,
    /// The same for the samples.
    pub(crate) samples: Vec<Duration>,
}

/// If there is no response within this time, there is none at all.
const PATIENCE: Duration = Duration::from_secs(20);

impl Load {
    pub(crate) fn new(address: SocketAddr) -> Outcome<Self> {
        let error = |e: std::io::Error| format!("the clients' process: {e}");
        let mut process = Command::new(std::env::current_exe().map_err(error)?)
            .args([CLIENTS, &address.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(error)?;
        let pipes = (process.stdin.take(), process.stdout.take());
        let (Some(to), Some(from)) = pipes else {
            return Err("the clients' process has no pipes".into());
        };
        let from = BufReader::new(from);
        Ok(Self { process, to, from })
    }

    /// Opens `count` connections, `at_once` at a time, and sends one request on each: with a body of this many
    /// bytes, if it isn't 0.
    pub(crate) fn open(&mut self, count: usize, at_once: usize, body: usize) -> Outcome {
        self.command(&format!("open {count} {at_once} {body}"))
            .map(drop)
    }

    /// Sends a request on a connection of its own. Returns the body of the response.
    pub(crate) fn ask(&mut self, path: &str) -> Outcome<String> {
        self.command(&format!("ask {path}"))
    }

    /// Fails if one of the connections was closed.
    pub(crate) fn check(&mut self) -> Outcome {
        self.command("check").map(drop)
    }

    /// Runs `plan`. At the end, all responses have been received.
    pub(crate) fn run(&mut self, plan: Plan) -> Outcome<Measured> {
        let every = plan.sample_every.unwrap_or_default().as_nanos();
        let said = self.command(&format!(
            "run {} {} {every} {}",
            plan.busy,
            plan.duration.as_nanos(),
            u8::from(plan.spin)
        ))?;
        Measured::parse(&said)
            .ok_or_else(|| "the clients' process sent a line that can't be parsed".into())
    }

    fn command(&mut self, line: &str) -> Outcome<String> {
        let mut said = String::new();
        writeln!(self.to, "{line}")
            .and_then(|()| self.from.read_line(&mut said))
            .map_err(|e| format!("the clients' process: {e}"))?;
        match said.trim_end_matches('\n').split_once(' ') {
            Some(("ok", said)) => Ok(said.into()),
            Some(("error", why)) => Err(why.into()),
            _ => Err("the clients' process has ended".into()),
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // It fails if the process has already ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The main loop of the process: replies to commands until there are no more.
pub(crate) fn serve(address: &str) -> Outcome {
    let address = address.parse().map_err(|e| format!("{address}: {e}"))?;
    let mut clients = Clients::new(address)?;
    for line in std::io::stdin().lines() {
        let line = line.map_err(|e| e.to_string())?;
        let mut words = line.split_ascii_whitespace();
        let response = match execute(&mut clients, &mut words) {
            Ok(said) => format!("ok {said}\n"),
            Err(why) => format!("error {}\n", why.replace('\n', " ")),
        };
        let mut to = std::io::stdout().lock();
        to.write_all(response.as_bytes())
            .and_then(|()| to.flush())
            .map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// Executes a command. Returns what the reply contains beside `ok`.
fn execute(clients: &mut Clients, words: &mut SplitAsciiWhitespace<'_>) -> Outcome<String> {
    let command = words.next().unwrap_or_default();
    if command == "ask" {
        return clients.ask(words.next().unwrap_or_default());
    }
    let mut numbers = [0; 4];
    for (number, word) in numbers.iter_mut().zip(words) {
        *number = word.parse().map_err(|e| format!("{word}: {e}"))?;
    }
    let [first, second, third, fourth]: [u64; 4] = numbers;
    match command {
        "open" => {
            let request = match third as usize {
                0 => get().to_vec(),
                length => post(length),
            };
            clients.open(first as usize, second as usize, &request)?;
        }
        "check" => clients.check()?,
        "run" => {
            let every = Some(Duration::from_nanos(third)).filter(|every| !every.is_zero());
            let plan = Plan {
                busy: first as usize,
                duration: Duration::from_nanos(second),
                sample_every: every,
                spin: fourth != 0,
            };
            return Ok(clients.run(plan)?.to_line());
        }
        _ => return Err(format!("no command is called '{command}'")),
    }
    Ok(String::new())
}

impl Measured {
    /// The results as numbers: each of the two lists follows its length.
    fn to_line(&self) -> String {
        let mut numbers = vec![self.requests.into(), self.elapsed.as_nanos()];
        for list in [&self.busy, &self.samples] {
            numbers.push(list.len() as u128);
            numbers.extend(list.iter().map(Duration::as_nanos));
        }
        let words: Vec<String> = numbers.iter().map(u128::to_string).collect();
        words.join(" ")
    }

    fn parse(line: &str) -> Option<Self> {
        let mut numbers = line.split_ascii_whitespace().map(|word| word.parse().ok());
        let mut next = || numbers.next().flatten();
        let requests = next()?;
        let elapsed = Duration::from_nanos(next()?);
        let mut list = || -> Option<Vec<Duration>> {
            let length = next()?;
            (0..length)
                .map(|_| next().map(Duration::from_nanos))
                .collect()
        };
        Some(Self {
            requests,
            elapsed,
            busy: list()?,
            samples: list()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_survive_encoding_and_parsing() {
        let nanos = |numbers: &[u64]| numbers.iter().copied().map(Duration::from_nanos).collect();
        let measured = Measured {
            requests: 5,
            elapsed: Duration::from_secs(2),
            busy: nanos(&[1, 2, 3_000_000_000]),
            samples: nanos(&[4]),
        };
        assert_eq!(Measured::parse(&measured.to_line()), Some(measured));
        assert_eq!(Measured::parse("5 2 3 1"), None);
    }
}
