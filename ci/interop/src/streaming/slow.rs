//! Clients that are slow but honest get all of their responses, beside others whose bodies are collected.

use std::net::SocketAddr;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use super::{get, post};
use crate::client::same;
use crate::wait::in_a_quiet_moment;
use crate::{Client, Outcome, Program, Runtime, Server, ensure};

pub(super) const NAME: &str = "others beside slow downloads";

const LENGTH: usize = 3_000_000;
/// Bytes a second.
const RATE: f64 = 2e6;
/// At this rate, each download lasts for several windows.
const SETTINGS: [(&str, &str); 3] = [
    ("RUST_LOG", "info"),
    ("MAX_HELD", "1048576"),
    ("RATE_WINDOW", "300"),
];
const OTHERS_LENGTH: usize = 100_000;

pub(super) fn run(runtime: Runtime, release: bool) -> Outcome<String> {
    let program = Program::example(runtime, "async_server", release)?;
    let server = Server::start(&program, &SETTINGS)?;
    // Clients that the machine keeps waiting for a window are slower than they want to be.
    let others = in_a_quiet_moment(|| beside_slow_downloads(&server))?;
    server.check_log()?;
    Ok(others.to_string())
}

/// Returns how many others were served.
fn beside_slow_downloads(server: &Server) -> Outcome<usize> {
    let address = server.address;
    // A runtime's first response takes longer.
    serve_other(address)?;
    let started = Instant::now();
    let slow = ["/data", "/chunks"].map(|path| thread::spawn(move || download(address, path)));
    let mut others = 0;
    while slow.iter().any(|slow| !slow.is_finished()) {
        serve_other(address)?;
        others += 1;
        sleep(Duration::from_millis(20));
    }
    for slow in slow {
        slow.join().map_err(|_| "a client panicked")??;
    }
    let lasted = started.elapsed();
    let least = Duration::from_secs_f64(LENGTH as f64 / RATE * 0.9);
    ensure!(lasted >= least, "the slow ones took only {lasted:.1?}");
    ensure!(others > 10, "only {others} others were served meanwhile");
    Ok(others)
}

fn serve_other(address: SocketAddr) -> Outcome {
    let body = "y".repeat(OTHERS_LENGTH);
    let mut other = Client::connect(address)?;
    other.send(post("/", &body))?;
    other.response()?.check(body.as_bytes())
}

fn download(address: SocketAddr, path: &str) -> Outcome {
    const STEP: usize = 50_000;
    let mut client = Client::connect_slow(address)?;
    client.send(get(&format!("{path}?{LENGTH}")))?;
    let head = client.response_head()?;
    let is_chunked = head.values("transfer-encoding").eq(["chunked"]);
    let (started, mut received) = (Instant::now(), 0);
    while received < LENGTH {
        let data = match is_chunked {
            true => client.chunk()?.ok_or("it ends too early")?,
            false => client.take(STEP.min(LENGTH - received))?,
        };
        received += data.len();
        same(&data, &vec![b'x'; data.len()])?;
        let due = Duration::from_secs_f64(received as f64 / RATE);
        sleep(due.saturating_sub(started.elapsed()));
    }
    if is_chunked {
        ensure!(client.chunk()?.is_none(), "there is more");
        client.trailers()?;
    }
    Ok(())
}
