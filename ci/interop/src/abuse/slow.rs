//! Clients that take their time.

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
        name: "2,000 drip a head",
        settings: &[("HEAD_TIMEOUT", "8000")],
        attack: drip_heads,
        within: Duration::from_secs(1),
        memory: (32, 112),
        special: Special::Nothing,
    },
    Scenario {
        name: "1,500 never send at a cap of 500",
        settings: &[("MAX_CONNECTIONS", "500"), ("IDLE_TIMEOUT", "5000")],
        attack: never_send_at_the_cap,
        within: Duration::from_secs(1),
        memory: (16, 96),
        special: Special::Nothing,
    },
    Scenario {
        name: "500 drip a body at a cap of 500",
        settings: &[("MAX_CONNECTIONS", "500")],
        attack: drip_bodies_at_the_cap,
        // None is idle, so the newcomer waits until they are found too slow: that takes one window of
        // the rate, which is 10 s.
        within: Duration::from_secs(12),
        memory: (16, 96),
        special: Special::Nothing,
    },
];

/// How long the server may take to notice, besides the time that is set.
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
    // Sent at once: one that is idle would have to give way to a newcomer.
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";
    let mut crowd = Crowd::connect_sending(target.address, 500, head)?;
    // One of them may have had to wait for a newcomer's place, and so be found too slow in a second
    // round.
    drip(
        &mut crowd,
        &[b'x'; 4096],
        100,
        Duration::from_secs(20) + GRACE,
    )?;
    crowd.check_statuses(408)?;
    Ok(vec![("BodyTimeout", 500)])
}

/// Sends from `text` so many bytes a second on each connection, until the server has ended them all.
fn drip(crowd: &mut Crowd, text: &[u8], count: usize, limit: Duration) -> Outcome {
    crowd.act(Duration::from_millis(900), limit, |member: &mut Member| {
        let from = member.sent.min(text.len() - count);
        member.send(&text[from..from + count]);
        member.read(usize::MAX);
    });
    crowd.check_ended()
}
