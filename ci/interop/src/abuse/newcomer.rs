//! Well-behaved new clients (newcomers), which must be served whatever the others do.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::server::Busy;
use crate::{Outcome, Server, ensure};

/// The statistics of the newcomers in one scenario.
#[derive(Debug, Default)]
pub(super) struct Newcomers {
    /// How many there were.
    pub(super) count: usize,
    /// How many of their bodies were refused for lack of memory.
    pub(super) overloaded: usize,
    /// The longest time that the system took to connect.
    pub(super) worst_connect: Duration,
    /// The longest time from then to the end of a response.
    pub(super) worst: Duration,
    /// The longest of these times, without the time in which the server or the newcomer was ready to run but other
    /// processes had the processor. The server is responsible for this one.
    pub(super) worst_own: Duration,
    /// The most processor time, in ticks of 10 ms, that the server used while a newcomer waited. If it is short and the
    /// wait was long, other processes had the processor.
    pub(super) worst_ticks: u64,
}

/// The pause between two newcomers.
const PAUSE: Duration = Duration::from_millis(100);
/// One in this many sends a small body.
const POST_EVERY: usize = 5;

impl Newcomers {
    /// Connects newcomers one after the other, until `stop` is set. `may_be_full` says whether the memory
    /// for all connections may be used up, so that a request with a body may get 503.
    ///
    /// # Errors
    /// What went wrong with the first newcomer that was not served.
    pub(super) fn come(server: &Server, stop: &AtomicBool, may_be_full: bool) -> Outcome<Self> {
        let mut all = Self::default();
        while !stop.load(Ordering::Relaxed) {
            let (started, ticks) = (Instant::now(), server.cpu_ticks()?);
            let mut busy = Busy::begin(server);
            let with_body = all.count % POST_EVERY == POST_EVERY - 1;
            let number = all.count;
            let served = ask(server.address, with_body).map_err(|e| {
                let waited = started.elapsed();
                format!("newcomer {number} was not served after {waited:.1?}: {e}")
            });
            let (status, connected, responded) = served?;
            let is_overloaded = status == 503 && with_body && may_be_full;
            ensure!(
                status == 200 || is_overloaded,
                "newcomer {number} got {status}"
            );
            all.count += 1;
            all.overloaded += usize::from(is_overloaded);
            all.worst_connect = all.worst_connect.max(connected);
            all.worst_ticks = all.worst_ticks.max(server.cpu_ticks()? - ticks);
            let busy = busy.so_far(server);
            all.worst = all.worst.max(responded);
            all.worst_own = all.worst_own.max(responded.saturating_sub(busy));
            thread::sleep(PAUSE);
        }
        Ok(all)
    }
}

/// Sends one request. Returns the status of the response, how long it took to connect, and how long the response took.
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
    let response = client.response()?;
    if response.status == 200 {
        response.check(if with_body {
            body.as_bytes()
        } else {
            b"hello!"
        })?;
    }
    client.check_end()?;
    Ok((response.status, connected, started.elapsed() - connected))
}
