//! Measures what a call into the runtime costs.

use std::io::IoSlice;

use wasip1_poll::{Event, FdFlags, Preview1, Subscription, Wasi};

use crate::lab::{Lab, NOT_OPEN, Outcome, close, now};
use crate::table::Table;

pub(crate) fn examine(lab: &mut Lab, table: &mut Table) -> Outcome {
    table.section("What a call costs");
    let connection = lab.connect()?;
    lab.ask(connection, "send 20000")?;
    let fd = connection.fd;
    let mut row = |name: &str, cost: f64, mini_http| {
        table.row(name, "nothing", format!("{cost:.1} us"), mini_http);
    };
    row("`clock_time_get`", cost(|| _ = now()), "once an iteration");
    row(
        "`fd_fdstat_get`",
        cost(|| _ = Preview1.fd_fdstat_get(fd)),
        "at the start only",
    );
    row(
        "`fd_fdstat_get`, `BADF`",
        cost(|| _ = Preview1.fd_fdstat_get(NOT_OPEN)),
        "when a poll fails",
    );
    row(
        "`fd_read` of 1 byte",
        cost(|| _ = Preview1.fd_read(fd, &mut [0])),
        "reads up to 64 KiB at once",
    );
    row(
        "`fd_write` of 1 byte",
        cost(|| _ = Preview1.fd_write(fd, &[IoSlice::new(b"x")])),
        "writes heads and small bodies in one piece",
    );
    let mut rest = [0; 64 * 1024];
    while Preview1.fd_read(fd, &mut rest).is_ok() {}
    row(
        "`fd_read`, `AGAIN`",
        cost(|| _ = Preview1.fd_read(fd, &mut [0])),
        "avoids it: reads certain ones first, and hints within a budget",
    );
    let listener = lab.listener;
    row(
        "`sock_accept`, `AGAIN`",
        cost(|| _ = Preview1.sock_accept(listener, FdFlags::NONBLOCK)),
        "tries at most every millisecond under load",
    );
    close(connection)?;
    let mut idle = Vec::new();
    for count in [0, 1, 10, 100] {
        while idle.len() < count {
            idle.push(lab.connect()?);
        }
        let clock = [Subscription::clock(0, 0)];
        let reads = idle
            .iter()
            .map(|connection| Subscription::read(1, connection.fd));
        let list: Vec<_> = clock.into_iter().chain(reads).collect();
        let mut events = vec![Event::default(); list.len()];
        let name = format!("`poll_oneoff` of a clock of 0 and {count} idle connections");
        row(
            &name,
            cost(|| _ = Preview1.poll_oneoff(&list, &mut events)),
            "polls busy connections often and the rest seldom",
        );
    }
    idle.into_iter().try_for_each(close)
}

/// Microseconds a call: the median of rounds.
fn cost(mut call: impl FnMut()) -> f64 {
    const CALLS: u32 = 200;
    let mut rounds: Vec<u64> = (0..15)
        .map(|_| {
            let before = now();
            (0..CALLS).for_each(|_| call());
            now() - before
        })
        .collect();
    rounds.sort_unstable();
    rounds[rounds.len() / 2] as f64 / f64::from(CALLS) / 1_000.0
}
