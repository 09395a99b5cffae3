//! Scenarios with clients that are slow or never send.

use std::time::Duration;

use super::crowd::{Crowd, Member};
use super::scenario::{Reasons, Scenario, Special, Target};
use crate::Outcome;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "1,000 never send",
        settings: &[("IDLE_TIMEOUT", "5000")],
        attack: never_send,
        within: Duration::from_secs(1),
        memory: (16, 96),
        special: Special::Nothing,
    },
    Scenario {
        name: "2,000 send a head byte by byte",
        settings: &[("HEAD_TIMEOUT", "8000")],
        attack: drip_heads,
        within: Duration::from_secs(1),
        memory: (32, 112),
        special: Special::Nothing,
    },
    Scenario {
        name: "1,500 never send, at most 500 connections",
        settings: &[("MAX_CONNECTIONS", "500"), ("IDLE_TIMEOUT", "5000")],
        attack: never_send_at_the_cap,
        within: Duration::from_secs(1),
        memory: (16, 96),
        special: Special::Nothing,
    },
    Scenario {
        name: "500 send a body slowly, at most 500 connections",
        settings: &[("MAX_CONNECTIONS", "500")],
        attack: drip_bodies_at_the_cap,
        // No connection is idle, so a newcomer waits until the server finds them too slow. That takes one rate window,
        // which is 10 s.
        within: Duration::from_secs(12),
        memory: (16, 96),
        special: Special::Nothing,
    },
];

/// How much longer than the configured timeout the server may take.
const GRACE: Duration = Duration::from_secs(5);

fn never_send(target: &Target) -> Outcome<Reasons> {
    let mut crowd = Crowd::connect(target.address, 1_000)?;
    crowd.wait_for_end(Duration::from_secs(5) + GRACE);
    crowd.check_ended()?;
    Ok(vec![("IdleTimeout", 1_000)])
}

fn drip_heads(target: &Target) -> Outcome<Reasons> {
    let mut crowd = Crowd::connect(target.address, 2_000)?;
    let head = b"GET / HTTP/1.1\r\nHost: x\r\nCookie: taking-my-time";
    drip(&mut crowd, head, 1, Duration::from_secs(8) + GRACE)?;
    crowd.check_statuses(408)?;
    Ok(vec![("HeadTimeout", 2_000)])
}

fn never_send_at_the_cap(target: &Target) -> Outcome<Reasons> {
    let mut crowd = Crowd::connect(target.address, 1_500)?;
    crowd.wait_for_end(Duration::from_secs(5) + GRACE);
    crowd.check_ended()?;
    Ok(vec![("Evicted|IdleTimeout", 1_500)])
}

fn drip_bodies_at_the_cap(target: &Target) -> Outcome<Reasons> {
    // Sent at once, because an idle connection would be closed for a newcomer.
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";
    let mut crowd = Crowd::connect_sending(target.address, 500, head)?;
    // A newcomer may have taken the place of one of them, which is then accepted later, and found too slow one window
    // later than the others.
    drip(
        &mut crowd,
        &[b'x'; 4096],
        100,
        Duration::from_secs(20) + GRACE,
    )?;
    crowd.check_statuses(408)?;
    Ok(vec![("BodyTimeout", 500)])
}

/// Sends `count` bytes of `text` a second on each connection, until the server has closed all.
pub(super) fn drip(crowd: &mut Crowd, text: &[u8], count: usize, limit: Duration) -> Outcome {
    crowd.act(Duration::from_millis(900), limit, |member: &mut Member| {
        let from = member.sent.min(text.len() - count);
        member.send(&text[from..from + count]);
        member.read(usize::MAX);
    });
    crowd.check_ended()
}
