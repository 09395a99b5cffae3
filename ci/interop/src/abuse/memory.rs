//! Scenarios that check the memory of large bodies: what the server counts, and what the process really uses.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use super::crowd::Crowd;
use super::scenario::{Reasons, Scenario, Special, Target};
use crate::client::Client;
use crate::server::peak_memory;
use crate::{Outcome, ensure};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "3 read a shared body slowly beside uploads and downloads",
        // The body is larger than the budget, and is read slower than is permitted when memory is scarce.
        settings: &[
            ("SHARED", "24000000"),
            ("MAX_HELD", "16777216"),
            ("RATE_WINDOW", "500"),
        ],
        attack: shared_body,
        within: Duration::from_secs(1),
        memory: (64, 144),
        special: Special::Nothing,
    },
    Scenario {
        name: "40 echoes of 15 MiB with Content-Length, never read",
        settings: UNREAD,
        attack: |target| unread_echoes(target, false),
        within: Duration::from_secs(2),
        memory: (340, 420),
        special: Special::Full,
    },
    Scenario {
        name: "40 echoes of 15 MiB in chunks, never read",
        settings: UNREAD,
        attack: |target| unread_echoes(target, true),
        within: Duration::from_secs(2),
        memory: (340, 420),
        special: Special::Full,
    },
];

const MAX_HELD_MIB: u64 = 256;
const UNREAD: &[(&str, &str)] = &[("MAX_HELD", "268435456"), ("RATE_WINDOW", "4000")];

/// Each client gets the whole body, at its own pace. No other request is refused because of that.
fn shared_body(target: &Target) -> Outcome<Reasons> {
    const LENGTH: usize = 24_000_000;
    /// Bytes a second.
    const RATE: f64 = 3e6;
    let mut crowd = Crowd::connect(target.address, 3)?;
    crowd.send("GET /shared HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let are_reading = AtomicBool::new(true);
    let others = thread::scope(|scope| {
        // In a thread of its own: while it waits for a response, the slow ones must go on, or they get too slow.
        let others = scope.spawn(|| serve_others(target, &are_reading));
        let started = Instant::now();
        while crowd.members.iter().any(|member| !member.has_ended()) {
            let due = (started.elapsed().as_secs_f64() * RATE) as usize;
            for member in &mut crowd.members {
                member.read(due.saturating_sub(member.read));
            }
            sleep(Duration::from_millis(5));
        }
        are_reading.store(false, Ordering::Relaxed);
        others.join().unwrap_or_else(|_| Err("a panic".into()))
    })?;
    crowd.check_statuses(200)?;
    for member in &crowd.members {
        let came = member.read;
        ensure!(came > LENGTH, "a body of {LENGTH} bytes ended after {came}");
    }
    ensure!(others > 10, "only {others} others were served meanwhile");
    Ok(vec![("ClientAskedClose", 3 + 2 * others)])
}

/// Sends an upload and a download five times a second. Returns how many of each were served.
fn serve_others(target: &Target, go_on: &AtomicBool) -> Outcome<usize> {
    let mut count = 0;
    while go_on.load(Ordering::Relaxed) {
        upload(target)?;
        download(target)?;
        count += 1;
        sleep(Duration::from_millis(200));
    }
    Ok(count)
}

fn upload(target: &Target) -> Outcome {
    const LENGTH: usize = 150_000;
    let body = "x".repeat(LENGTH);
    let head = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    let mut client = Client::connect(target.address)?;
    client.send(format!("{head}Content-Length: {LENGTH}\r\n\r\n{body}"))?;
    client.response()?.check(body.as_bytes())?;
    client.check_end()
}

fn download(target: &Target) -> Outcome {
    let mut client = Client::connect(target.address)?;
    client.send("GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    client.response()?.check(&[b'x'; 4 << 20])?;
    client.check_end()
}

/// The server sends back as many bodies as there is memory for, and closes these connections because the clients don't
/// read. The process uses at most 1.3 times the budget.
fn unread_echoes(target: &Target, is_chunked: bool) -> Outcome<Reasons> {
    const COUNT: usize = 40;
    let idle = peak_memory(target.server.pid())?;
    let request = echo(is_chunked);
    let mut crowd = Crowd::connect_narrow(target.address, COUNT)?;
    deliver(&mut crowd, &request)?;
    // Two rate windows, and some time more.
    sleep(Duration::from_secs(10));
    crowd.wait_for_end(Duration::from_secs(20));
    crowd.check_ended()?;
    let above = peak_memory(target.server.pid())? - idle;
    let statuses = crowd.statuses();
    let of = |status| statuses.get(&status).copied().unwrap_or(0);
    eprintln!("    {above} MiB above {idle} idle; {statuses:?}");
    ensure!(
        of(200) + of(503) == COUNT && of(200) > 0,
        "the statuses are {statuses:?} (0: none)"
    );
    let most = MAX_HELD_MIB * 13 / 10;
    ensure!(
        above <= most,
        "it took {above} MiB of memory above {idle}, more than {most}"
    );
    Ok(vec![("WriteTimeout", of(200)), ("Overloaded", of(503))])
}

/// A complete request.
fn echo(is_chunked: bool) -> Vec<u8> {
    const LENGTH: usize = 15 << 20;
    const CHUNK: usize = 64 << 10;
    let head = "POST / HTTP/1.1\r\nHost: x\r\n";
    let chunk = "x".repeat(CHUNK);
    let text = if is_chunked {
        let chunks = format!("{CHUNK:x}\r\n{chunk}\r\n").repeat(LENGTH / CHUNK);
        format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")
    } else {
        format!(
            "{head}Content-Length: {LENGTH}\r\n\r\n{}",
            chunk.repeat(LENGTH / CHUNK)
        )
    };
    text.into_bytes()
}

/// Sends the request on all connections at the same time, without reading. After a refusal the server drops the rest.
fn deliver(crowd: &mut Crowd, request: &[u8]) -> Outcome {
    const PIECE: usize = 64 << 10;
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let mut missing = 0;
        for member in crowd
            .members
            .iter_mut()
            .filter(|member| !member.has_ended())
        {
            let rest = &request[member.sent..];
            let sent = member.send(&rest[..rest.len().min(PIECE)]);
            missing += rest.len() - sent;
        }
        if missing == 0 {
            return Ok(());
        }
        ensure!(Instant::now() < end, "{missing} bytes are still to be sent");
        sleep(Duration::from_micros(100));
    }
}
