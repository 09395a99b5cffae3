//! A client that vanishes while it waits for its response: neither FIN nor RST comes, and nothing is acknowledged. The
//! keep-alive probes of the server find it.
//!
//! It takes about a minute, in which nothing happens. The servers and their clients are in a network namespace of their
//! own, whose loopback interface is taken down. That needs Linux, and the right to make a namespace.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::client::{Client, PATIENCE};
use crate::server::Busy;
use crate::{Outcome, Program, Report, Runtime, Server, ensure};

/// Set in the namespace.
const INSIDE: &str = "MINI_HTTP_IN_NAMESPACE";
/// When a vanished client may be found: three probes are sent, the first after 30 s, and each has 10 s to be
/// acknowledged. Linux rounds such timers up, by an eighth at most.
const FOUND_AFTER: (Duration, Duration) = (Duration::from_secs(58), Duration::from_secs(70));

/// Runs it on these runtimes, all at the same time.
///
/// # Errors
/// There is no such namespace.
pub fn run(runtimes: &[Runtime]) -> Outcome<Report> {
    if std::env::var_os(INSIDE).is_none() {
        return Err(enter());
    }
    ip(&["up"])?;
    let mut report = Report::new("dead peers", runtimes);
    let mut waiting = Vec::new();
    for &runtime in runtimes {
        match start(runtime) {
            Ok(both) => waiting.push((runtime, both)),
            Err(why) => report.add(ROW, runtime, Err(why)),
        }
    }
    // Until what was sent is acknowledged.
    sleep(Duration::from_millis(500));
    ip(&["down"])?;
    let since = Instant::now();
    while !waiting.is_empty() {
        sleep(Duration::from_millis(200));
        waiting.retain_mut(|(runtime, (server, _, busy))| {
            let is_found = server.log().contains(FOUND);
            // At idle priority a server may wait for the processor for seconds.
            let is_late = since.elapsed() > FOUND_AFTER.1 + busy.so_far(server);
            if is_found || is_late {
                report.add(ROW, *runtime, judge(is_found, since.elapsed()));
            }
            !is_found && !is_late
        });
    }
    Ok(report)
}

/// What the server logs then.
const FOUND: &str =
    "closed: the client was gone before its request or upgraded connection had ended";

const ROW: &str = "seconds until a vanished client is found";

fn judge(is_found: bool, after: Duration) -> Outcome<String> {
    ensure!(is_found, "it isn't found after {after:.1?}");
    ensure!(
        after >= FOUND_AFTER.0,
        "it is found after {after:.1?}: too early"
    );
    Ok(format!("{:.1}", after.as_secs_f64()))
}

/// A server with one client, which waits for a response.
fn start(runtime: Runtime) -> Outcome<(Server, Client, Busy)> {
    let program = Program::example(runtime, "async_server", true)?;
    let server = Server::start(&program, &[("RUST_LOG", "mini_http=debug")])?;
    let mut client = Client::connect(server.address)?;
    client.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")?;
    let mut other = Client::connect(server.address)?;
    let since = Instant::now();
    loop {
        other.send("GET /waiting HTTP/1.1\r\nHost: x\r\n\r\n")?;
        if other.response()?.body == b"1" {
            let busy = Busy::begin(&server);
            return Ok((server, client, busy));
        }
        ensure!(since.elapsed() < PATIENCE, "it doesn't wait");
        sleep(Duration::from_millis(10));
    }
}

/// Replaces this process by the same one in a namespace. Returns why it can't.
fn enter() -> String {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return format!("this program: {error}"),
    };
    let error = Command::new("unshare")
        .args(["--map-root-user", "--net", "--"])
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .exec();
    format!("unshare: {error}")
}

fn ip(state: &[&str]) -> Outcome {
    let status = Command::new("ip")
        .args(["link", "set", "lo"])
        .args(state)
        .status();
    let status = status.map_err(|e| format!("ip: {e}"))?;
    ensure!(status.success(), "ip link set lo {state:?}: {status}");
    Ok(())
}
