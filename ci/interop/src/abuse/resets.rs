//! A scenario that resets connections in each of their states.

use std::thread::sleep;
use std::time::Duration;

use super::crowd::Crowd;
use super::health::Stats;
use super::scenario::{Reasons, Scenario, Special, Target};
use crate::Outcome;

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "500 resets, 100 in each state",
    settings: &[],
    attack: reset_all,
    within: Duration::from_secs(1),
    memory: (320, 208),
    special: Special::Full,
}];

const COUNT: usize = 100;
/// Within this time, the server has read what was sent.
const READ: Duration = Duration::from_millis(500);

fn reset_all(target: &Target) -> Outcome<Reasons> {
    // Before any byte, in the head, in the body.
    for sent in [
        "",
        "GET / HTTP/1.1\r\nHo",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
    ] {
        let mut crowd = Crowd::connect(target.address, COUNT)?;
        crowd.send(sent);
        // Half of them at once, so that the server may not have accepted or read yet.
        reset(&mut crowd, COUNT / 2)?;
        sleep(READ);
        reset(&mut crowd, COUNT)?;
    }
    // While a response is being sent. Only ten at a time, because of the memory budget. There is memory for the next
    // ten when the server has seen the resets.
    let mut asked = 0;
    for number in 1..=COUNT / 10 {
        let mut crowd = Crowd::connect_narrow(target.address, 10)?;
        crowd.send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
        // Wait until each client has received the first bytes.
        for _ in 0..100 {
            sleep(READ / 10);
            for member in crowd.members.iter_mut().filter(|member| member.read == 0) {
                member.read(100);
            }
            if crowd.members.iter().all(|member| member.read > 0) {
                break;
            }
        }
        crowd.check_statuses(200)?;
        reset(&mut crowd, 10)?;
        asked += Stats::ask_until_closed(target.server, "IoError", 3 * COUNT + number * 10)?;
    }
    // While the server lingers after a refusal.
    let mut crowd = Crowd::connect(target.address, COUNT)?;
    crowd.send("BAD\r\n\r\n");
    sleep(READ);
    reset(&mut crowd, COUNT)?;
    Ok(vec![
        ("IoError", 4 * COUNT),
        ("BadRequest", COUNT),
        ("ClientAskedClose", asked),
    ])
}

/// Resets the first `count` connections.
fn reset(crowd: &mut Crowd, count: usize) -> Outcome {
    crowd.members[..count]
        .iter_mut()
        .try_for_each(super::crowd::Member::reset)
}
