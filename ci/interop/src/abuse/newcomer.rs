//! Somebody polite, who has to be served whatever the others do.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::{Outcome, Server, ensure};

/// What happened to the newcomers of one scenario.
#[derive(Debug, Default)]
pub(super) struct Newcomers {
    /// How many there were.
    pub(super) count: usize,
    /// Those among them whose body was refused for want of memory.
    pub(super) overloaded: usize,
    /// The longest time that the system took to connect.
    pub(super) worst_connect: Duration,
    /// The longest time from then to the end of an answer.
    pub(super) worst: Duration,
    /// When that was, from the first newcomer on.
    pub(super) worst_at: Duration,
    /// The most processor time, in ticks of 10 ms, that the server used while one waited: where
    /// that is little and the wait was long, others have kept the processor.
    pub(super) worst_ticks: u64,
}

/// They come so far apart, each on a connection of its own.
const PAUSE: Duration = Duration::from_millis(100);
/// One in so many sends a small body.
const POST_EVERY: usize = 5;

impl Newcomers {
    /// Sends newcomers one after the other, until told to stop. `may_be_full`: whether the memory
    /// for all connections may be used up, so that one with a body may get 503.
    ///
    /// # Errors
    /// With what went wrong for the first one that was not served.
    pub(super) fn come(server: &Server, stop: &AtomicBool, may_be_full: bool) -> Outcome<Self> {
        let mut all = Self::default();
        let first = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let (asked_at, ticks) = (first.elapsed(), server.cpu_ticks()?);
            let with_body = all.count % POST_EVERY == POST_EVERY - 1;
            let number = all.count;
            let served = ask(server.address, with_body).map_err(|e| {
                let waited = first.elapsed() - asked_at;
                format!("newcomer {number} was not served after {waited:.1?}: {e}")
            });
            let (status, connected, answered) = served?;
            let is_overloaded = status == 503 && with_body && may_be_full;
            ensure!(
                status == 200 || is_overloaded,
                "newcomer {number} got {status}"
            );
            all.count += 1;
            all.overloaded += usize::from(is_overloaded);
            all.worst_connect = all.worst_connect.max(connected);
            all.worst_ticks = all.worst_ticks.max(server.cpu_ticks()? - ticks);
            if answered > all.worst {
                (all.worst, all.worst_at) = (answered, asked_at);
            }
            thread::sleep(PAUSE);
        }
        Ok(all)
    }
}

/// One request: the status of its answer, how long it took to connect, and how long the answer.
fn ask(address: SocketAddr, with_body: bool) -> Outcome<(u16, Duration, Duration)> {
    let started = Instant::now();
    let mut client = Client::connect(address)?;
    let connected = started.elapsed();
    let body = "x".repeat(if with_body { 1000 } else { 0 });
    let head = "/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    if with_body {
        client.send(format!("POST {head}Content-Length: 1000\r\n\r\n{body}"))?;
    } else {
        client.send(format!("GET {head}\r\n"))?;
    }
    let answer = client.answer()?;
    if answer.status == 200 {
        answer.check(if with_body {
            body.as_bytes()
        } else {
            b"hello!"
        })?;
    }
    client.check_end()?;
    Ok((answer.status, connected, started.elapsed() - connected))
}
