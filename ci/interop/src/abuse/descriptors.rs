//! Scenarios in which the server may have only few file descriptors.

use std::thread::sleep;
use std::time::Duration;

use super::crowd::Crowd;
use super::scenario::{Reasons, Scenario, Special, Target};
use crate::Outcome;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "200 never send, 64 descriptors",
        settings: &[],
        attack: too_few,
        // Every 50 ms, the connection that was idle longest is closed for a newcomer.
        within: Duration::from_secs(10),
        memory: (16, 96),
        special: Special::TooFewDescriptors(64),
    },
    Scenario {
        name: "45 wait for both directions, 64 descriptors",
        settings: &[("MAX_HELD", "268435456")],
        attack: both_directions,
        within: Duration::from_secs(1),
        memory: (320, 384),
        special: Special::Descriptors(64),
    },
];

fn too_few(target: &Target) -> Outcome<Reasons> {
    let crowd = Crowd::connect(target.address, 200)?;
    sleep(Duration::from_secs(12));
    drop(crowd);
    Ok(vec![("Evicted|ClientClosed", 200)])
}

/// If both directions of a connection are of interest, a runtime's poll has two entries for it, and the system
/// refuses to poll more entries than there may be descriptors. That is the case here: the clients don't read the
/// response, and because it is the last one, the server also reads and drops further input.
fn both_directions(target: &Target) -> Outcome<Reasons> {
    let mut crowd = Crowd::connect_narrow(target.address, 45)?;
    crowd.send("GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    sleep(Duration::from_secs(4));
    // They close with unread data, which resets the connections. Most of each response isn't sent then.
    drop(crowd);
    Ok(vec![("IoError", 45)])
}
