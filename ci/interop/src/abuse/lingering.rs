//! Scenarios in which clients that never read use up all connections. When the server has closed these connections,
//! newcomers must be served, although the clients keep their sockets open.
//!
//! In wasmtime, a socket can't be dropped while the host holds output for which the system has no room. If
//! `net.core.wmem_max` is 4 MiB, the system takes that output when the connection is closed. If it is 208 KiB, as
//! in older kernels, the socket lingers until the client reads or closes.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::crowd::Crowd;
use super::health::Stats;
use super::scenario::{Reasons, Scenario, Special, Target};
use crate::server::{Busy, Deadline};
use crate::{Outcome, Server, ensure};

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario(
        "1 of at most 1 requests 4 MiB and never reads",
        &settings("1"),
        |target| attack(target, 1, LARGE),
    ),
    scenario(
        "15 of at most 15 request 4 MiB and never read",
        &settings("15"),
        |target| attack(target, 15, LARGE),
    ),
    scenario(
        "200 of at most 200 request a shared 4 MiB and never read",
        &settings("200"),
        |target| attack(target, 200, SHARED),
    ),
    scenario(
        "1 of at most 1 sends 80,000 requests and never reads",
        &settings("1"),
        |target| attack(target, 1, SMALL),
    ),
    scenario(
        "15 of at most 15 send 80,000 requests and never read",
        &settings("15"),
        |target| attack(target, 15, SMALL),
    ),
    scenario(
        "200 of at most 200 send 80,000 requests and never read",
        &settings("200"),
        |target| attack(target, 200, SMALL),
    ),
];

/// The rate window in the settings.
const RATE_WINDOW: Duration = Duration::from_secs(1);

/// The other limits have their defaults. Only these times are shorter.
const fn settings(max_connections: &'static str) -> [(&'static str, &'static str); 3] {
    [
        ("MAX_CONNECTIONS", max_connections),
        ("RATE_WINDOW", "1000"),
        ("LINGER_TIMEOUT", "1000"),
    ]
}

const fn scenario(
    name: &'static str,
    settings: &'static [(&'static str, &'static str)],
    attack: fn(&Target) -> Outcome<Reasons>,
) -> Scenario {
    Scenario {
        name,
        settings,
        attack,
        within: Duration::ZERO,
        // As in the scenario in which 200 clients request 4 MiB, which is more than there is memory for.
        memory: (320, 208),
        // `attack` connects newcomers itself, when the others are closed. Before that there may be no slot for them.
        special: Special::NoNewcomers,
    }
}

/// What the clients do.
struct Plan {
    request: &'static str,
    /// How many times each client sends it.
    times: usize,
    /// How many waves of clients there are. A wave connects when the server has closed the connections of the one
    /// before. All clients keep their sockets open.
    waves: usize,
    connect: fn(SocketAddr, usize) -> Outcome<Crowd>,
}

const LARGE: Plan = Plan {
    request: "GET /large HTTP/1.1\r\nHost: x\r\n\r\n",
    times: 1,
    waves: 3,
    connect: Crowd::connect_narrow,
};
/// There is no memory for 200 large responses: most clients would get 503. A shared body doesn't count.
const SHARED: Plan = Plan {
    request: "GET /shared HTTP/1.1\r\nHost: x\r\n\r\n",
    times: 1,
    waves: 3,
    // Otherwise the server's system takes 2 MiB of each response. That takes time, so that the connections would be
    // closed one by one.
    connect: Crowd::connect_narrower,
};
const SMALL: Plan = Plan {
    request: "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    times: 80_000,
    // 200 clients have up to 16 million requests: one wave takes long enough.
    waves: 1,
    connect: Crowd::connect_narrow,
};

/// If the server has read nothing for this time, it won't read more.
const QUIET: Duration = Duration::from_millis(500);
/// After that, the server closes all connections within two rate windows, and the time that the machine needs.
const CLOSED_WITHIN: Duration = Duration::from_secs(15);
/// After that, a newcomer is served within this time.
const SERVED_WITHIN: Duration = Duration::from_secs(1);
/// When the clients have closed, their sockets may linger for this time.
const DROPPED_WITHIN: Duration = Duration::from_secs(3);

fn attack(target: &Target, count: usize, plan: Plan) -> Outcome<Reasons> {
    let text = plan.request.repeat(plan.times);
    let mut asked = 0;
    let mut waves = Vec::new();
    for wave in 1..=plan.waves {
        // With larger buffers a system may take all 4 MiB, and the server would close no connection.
        let mut crowd = (plan.connect)(target.address, count)?;
        send(&mut crowd, text.as_bytes());
        // For longer than a rate window, so that the windows of all connections end at the same time. The next windows,
        // at the end of which the connections are closed, then do, too. If the connections were closed one by one,
        // their deadlines would wake the server, and hide that a lingering socket doesn't.
        target.server.suspend(RATE_WINDOW + RATE_WINDOW / 2)?;
        waves.push(crowd);
        asked += wait_until_closed(target.server, wave * count)?;
        let lingering = serve_newcomers(target.server, &mut asked)?;
        ensure!(
            lingering <= count as u64 + 1,
            "{lingering} sockets linger, of {count} connections at once"
        );
    }
    drop(waves);
    asked += wait_until_dropped(target.server)?;
    serve_newcomers(target.server, &mut asked)?;
    Ok(vec![
        // There is not enough memory for all of the large responses.
        ("WriteTimeout|Overloaded", plan.waves * count),
        ("ClientAskedClose", asked),
    ])
}

/// Sends the text on every connection, until the server reads no more.
fn send(crowd: &mut Crowd, text: &[u8]) {
    let mut quiet_since = Instant::now();
    while quiet_since.elapsed() < QUIET {
        for member in &mut crowd.members {
            let taken = member.send_and_stay(&text[member.sent..]);
            if taken.is_some_and(|count| count > 0) {
                quiet_since = Instant::now();
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Checks that newcomers are served, one after the other. Returns how many sockets linger.
fn serve_newcomers(server: &Server, asked: &mut usize) -> Outcome<u64> {
    let mut lingering = 0;
    for _ in 0..5 {
        let (started, mut busy) = (Instant::now(), Busy::begin(server));
        lingering = Stats::ask(server.address)?.get("lingering");
        *asked += 1;
        let waited = started.elapsed().saturating_sub(busy.so_far(server));
        ensure!(
            waited <= SERVED_WITHIN,
            "a newcomer waited {waited:.1?}, longer than {SERVED_WITHIN:.1?}"
        );
    }
    Ok(lingering)
}

/// Waits until the server has closed `count` connections. Returns how many requests that took. Each request is a
/// newcomer itself, and waits for a slot.
fn wait_until_closed(server: &Server, count: usize) -> Outcome<usize> {
    ask_until(server, CLOSED_WITHIN, |stats| {
        let closed = stats.closed("WriteTimeout") + stats.closed("Overloaded");
        closed >= count as u64
    })
    .map_err(|why| format!("{why}: {count} connections should be closed"))
}

fn wait_until_dropped(server: &Server) -> Outcome<usize> {
    ask_until(server, DROPPED_WITHIN, |stats| stats.get("lingering") == 0)
        .map_err(|why| format!("{why}: sockets linger although the clients have gone"))
}

fn ask_until(server: &Server, within: Duration, is_so: impl Fn(&Stats) -> bool) -> Outcome<usize> {
    let mut deadline = Deadline::new(server, within);
    for asked in 1.. {
        let stats = Stats::ask(server.address)?;
        if is_so(&stats) {
            return Ok(asked);
        }
        ensure!(!deadline.is_over(), "not within {within:?}: {stats:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    unreachable!("the loop has no end of its own")
}
