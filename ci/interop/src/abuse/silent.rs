//! A scenario that measures the processor time for connections on which nothing happens, in each lasting state.

use std::thread::sleep;
use std::time::Duration;

use super::crowd::Crowd;
use super::scenario::{Reasons, Scenario, Special, Target};
use crate::{Outcome, ensure};

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "140 silent connections in seven states use almost no processor time",
    settings: &[
        ("LINGER_TIMEOUT", "60000"),
        ("RATE_WINDOW", "60000"),
        ("HEAD_TIMEOUT", "60000"),
        ("MAX_HELD", "536870912"),
    ],
    attack: stay_silent,
    within: Duration::ZERO,
    memory: (384, 512),
    special: Special::NoNewcomers,
}];

const COUNT: usize = 20;
const WATCHED: Duration = Duration::from_secs(4);
/// The most processor time, in ticks of 10 ms.
const MOST_TICKS: u64 = 2;

fn stay_silent(target: &Target) -> Outcome<Reasons> {
    let large = "GET /large HTTP/1.1\r\nHost: x\r\n\r\n";
    let close = "GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut idle = connect(target, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")?;
    let in_head = &connect(target, "GET / HTTP/1.1\r\nHo")?;
    let in_body = &connect(
        target,
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
    )?;
    let backpressured = &connect(target, &large.repeat(3))?;
    let closing = &connect(target, &format!("{close}more"))?;
    let lingering = &connect(target, "BAD\r\n\r\n")?;
    let half_closed = &connect(target, large)?;
    half_closed
        .members
        .iter()
        .for_each(super::crowd::Member::half_close);

    sleep(Duration::from_secs(2));
    for member in &mut idle.members {
        member.read(usize::MAX);
    }
    idle.check_statuses(200)?;
    let before = target.server.cpu_ticks()?;
    sleep(WATCHED);
    let ticks = target.server.cpu_ticks()? - before;
    ensure!(
        ticks <= MOST_TICKS,
        "{ticks} ticks of processor time in {WATCHED:?}, more than {MOST_TICKS}"
    );
    let mut reasons = Vec::new();
    for (_crowd, reason) in [
        (&idle, "ClientClosed"),
        (in_head, "IncompleteRequest"),
        (in_body, "IncompleteRequest"),
        (backpressured, "IoError"),
        // It asked to close, and resets the connection with most of the response still to be sent.
        (closing, "IoError"),
        (lingering, "BadRequest"),
        // The server reads the end of the stream only after the response was taken.
        (half_closed, "IoError"),
    ] {
        reasons.push((reason, COUNT));
    }
    Ok(reasons)
}

fn connect(target: &Target, text: &str) -> Outcome<Crowd> {
    let mut crowd = Crowd::connect_narrow(target.address, COUNT)?;
    crowd.send(text);
    Ok(crowd)
}
