//! As many clients as there may be connections, which never read: when they are cut, newcomers are served,
//! although the clients keep their sockets.
//!
//! In wasmtime a socket can't be dropped while the host has bytes of it that the system doesn't take. Where
//! `net.core.wmem_max` is 4 MiB the system takes them when the connection is closed; where it is 208 KiB, as
//! in older kernels, such a socket stays for as long as the client likes.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::crowd::Crowd;
use super::health::Stats;
use super::scenario::{Reasons, Scenario, Special, Target};
use crate::{Outcome, ensure};

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario(
        "1 at a cap of 1 read nothing of 4 MiB",
        &settings("1"),
        |target| attack(target, 1, LARGE),
    ),
    scenario(
        "15 at a cap of 15 read nothing of 4 MiB",
        &settings("15"),
        |target| attack(target, 15, LARGE),
    ),
    scenario(
        "200 at a cap of 200 read nothing of a shared 4 MiB",
        &settings("200"),
        |target| attack(target, 200, SHARED),
    ),
    scenario(
        "1 at a cap of 1 read nothing of 80,000 answers",
        &settings("1"),
        |target| attack(target, 1, SMALL),
    ),
    scenario(
        "15 at a cap of 15 read nothing of 80,000 answers",
        &settings("15"),
        |target| attack(target, 15, SMALL),
    ),
    scenario(
        "200 at a cap of 200 read nothing of 80,000 answers",
        &settings("200"),
        |target| attack(target, 200, SMALL),
    ),
];

/// As in the settings.
const RATE_WINDOW: Duration = Duration::from_secs(1);

/// The other limits are what they are by default; only the times are shorter.
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
        // As of those that read nothing of 4 MiB, with more connections than there is memory for.
        memory: (320, 208),
        // The newcomers come when the others are cut; before, there may be no place for them.
        special: Special::Quiet,
    }
}

/// What the clients do.
struct Wish {
    request: &'static str,
    /// Each sends it so often.
    times: usize,
    /// As many clients come again when these are cut, until there were so many waves. All keep their
    /// sockets.
    waves: usize,
    connect: fn(SocketAddr, usize) -> Outcome<Crowd>,
}

const LARGE: Wish = Wish {
    request: "GET /large HTTP/1.1\r\nHost: x\r\n\r\n",
    times: 1,
    waves: 3,
    connect: Crowd::connect_narrow,
};
/// There is no memory for 200 large responses, and the clients that get 503 take it. A shared one isn't counted.
const SHARED: Wish = Wish {
    request: "GET /shared HTTP/1.1\r\nHost: x\r\n\r\n",
    times: 1,
    waves: 3,
    // Otherwise the server's system takes 2 MiB of each response, which lasts: the clients are cut one by one.
    connect: Crowd::connect_narrower,
};
const SMALL: Wish = Wish {
    request: "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    times: 80_000,
    // 200 clients have up to 16 million requests: one wave takes long enough.
    waves: 1,
    connect: Crowd::connect_narrow,
};

/// The server takes no more when it has taken nothing for so long.
const QUIET: Duration = Duration::from_millis(500);
/// Then all are cut within two windows of the rate, and what the machine needs.
const CUT_WITHIN: Duration = Duration::from_secs(15);
/// Then a newcomer is served within this time.
const SERVED_WITHIN: Duration = Duration::from_secs(1);
/// After the clients have gone, so long may their sockets last.
const DROPPED_WITHIN: Duration = Duration::from_secs(3);

fn attack(target: &Target, count: usize, wish: Wish) -> Outcome<Reasons> {
    let text = wish.request.repeat(wish.times);
    let mut asked = 0;
    let mut waves = Vec::new();
    for wave in 1..=wish.waves {
        // Otherwise a system may take 4 MiB for them, and nobody is cut.
        let mut crowd = (wish.connect)(target.address, count)?;
        send(&mut crowd, text.as_bytes());
        // Longer than a window of the rate. So the windows of all end at once, and the next ones, in which they
        // are cut, do as well. If only some were cut at a time, the deadlines of the others would end the wait
        // that must be ended by the end of a lingering socket.
        target.server.suspend(RATE_WINDOW + RATE_WINDOW / 2)?;
        waves.push(crowd);
        asked += wait_until_cut(target.address, wave * count)?;
        let lingering = serve_newcomers(target.address, &mut asked)?;
        ensure!(
            lingering <= count as u64 + 1,
            "{lingering} sockets linger, of {count} connections at once"
        );
    }
    drop(waves);
    asked += wait_until_dropped(target.address)?;
    serve_newcomers(target.address, &mut asked)?;
    Ok(vec![
        // Of the large answers some find no memory.
        ("WriteTimeout|Overloaded", wish.waves * count),
        ("ClientAskedClose", asked),
    ])
}

/// Sends the whole text on every connection, as far as the server takes it.
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

/// Newcomers are served one after the other. Returns how many sockets linger.
fn serve_newcomers(address: SocketAddr, asked: &mut usize) -> Outcome<u64> {
    let mut lingering = 0;
    for _ in 0..5 {
        let started = Instant::now();
        lingering = Stats::ask(address)?.get("lingering");
        *asked += 1;
        let waited = started.elapsed();
        ensure!(
            waited <= SERVED_WITHIN,
            "a newcomer waited {waited:.1?}, longer than {SERVED_WITHIN:.1?}"
        );
    }
    Ok(lingering)
}

/// Returns how often it has asked. Who asks is a newcomer too, and waits until there is a place.
fn wait_until_cut(address: SocketAddr, count: usize) -> Outcome<usize> {
    ask_until(address, CUT_WITHIN, |stats| {
        let cut = stats.closed("WriteTimeout") + stats.closed("Overloaded");
        cut >= count as u64
    })
    .map_err(|why| format!("{why}: {count} clients are to be cut"))
}

fn wait_until_dropped(address: SocketAddr) -> Outcome<usize> {
    ask_until(address, DROPPED_WITHIN, |stats| stats.get("lingering") == 0)
        .map_err(|why| format!("{why}: sockets linger although the clients have gone"))
}

fn ask_until(
    address: SocketAddr,
    within: Duration,
    is_so: impl Fn(&Stats) -> bool,
) -> Outcome<usize> {
    let end = Instant::now() + within;
    for asked in 1.. {
        let stats = Stats::ask(address)?;
        if is_so(&stats) {
            return Ok(asked);
        }
        ensure!(Instant::now() < end, "not within {within:?}: {stats:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    unreachable!("the loop has no end of its own")
}
