//! Scenarios with large bodies and responses, and with messages that never end.

use std::fs;
use std::time::{Duration, Instant};

use super::crowd::{Crowd, Member};
use super::health::Stats;
use super::scenario::{Reasons, Scenario, Special, Target};
use crate::{Outcome, Runtime, ensure};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "200 request 4 MiB and never read",
        settings: &[("RATE_WINDOW", "3000")],
        attack: unread_responses,
        within: Duration::from_secs(1),
        // 256 MiB, or 64 in a runtime, are the limit of held memory. The rest is the process, a response that is being
        // made, and memory that the allocator keeps.
        memory: (320, 208),
        special: Special::Full,
    },
    Scenario {
        name: "1,000 announce bodies of 16 MiB, half send all but one byte",
        settings: &[("RATE_WINDOW", "5000")],
        attack: announced_bodies,
        within: Duration::from_secs(2),
        // In a runtime, at most: 64 MiB of linear memory in which bodies grow side by side and leave holes; behind it,
        // three complete bodies of 16 MiB; and the runtime itself, with 52 MiB in wasmtime 48, the largest.
        memory: (320, 164),
        special: Special::Full,
    },
    Scenario {
        name: "1,100 announce bodies of 16 MiB and send one byte",
        settings: &[("RATE_WINDOW", "3000"), ("MAX_HELD", "67108864")],
        attack: bytes_of_bodies,
        within: Duration::from_secs(1),
        // No newcomer's body is refused, because all these bodies together hold only some MiB.
        memory: (48, 128),
        special: Special::Nothing,
    },
    Scenario {
        name: "10 send 15 of 16 MiB, and then a trickle",
        settings: &[("RATE_WINDOW", "3000"), ("MAX_HELD", "67108864")],
        attack: trickled_bodies,
        within: Duration::from_secs(1),
        memory: (112, 144),
        special: Special::Full,
    },
    Scenario {
        name: "30 announce bodies of 10 GiB and send them",
        settings: &[],
        attack: ten_gib,
        within: Duration::from_secs(1),
        memory: (16, 96),
        special: Special::Nothing,
    },
    Scenario {
        name: "endless heads, extensions, trailers",
        settings: &[],
        attack: endless,
        within: Duration::from_secs(1),
        memory: (16, 96),
        special: Special::Nothing,
    },
    Scenario {
        name: "5 send endless bodies in chunks of one byte",
        settings: &[],
        attack: tiny_chunks,
        within: Duration::from_secs(1),
        memory: (320, 144),
        special: Special::Full,
    },
    Scenario {
        name: "endless pipelining, nothing read",
        settings: &[("RATE_WINDOW", "3000")],
        attack: endless_pipelining,
        within: Duration::from_secs(1),
        memory: (32, 112),
        special: Special::Nothing,
    },
    Scenario {
        name: "endless pipelining, read slowly",
        settings: &[],
        attack: slow_readers,
        within: Duration::from_secs(1),
        memory: (32, 112),
        special: Special::Nothing,
    },
    Scenario {
        name: "6 read large responses as fast as they can",
        settings: &[],
        attack: fast_readers,
        within: Duration::from_secs(2),
        memory: (96, 208),
        special: Special::Nothing,
    },
];

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const GET_LARGE: &str = "GET /large HTTP/1.1\r\nHost: x\r\n\r\n";
/// Almost no pause: the clients send as fast as they can.
const AT_ONCE: Duration = Duration::from_micros(100);

/// The clients whose responses fit into the memory budget are closed after two rate windows, because in the first one
/// the system's buffers were filled. The others get 503.
fn unread_responses(target: &Target) -> Outcome<Reasons> {
    let mut crowd = Crowd::connect_narrow(target.address, 200)?;
    crowd.send(GET_LARGE);
    std::thread::sleep(Duration::from_secs(8));
    crowd.widen()?;
    crowd.wait_for_end(Duration::from_secs(15));
    crowd.check_ended()?;
    let statuses = crowd.statuses();
    let of = |status| statuses.get(&status).copied().unwrap_or(0);
    ensure!(
        of(200) + of(503) == 200 && of(200) > 0,
        "the statuses are {statuses:?}"
    );
    Ok(vec![("WriteTimeout", of(200)), ("Overloaded", of(503))])
}

fn announced_bodies(target: &Target) -> Outcome<Reasons> {
    const LENGTH: usize = 16 << 20;
    let head = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {LENGTH}\r\n\r\n");
    let mut crowd = Crowd::connect(target.address, 1_000)?;
    crowd.send(&head);
    let all_but_one = head.len() + LENGTH - 1;
    let piece = [b'x'; 64 << 10];
    let mut silent = Crowd {
        members: crowd.members.split_off(500),
    };
    crowd.act(AT_ONCE, Duration::from_secs(60), |member| {
        let left = all_but_one - member.sent;
        member.send(&piece[..piece.len().min(left)]);
        member.read(usize::MAX);
    });
    silent.wait_for_end(Duration::from_secs(10));
    crowd.members.append(&mut silent.members);
    crowd.check_ended()?;
    let statuses = crowd.statuses();
    let of = |status| statuses.get(&status).copied().unwrap_or(0);
    ensure!(
        of(408) + of(503) == 1_000 && of(408) > 0,
        "the statuses are {statuses:?} (0: none)"
    );
    Ok(vec![("BodyTimeout", of(408)), ("Overloaded", of(503))])
}

/// If each announced body got 64 KiB, these clients would use up the whole budget while sending next to nothing.
fn bytes_of_bodies(target: &Target) -> Outcome<Reasons> {
    const COUNT: usize = 1_100;
    let mut crowd = Crowd::connect(target.address, COUNT)?;
    crowd.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 16777216\r\n\r\nx");
    crowd.wait_for_end(Duration::from_secs(10));
    crowd.check_statuses(408)?;
    Ok(vec![("BodyTimeout", COUNT)])
}

/// Four of the bodies fill the budget, and could keep it for minutes at the minimum rate. But while more than half
/// of the budget is in use, they are too slow. The others get 503.
fn trickled_bodies(target: &Target) -> Outcome<Reasons> {
    const LENGTH: usize = 16 << 20;
    const COUNT: usize = 10;
    let head = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {LENGTH}\r\n\r\n");
    let mut crowd = Crowd::connect(target.address, COUNT)?;
    crowd.send(&head);
    let most = head.len() + LENGTH - (1 << 20);
    let piece = [b'x'; 64 << 10];
    crowd.act(AT_ONCE, Duration::from_secs(5), |member| {
        let left = most - member.sent;
        member.send(&piece[..piece.len().min(left)]);
        member.read(usize::MAX);
    });
    let trickle = [b'x'; 600];
    crowd.act(
        Duration::from_millis(100),
        Duration::from_secs(12),
        |member| {
            member.send(&trickle);
            member.read(usize::MAX);
        },
    );
    let (ended, open): (Vec<_>, Vec<_>) = crowd
        .members
        .into_iter()
        .partition(|member| member.has_ended());
    let mut open = Crowd { members: open };
    let kept = open.members.len();
    ensure!(kept <= 2, "{kept} of {COUNT} still have a body of 15 MiB");
    let statuses = Crowd { members: ended }.statuses();
    let of = |status| statuses.get(&status).copied().unwrap_or(0);
    ensure!(
        of(408) + of(503) + kept == COUNT && of(408) > 0,
        "the statuses are {statuses:?} (0: none)"
    );
    let mut reasons = reset(&mut open)?;
    reasons.extend([("BodyTimeout", of(408)), ("Overloaded", of(503))]);
    Ok(reasons)
}

fn ten_gib(target: &Target) -> Outcome<Reasons> {
    let mut crowd = Crowd::connect(target.address, 30)?;
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10737418240\r\n";
    for (number, member) in crowd.members.iter_mut().enumerate() {
        let expect = if number % 3 == 0 {
            "Expect: 100-continue\r\n"
        } else {
            ""
        };
        member.send(format!("{head}{expect}\r\n").as_bytes());
    }
    pour(&mut crowd, &[b'x'; 64 << 10])?;
    crowd.check_statuses(413)?;
    Ok(vec![("TooLarge", 30)])
}

/// For each case, ten clients send the first text, and then the second one repeatedly.
fn endless(target: &Target) -> Outcome<Reasons> {
    const COUNT: usize = 10;
    let chunked = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let x = || "x".repeat(64 << 10);
    let cases: [(u16, &str, String, String); 6] = [
        (414, "TooLarge", "GET /".into(), x()),
        (
            431,
            "TooLarge",
            "GET / HTTP/1.1\r\nHost: x\r\nA: ".into(),
            x(),
        ),
        (
            431,
            "TooLarge",
            "GET / HTTP/1.1\r\nHost: x\r\n".into(),
            "a: b\r\n".repeat(9_000),
        ),
        (400, "BadRequest", format!("{chunked}1;"), x()),
        (431, "TooLarge", format!("{chunked}0\r\nA: "), x()),
        (
            431,
            "TooLarge",
            format!("{chunked}0\r\n"),
            "a: b\r\n".repeat(9_000),
        ),
    ];
    let mut reasons = Vec::new();
    for (status, reason, start, more) in cases {
        let mut crowd = Crowd::connect(target.address, COUNT)?;
        crowd.send(&start);
        pour(&mut crowd, more.as_bytes()).map_err(|e| format!("after {start:?}: {e}"))?;
        crowd
            .check_statuses(status)
            .map_err(|e| format!("after {start:?}: {e}"))?;
        reasons.push((reason, COUNT));
    }
    Ok(reasons)
}

/// Six bytes for each byte of the body, the most expensive framing, until it is too large or there is no memory for it.
fn tiny_chunks(target: &Target) -> Outcome<Reasons> {
    let mut crowd = Crowd::connect(target.address, 5)?;
    crowd.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    pour(&mut crowd, "1\r\nx\r\n".repeat(9_000).as_bytes())?;
    let statuses = crowd.statuses();
    let of = |status| statuses.get(&status).copied().unwrap_or(0);
    ensure!(
        of(413) + of(503) == 5,
        "the statuses are {statuses:?} (0: none)"
    );
    Ok(vec![("TooLarge", of(413)), ("Overloaded", of(503))])
}

fn endless_pipelining(target: &Target) -> Outcome<Reasons> {
    let mut crowd = Crowd::connect_narrow(target.address, 50)?;
    let requests = GET.repeat(2_000);
    if !is_kept_from_closing(target) {
        pour(&mut crowd, requests.as_bytes())?;
        return Ok(vec![("WriteTimeout", 50)]);
    }
    // The server has closed the connections; the clients see that only when they read.
    pour_for(&mut crowd, requests.as_bytes(), Duration::from_secs(8));
    let asked = Stats::ask_until_closed(target.server, "WriteTimeout", 50)?;
    crowd.wait_for_end(Duration::from_secs(10));
    crowd.check_ended()?;
    Ok(vec![("WriteTimeout", 50), ("ClientAskedClose", asked)])
}

/// Whether the server can't close such connections at once. wasmtime closes a connection only when the system has taken
/// all output. The server asks for a buffer that is large enough, but Linux permits none larger than `wmem_max`: 208
/// KiB in older kernels, although buffers grow to 4 MiB by themselves.
fn is_kept_from_closing(target: &Target) -> bool {
    let most = fs::read_to_string("/proc/sys/net/core/wmem_max");
    let most = most.ok().and_then(|text| text.trim().parse::<u64>().ok());
    target.server.runtime == Runtime::Wasmtime48 && most.unwrap_or(0) < 3 << 20
}

/// These clients are well above the minimum rate. So the server doesn't close them, and its memory doesn't grow.
fn slow_readers(target: &Target) -> Outcome<Reasons> {
    let mut crowd = Crowd::connect_narrow(target.address, 50)?;
    let mut writers: Vec<_> = crowd
        .members
        .iter()
        .map(|_| Pourer::new(requests()))
        .collect();
    let end = Instant::now() + Duration::from_secs(8);
    while Instant::now() < end {
        for (member, writer) in crowd.members.iter_mut().zip(&mut writers) {
            writer.send(member);
            member.read(3_000);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    reset(&mut crowd)
}

/// Requests with small and large responses.
fn requests() -> Vec<u8> {
    let echo = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 16000\r\n\r\n{}",
        "x".repeat(16_000)
    );
    [&GET.repeat(20), &echo, &GET.repeat(20)]
        .map(String::as_str)
        .concat()
        .into_bytes()
}

fn fast_readers(target: &Target) -> Outcome<Reasons> {
    let mut crowd = Crowd::connect(target.address, 6)?;
    let mut writers: Vec<_> = crowd
        .members
        .iter()
        .map(|_| Pourer::new(GET_LARGE.into()))
        .collect();
    let end = Instant::now() + Duration::from_secs(5);
    while Instant::now() < end {
        for (member, writer) in crowd.members.iter_mut().zip(&mut writers) {
            // Some are requested in advance, so that the server always has another one to send.
            if member.sent * (4 << 20) < (member.read + (32 << 20)) * GET_LARGE.len() {
                writer.send(member);
            }
            member.read(4 << 20);
        }
    }
    let read: usize = crowd.members.iter().map(|member| member.read).sum();
    ensure!(read > 100 << 20, "only {read} bytes were read");
    reset(&mut crowd)
}

/// Fails unless all members are still connected, and resets them.
fn reset(crowd: &mut Crowd) -> Outcome<Reasons> {
    let ended = crowd
        .members
        .iter()
        .filter(|member| member.has_ended())
        .count();
    ensure!(ended == 0, "{ended} connections were ended");
    let count = crowd.members.len();
    for member in &mut crowd.members {
        member.reset()?;
    }
    Ok(vec![("IoError", count)])
}

/// Sends the bytes repeatedly on all connections, without reading, until the server has closed all.
fn pour(crowd: &mut Crowd, bytes: &[u8]) -> Outcome {
    pour_for(crowd, bytes, Duration::from_secs(60));
    crowd.check_ended()
}

/// The same, for at most `limit`.
fn pour_for(crowd: &mut Crowd, bytes: &[u8], limit: Duration) {
    let mut writers: Vec<_> = crowd
        .members
        .iter()
        .map(|_| Pourer::new(bytes.to_vec()))
        .collect();
    let mut number = 0;
    let count = crowd.members.len();
    let end = Instant::now() + limit;
    while Instant::now() < end && crowd.members.iter().any(|member| !member.has_ended()) {
        writers[number % count].send(&mut crowd.members[number % count]);
        number += 1;
        if number % count == 0 {
            std::thread::sleep(AT_ONCE);
        }
    }
}

/// Sends one text repeatedly. After a short write it goes on at the same position.
struct Pourer {
    text: Vec<u8>,
    at: usize,
}

impl Pourer {
    fn new(text: Vec<u8>) -> Self {
        Self { text, at: 0 }
    }

    fn send(&mut self, member: &mut Member) {
        self.at = (self.at + member.send(&self.text[self.at..])) % self.text.len();
    }
}
