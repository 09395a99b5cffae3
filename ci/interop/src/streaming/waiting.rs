//! Handlers and bodies that wait: side by side, and until the server stops.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Case, get, number, post};
use crate::chunked::check_chunked;
use crate::curl::curl;
use crate::runtime::Wasi;
use crate::server::{Busy, Deadline};
use crate::wait::in_a_quiet_moment;
use crate::{Client, Outcome, Server, ensure};

pub(super) const CASES: &[Case] = &[
    ("16 sleep 200 ms; others' median", sleepers),
    ("events come one by one", events),
    ("a long poll ends by another request", long_poll),
    ("seconds until a waiting client is probed", probed),
];

pub(super) const STOP: Case = ("ms to stop beside a sleep and events", stop);

/// From the first request to the last response. The lower bound is exact.
const SLEPT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(260));
/// Of requests that are made meanwhile.
const OTHERS_MEDIAN: Duration = Duration::from_millis(5);

fn sleepers(server: &mut Server) -> Outcome<String> {
    in_a_quiet_moment(|| sleep_side_by_side(server))
}

fn sleep_side_by_side(server: &Server) -> Outcome<String> {
    const COUNT: usize = 16;
    let mut other = Client::connect(server.address)?;
    other.send(get("/"))?;
    other.response()?.check(b"hello!")?;
    let connect = |_| Client::connect(server.address);
    let mut clients = (0..COUNT).map(connect).collect::<Outcome<Vec<_>>>()?;
    let mut busy = Busy::begin(server);
    let started = Instant::now();
    for client in &mut clients {
        client.send(get("/sleep?200"))?;
    }
    let mut waits = Vec::new();
    while started.elapsed() < SLEPT.0 - Duration::from_millis(20) {
        let asked = Instant::now();
        other.send(get("/"))?;
        other.response()?.check(b"hello!")?;
        waits.push(asked.elapsed());
        sleep(Duration::from_millis(1));
    }
    for client in &mut clients {
        client.response()?.check(b"slept")?;
        ensure!(
            started.elapsed() >= SLEPT.0,
            "one slept only {:?}",
            started.elapsed()
        );
    }
    let elapsed = started.elapsed();
    // Without the time in which it was ready to run and other processes had the processor.
    let took = elapsed.saturating_sub(busy.so_far(server));
    waits.sort();
    let median = waits[waits.len() / 2];
    ensure!(
        took <= SLEPT.1,
        "they took {took:.1?} ({elapsed:.1?} with a busy machine), longer than {:?}",
        SLEPT.1
    );
    ensure!(
        median < OTHERS_MEDIAN,
        "the median of {} others was {median:.1?}, not below {OTHERS_MEDIAN:?}",
        waits.len()
    );
    let median = median.as_secs_f64() * 1000.0;
    Ok(format!("{} ms; {median:.1} ms", elapsed.as_millis()))
}

fn events(server: &mut Server) -> Outcome<String> {
    in_a_quiet_moment(|| come_one_by_one(server))?;
    let said = curl(&["-N", "-i", &server.url("/events?3,20")])?.text();
    ensure!(
        said.contains("chunked") && said.ends_with("event 0\nevent 1\nevent 2\n"),
        "curl got {said}"
    );
    Ok("ok".into())
}

fn come_one_by_one(server: &Server) -> Outcome {
    const COUNT: usize = 4;
    const PERIOD: Duration = Duration::from_millis(100);
    let mut client = Client::connect(server.address)?;
    let started = Instant::now();
    client.send(get(&format!("/events?{COUNT},{}", PERIOD.as_millis())))?;
    check_chunked(&client.response_head()?)?;
    for number in 0..COUNT {
        let chunk = client.chunk()?;
        let (came, due) = (started.elapsed(), PERIOD * number as u32);
        ensure!(
            chunk == Some(format!("event {number}\n").into_bytes()),
            "event {number} is {chunk:?}"
        );
        // Well before the next one.
        ensure!(
            came >= due && came < due + PERIOD * 8 / 10,
            "event {number} came after {came:.1?}, and not {due:?}"
        );
    }
    ensure!(client.chunk()?.is_none(), "there are more events");
    ensure!(client.trailers()?.is_empty(), "there are trailers");
    // The connection persists.
    client.send(get("/"))?;
    client.response()?.check(b"hello!")
}

fn long_poll(server: &mut Server) -> Outcome<String> {
    const COUNT: usize = 5;
    let mut other = Client::connect(server.address)?;
    let mut waiting = Vec::new();
    for _ in 0..COUNT {
        let mut client = Client::connect(server.address)?;
        client.send(get("/wait"))?;
        waiting.push(client);
    }
    until_waiting(server, &mut other, COUNT as u64)?;
    // One of them gives up, which its future sees.
    waiting.pop().map_or(Ok(()), Client::reset)?;
    until_waiting(server, &mut other, COUNT as u64 - 1)?;
    other.send(post("/tell", "the news"))?;
    other.response()?.check(b"4")?;
    for client in &mut waiting {
        client.response()?.check(b"the news")?;
        client.send(get("/"))?;
        client.response()?.check(b"hello!")?;
    }
    until_waiting(server, &mut other, 0)?;
    Ok("ok".into())
}

/// Keep-alive probes are on, once a request waits. `ci/run dead-peer` shows what becomes of a client that doesn't
/// respond to them.
fn probed(server: &mut Server) -> Outcome<String> {
    if server.runtime.wasi() == Some(Wasi::Preview1) {
        return Ok("none".into());
    }
    let mut other = Client::connect(server.address)?;
    let mut client = Client::connect(server.address)?;
    client.send(get("/wait"))?;
    until_waiting(server, &mut other, 1)?;
    // Until its request is acknowledged, another timer runs.
    sleep(Duration::from_millis(300));
    let probed = keep_alive_timer(server.address, client.address()?)?;
    ensure!(
        probed.is_some_and(|seconds| (25.0..=30.0).contains(&seconds)),
        "the next probe is after {probed:?} s"
    );
    let idle = keep_alive_timer(server.address, other.address()?)?;
    ensure!(idle.is_none(), "an idle client is probed after {idle:?} s");
    client.reset()?;
    until_waiting(server, &mut other, 0)?;
    Ok(format!("{:.0}", probed.unwrap_or_default()))
}

/// In how many seconds the server's socket of this client sends its next probe, if it does at all.
fn keep_alive_timer(server: SocketAddr, client: SocketAddr) -> Outcome<Option<f64>> {
    const KEEP_ALIVE: &str = "02";
    const TICKS: f64 = 100.0;
    let path = "/proc/net/tcp";
    let table = fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
    let ends = format!("{} {}", shown(server), shown(client));
    let line = table.lines().find(|line| line.contains(&ends));
    let line = line.ok_or_else(|| format!("{path} has no connection {ends}"))?;
    let timer = line
        .split_whitespace()
        .nth(5)
        .and_then(|it| it.split_once(':'));
    let (kind, left) = timer.ok_or_else(|| format!("not understood: {line}"))?;
    let left = u64::from_str_radix(left, 16).map_err(|e| format!("{line}: {e}"))?;
    Ok((kind == KEEP_ALIVE).then_some(left as f64 / TICKS))
}

/// An address of IPv4, as `/proc/net/tcp` has it.
fn shown(address: SocketAddr) -> String {
    let IpAddr::V4(ip) = address.ip() else {
        return address.to_string();
    };
    let ip = u32::from_ne_bytes(ip.octets());
    format!("{ip:08X}:{:04X}", address.port())
}

/// How soon the server sees that a client has gone.
const SEEN_WITHIN: Duration = Duration::from_secs(3);

/// Waits until this many long polls wait.
fn until_waiting(server: &Server, client: &mut Client, count: u64) -> Outcome {
    let mut deadline = Deadline::new(server, SEEN_WITHIN);
    loop {
        let waiting = number(client, "/waiting")?;
        if waiting == count {
            return Ok(());
        }
        ensure!(
            !deadline.is_over(),
            "{waiting} long polls wait, and not {count}"
        );
        sleep(Duration::from_millis(10));
    }
}

fn stop(server: &mut Server) -> Outcome<String> {
    const PERIOD: Duration = Duration::from_millis(50);
    let begun = Instant::now();
    let mut events = Client::connect(server.address)?;
    events.send(get(&format!("/events?0,{}", PERIOD.as_millis())))?;
    check_chunked(&events.response_head()?)?;
    let mut sleeper = Client::connect(server.address)?;
    sleeper.send(get("/sleep?400"))?;
    let mut count = 0;
    for _ in 0..3 {
        ensure!(events.chunk()?.is_some(), "the events end by themselves");
        count += 1;
    }
    let mut stopper = Client::connect(server.address)?;
    stopper.send(get("/stop"))?;
    stopper.response()?.check(b"stopping")?;
    let asked = Instant::now();
    while events.chunk()?.is_some() {
        count += 1;
    }
    events.trailers()?;
    // The first event comes at once, and none after the stop.
    let most = 1 + (asked - begun).as_millis() / PERIOD.as_millis();
    ensure!(
        count <= most,
        "{count} events came, and at most {most} were due"
    );
    sleeper.response()?.check(b"slept")?;
    events.check_end()?;
    sleeper.check_end()?;
    drop((events, sleeper, stopper));
    server.ends_within(Duration::from_secs(3))?;
    Ok(asked.elapsed().as_millis().to_string())
}
