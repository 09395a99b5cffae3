//! Scenarios with clients that read nothing of a stream, leave a handler waiting, or stall an upload. The server is
//! `async_server`.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::at_most;
use super::crowd::{Crowd, Member};
use super::health::Stats;
use super::scenario::{Reasons, Scenario, Special, Target};
use super::slow::drip;
use crate::client::{Client, PATIENCE};
use crate::server::{Deadline, memory_now};
use crate::{Outcome, ensure};

const MAX_HELD: (u64, &str) = (32 << 20, "33554432");

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "1,000 read nothing of a stream",
        // All of them together want more than may be held. On WASI, 1,000 streams would also be all requests that may
        // be in handlers: a newcomer would wait until one of them is closed, for up to two rate windows.
        settings: &[
            ("RATE_WINDOW", "1000"),
            ("MAX_HELD", MAX_HELD.1),
            ("MAX_REQUESTS", "2000"),
        ],
        attack: read_nothing,
        within: Duration::from_secs(1),
        memory: (64, 144),
        special: Special::Full,
    },
    Scenario {
        name: "1,000 long polls, streams that are reset",
        settings: &[("MAX_REQUESTS", "2000")],
        attack: reset_long_polls,
        within: Duration::from_secs(1),
        memory: (32, 112),
        special: Special::Nothing,
    },
    Scenario {
        name: "10,000 long polls, streams that are ended",
        settings: &[
            ("HALF_CLOSED_TIMEOUT", "2000"),
            ("MAX_CONNECTIONS", "12000"),
            ("MAX_REQUESTS", "12000"),
        ],
        attack: end_long_polls,
        within: Duration::from_secs(1),
        memory: (64, 160),
        special: Special::Nothing,
    },
    Scenario {
        name: "500 long polls, streams that are ended, at a cap of 500",
        settings: &[("MAX_CONNECTIONS", "500")],
        attack: end_at_the_cap,
        within: Duration::from_secs(1),
        memory: (32, 112),
        special: Special::Nothing,
    },
    Scenario {
        name: "500 drip an upload to a stream",
        settings: &[("RATE_WINDOW", "2000")],
        attack: drip_uploads,
        within: Duration::from_secs(1),
        memory: (32, 112),
        special: Special::Nothing,
    },
    Scenario {
        name: "5,000 stall an upload to a stream, others don't",
        settings: &[("RATE_WINDOW", "3000"), ("MAX_REQUESTS", "6000")],
        attack: stall_uploads,
        within: Duration::from_secs(1),
        memory: (64, 160),
        special: Special::Nothing,
    },
    Scenario {
        name: "1,000 open event streams, at most 8 KiB each",
        settings: &[("MAX_REQUESTS", "2000")],
        attack: open_events,
        within: Duration::from_secs(1),
        memory: (32, 112),
        special: Special::Nothing,
    },
];

/// How long the server may take to notice, besides the time that is set.
const GRACE: Duration = Duration::from_secs(3);

fn read_nothing(target: &Target) -> Outcome<Reasons> {
    const COUNT: usize = 1_000;
    let mut other = Client::connect(target.address)?;
    let connect = |count| Crowd::connect_narrower(target.address, count);
    let mut crowd = connect_paced(&mut other, COUNT, connect)?;
    crowd.send("GET /chunks?0 HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut deadline = Deadline::new(target.server, Duration::from_secs(10));
    loop {
        let closed = Stats::ask_on(&mut other)?.closed("WriteTimeout");
        if closed == COUNT as u64 {
            break;
        }
        ensure!(!deadline.is_over(), "only {closed} of {COUNT} are closed");
        sleep(Duration::from_millis(250));
    }
    for member in &mut crowd.members {
        member.read(100);
    }
    crowd.check_statuses(200)?;
    check_held(Stats::ask_on(&mut other)?.get("held_peak"), COUNT as u64)?;
    // Frees what the system would still send.
    crowd.members.iter_mut().try_for_each(Member::reset)?;
    Ok(vec![("WriteTimeout", COUNT), ("ClientClosed", 1)])
}

/// Beyond the budget, each stream may hold one part of its response. The responses of newcomers may add to that.
fn check_held(held: u64, count: u64) -> Outcome {
    // A part of 4 KiB, with its framing and a head.
    const PART: u64 = (4 << 10) + 512;
    let most = MAX_HELD.0 + (count + 10) * PART;
    eprintln!(
        "    {held} bytes held, {} for each stream beyond the budget",
        held.saturating_sub(MAX_HELD.0) / count
    );
    ensure!(
        (MAX_HELD.0..=most).contains(&held),
        "{held} bytes were held, and not {} to {most}",
        MAX_HELD.0
    );
    Ok(())
}

const WAIT: &str = "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n";

fn reset_long_polls(target: &Target) -> Outcome<Reasons> {
    const COUNT: usize = 1_000;
    let mut other = Client::connect(target.address)?;
    let connect = |count| Crowd::connect_sending(target.address, count, WAIT);
    let mut crowd = connect_paced(&mut other, COUNT, connect)?;
    wait_until(target, &mut other, COUNT, GRACE)?;
    crowd.members.iter_mut().try_for_each(Member::reset)?;
    let took = wait_until(target, &mut other, 0, Duration::from_secs(1))?;
    eprintln!("    their futures were dropped within {took:.0?}");
    Ok(vec![("ClientGone", COUNT), ("ClientClosed", 1)])
}

fn end_long_polls(target: &Target) -> Outcome<Reasons> {
    const TIMEOUT: Duration = Duration::from_secs(2);
    let count = at_most(10_000)?;
    let mut other = Client::connect(target.address)?;
    let connect = |count| Crowd::connect_sending(target.address, count, WAIT);
    let mut crowd = connect_paced(&mut other, count, connect)?;
    wait_until(target, &mut other, count, GRACE)?;
    let ended = Instant::now();
    crowd.members.iter().for_each(Member::half_close);
    let took = wait_until(target, &mut other, 0, TIMEOUT + GRACE)?;
    eprintln!(
        "    the futures of {count} were dropped {took:.1?} after the last stream had ended, \
         and {:.1?} after the first",
        ended.elapsed()
    );
    crowd.wait_for_end(GRACE);
    crowd.check_ended()?;
    crowd.check_statuses(0)?;
    Ok(vec![("HalfClosedTimeout", count), ("ClientClosed", 1)])
}

/// As many as there may be connections. One gives way to the newcomers, which come all the while; the others
/// get their responses.
fn end_at_the_cap(target: &Target) -> Outcome<Reasons> {
    const COUNT: usize = 500;
    let mut crowd = Crowd::connect(target.address, COUNT)?;
    for member in &mut crowd.members {
        member.send(WAIT.as_bytes());
        member.half_close();
    }
    sleep(Duration::from_secs(2));
    let mut other = Client::connect(target.address)?;
    other.send(
        "POST /tell HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\nnews",
    )?;
    let response = other.response()?;
    let counted = String::from_utf8_lossy(&response.body).parse();
    let counted: usize = counted.map_err(|e| format!("{}: {e}", response.head))?;
    other.check_end()?;
    ensure!(
        (COUNT / 2..COUNT).contains(&counted),
        "{counted} of {COUNT} were told"
    );
    crowd.wait_for_end(GRACE);
    crowd.check_ended()?;
    let statuses = crowd.statuses();
    ensure!(
        statuses.get(&200) == Some(&counted),
        "{counted} were told, and the statuses are {statuses:?} (0: none)"
    );
    Ok(vec![
        ("Evicted", COUNT - counted),
        ("ClientClosed", counted),
        ("ClientAskedClose", 1),
    ])
}

const UPLOAD: &str = "POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";

fn drip_uploads(target: &Target) -> Outcome<Reasons> {
    const COUNT: usize = 500;
    let mut other = Client::connect(target.address)?;
    let connect = |count| Crowd::connect_sending(target.address, count, UPLOAD);
    let mut crowd = connect_paced(&mut other, COUNT, connect)?;
    // Two windows, and more.
    let most = Duration::from_secs(4) + 2 * GRACE;
    drip(&mut crowd, &[b'x'; 4096], 100, most)?;
    crowd.check_statuses(408)?;
    Ok(vec![("BodyTimeout", COUNT), ("ClientClosed", 1)])
}

fn stall_uploads(target: &Target) -> Outcome<Reasons> {
    const HONEST: usize = 200_000;
    let count = at_most(5_000)?;
    let started = format!("{UPLOAD}{}", "x".repeat(1_000));
    let mut other = Client::connect(target.address)?;
    let connect = |count| Crowd::connect_sending(target.address, count, &started);
    let mut crowd = connect_paced(&mut other, count, connect)?;
    let end = Instant::now() + Duration::from_secs(6) + 2 * GRACE;
    let honest = format!(
        "POST /count HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {HONEST}\r\n\r\n{}",
        "x".repeat(HONEST)
    );
    let (mut served, mut slowest) = (0, Duration::ZERO);
    while crowd.members.iter().any(|member| !member.has_ended()) && Instant::now() < end {
        let asked = Instant::now();
        let mut client = Client::connect(target.address)?;
        client.send(&honest)?;
        client.response()?.check(HONEST.to_string().as_bytes())?;
        client.check_end()?;
        slowest = slowest.max(asked.elapsed());
        served += 1;
        for member in &mut crowd.members {
            member.read(usize::MAX);
        }
        sleep(Duration::from_millis(20));
    }
    eprintln!("    {served} honest uploads beside {count}, the slowest took {slowest:.0?}");
    crowd.check_ended()?;
    crowd.check_statuses(408)?;
    ensure!(served > 10, "only {served} honest uploads were served");
    Ok(vec![
        ("BodyTimeout", count),
        ("ClientAskedClose", served),
        ("ClientClosed", 1),
    ])
}

fn open_events(target: &Target) -> Outcome<Reasons> {
    const COUNT: usize = 1_000;
    // In KiB. The library's part, the handler's future and body, and the allocator's.
    const MOST_EACH: u64 = 8;
    let pid = target.server.pid();
    let idle = memory_now(pid)?;
    let request = "GET /events?0,500 HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut other = Client::connect(target.address)?;
    let connect = |count| Crowd::connect_sending(target.address, count, request);
    let mut crowd = connect_paced(&mut other, COUNT, connect)?;
    sleep(Duration::from_millis(2_500));
    for member in &mut crowd.members {
        member.read(usize::MAX);
    }
    crowd.check_statuses(200)?;
    // A head of 84 bytes, and in this time at least three events of 13.
    let fewest = crowd.members.iter().map(|it| it.read).min();
    ensure!(fewest >= Some(84 + 3 * 13), "one has read {fewest:?} bytes");
    let above = memory_now(pid)?.saturating_sub(idle);
    let each = above / COUNT as u64;
    eprintln!("    {above} KiB above {idle} idle");
    ensure!(
        target.server.runtime.wasi().is_some() || each <= MOST_EACH,
        "each takes {each} KiB, more than {MOST_EACH}"
    );
    crowd.members.iter_mut().try_for_each(Member::reset)?;
    Ok(vec![("ClientGone", COUNT), ("ClientClosed", 1)])
}

/// Opens this many connections, in parts that a listener's backlog has room for. A system drops what the backlog has no
/// room for, and the client's system tries again only after a second.
pub(super) fn connect_paced(
    client: &mut Client,
    count: usize,
    connect: impl Fn(usize) -> Outcome<Crowd>,
) -> Outcome<Crowd> {
    const PART: usize = 100;
    let before = Stats::ask_on(client)?.get("accepted");
    let mut members = Vec::new();
    while members.len() < count {
        members.extend(connect(PART.min(count - members.len()))?.members);
        let since = Instant::now();
        while Stats::ask_on(client)?.get("accepted") < before + members.len() as u64 {
            ensure!(since.elapsed() < PATIENCE, "connections are not accepted");
            sleep(Duration::from_millis(1));
        }
    }
    Ok(Crowd { members })
}

/// Waits until this many long polls wait. Returns how long that took.
fn wait_until(
    target: &Target,
    client: &mut Client,
    count: usize,
    most: Duration,
) -> Outcome<Duration> {
    let (since, mut deadline) = (Instant::now(), Deadline::new(target.server, most));
    loop {
        client.send("GET /waiting HTTP/1.1\r\nHost: x\r\n\r\n")?;
        let waiting = client.response()?.body;
        if waiting == count.to_string().as_bytes() {
            return Ok(since.elapsed());
        }
        ensure!(
            !deadline.is_over(),
            "after {most:.1?}, {} long polls wait, and not {count}",
            String::from_utf8_lossy(&waiting)
        );
        sleep(Duration::from_millis(10));
    }
}
