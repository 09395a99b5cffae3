//! A scenario with upgraded connections: some clients send more than the handler reads, others read nothing, and then
//! reset.

use std::thread::sleep;
use std::time::Duration;

use super::crowd::Crowd;
use super::health::Stats;
use super::scenario::{Reasons, Scenario, Special, Target};
use super::streams::connect_paced;
use crate::client::Client;
use crate::server::Deadline;
use crate::{Outcome, ensure};

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "300 upgraded connections flood, 300 read nothing",
    // All of them together want more than may be held.
    settings: &[("RATE_WINDOW", "1000"), ("MAX_HELD", "33554432")],
    attack: flood_and_read_nothing,
    within: Duration::from_secs(2),
    memory: (64, 144),
    special: Special::Full,
}];

const COUNT: usize = 300;

fn request(what: &str) -> String {
    format!("GET /raw?{what} HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n")
}

fn flood_and_read_nothing(target: &Target) -> Outcome<Reasons> {
    let mut other = Client::connect(target.address)?;
    let narrower = |count| Crowd::connect_narrower(target.address, count);
    let mut silent = connect_paced(&mut other, COUNT, narrower)?;
    silent.send(request("source"));
    let sinks = |count| Crowd::connect_sending(target.address, count, &request("sink"));
    let mut floods = connect_paced(&mut other, COUNT, sinks)?;
    let mut deadline = Deadline::new(target.server, Duration::from_secs(10));
    loop {
        for member in &mut floods.members {
            member.send(&[b'x'; 64 << 10]);
        }
        let closed = Stats::ask_on(&mut other)?.closed("WriteTimeout");
        if closed == COUNT as u64 {
            break;
        }
        ensure!(!deadline.is_over(), "only {closed} of {COUNT} are closed");
        sleep(Duration::from_millis(100));
    }
    for member in silent.members.iter_mut().chain(&mut floods.members) {
        member.read(200);
    }
    silent.check_statuses(101)?;
    floods.check_statuses(101)?;
    for member in silent.members.iter_mut().chain(&mut floods.members) {
        member.reset()?;
    }
    // In a runtime, resets of connections that are not read are found every 10 seconds.
    let mut deadline = Deadline::new(target.server, Duration::from_secs(15));
    while Stats::ask_on(&mut other)?.closed("ClientGone") < COUNT as u64 {
        ensure!(!deadline.is_over(), "resets are not found");
        sleep(Duration::from_millis(100));
    }
    Ok(vec![
        ("WriteTimeout", COUNT),
        ("ClientGone", COUNT),
        ("ClientClosed", 1),
    ])
}
