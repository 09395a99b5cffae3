//! Examines `poll_oneoff`: what it reports, and when.

use std::io::IoSlice;

use wasip1_poll::{Event, Preview1, Wasi};

use crate::lab::{Connection, For, Lab, NOT_OPEN, Outcome, close, errno, now};
use crate::table::Table;

const MS: u64 = 1_000_000;

pub(crate) fn examine(lab: &mut Lab, table: &mut Table) -> Outcome {
    table.section("poll_oneoff: clocks");
    clocks(lab, table);
    table.section("poll_oneoff: reading");
    listener(lab, table)?;
    reading(lab, table)?;
    table.section("poll_oneoff: writing");
    writing(lab, table)?;
    table.section("poll_oneoff: the end of a connection");
    ends(lab, table)?;
    table.section("poll_oneoff: what can't be polled");
    bad(lab, table)
}

fn clocks(lab: &Lab, table: &mut Table) {
    table.row(
        "no subscriptions",
        "`INVAL`",
        errno(Preview1.poll_oneoff(&[], &mut [Event::default(); 1])),
        "always has a clock in the list",
    );
    table.row(
        "a clock of 0 alone",
        "its event, at once",
        lab.poll(&[("clock", For::Clock(0))]).show(),
        "uses it together with sockets, to poll without waiting",
    );
    table.row(
        "a clock of 20 ms alone",
        "its event, after 20 ms",
        lab.poll(&[("clock", For::Clock(20 * MS))]).show(),
        "sleeps in this way",
    );
    table.row(
        "two clocks, 10 ms and 5 s",
        "the first one's event, after 10 ms",
        lab.poll(&[
            ("short", For::Clock(10 * MS)),
            ("long", For::Clock(5_000 * MS)),
        ])
        .show(),
        "has only one clock in the list",
    );
    table.row(
        "an absolute clock, 20 ms from now",
        "its event, after 20 ms",
        lab.poll(&[("clock", For::ClockAt(now() + 20 * MS))]).show(),
        "uses only relative ones",
    );
}

fn listener(lab: &mut Lab, table: &mut Table) -> Outcome {
    let read = ("listener", For::Read(lab.listener));
    table.row(
        "a listener without a connection, and a clock of 0",
        "the clock",
        lab.poll(&[read, ("clock", For::Clock(0))]).show(),
        "tests this at the start: if both are reported and no connection is waiting, the runtime is blind",
    );
    let number = lab.connect_unaccepted()?;
    table.row(
        "a listener with a connection, and a clock of 100 ms",
        "the listener, at once",
        lab.poll(&[read, ("clock", For::Clock(100 * MS))]).show(),
        "accepts; on a blind runtime, sleeps for short times and then tries to accept",
    );
    let connection = lab.accept_waiting(number)?;
    close(connection)
}

fn reading(lab: &mut Lab, table: &mut Table) -> Outcome {
    let idle = lab.connect()?;
    let ready = lab.connect()?;
    let (read_idle, read_ready) = (("idle", For::Read(idle.fd)), ("ready", For::Read(ready.fd)));
    let clock = |millis| ("clock", For::Clock(millis * MS));
    table.row(
        "an idle connection, and a clock of 20 ms",
        "the clock, after 20 ms",
        lab.poll(&[read_idle, clock(20)]).show(),
        "waits",
    );
    lab.ask(ready, "send 1")?;
    table.row(
        "1 byte to read, and a clock of 100 ms",
        "nbytes 1, at once",
        lab.poll(&[read_ready, clock(100)]).show(),
        "treats it as a hint: 1 may mean that there is nothing to read",
    );
    lab.ask(ready, "send 99")?;
    table.row(
        "100 bytes to read, and a clock of 100 ms",
        "nbytes 100, at once",
        lab.poll(&[read_ready, clock(100)]).show(),
        "more than 1 is certain: reads this connection first",
    );
    let listener = ("listener", For::Read(lab.listener));
    let reported = lab.poll(&[listener, read_idle, read_ready, clock(100)]);
    table.row(
        "a listener, an idle connection, one with 100 bytes, and a clock of 100 ms",
        "the one that is ready",
        reported.show(),
        "treats readiness as a hint: each read may return `AGAIN`; certain ones come first",
    );
    let tried = if reported.has("idle") {
        errno(Preview1.fd_read(idle.fd, &mut [0; 8]))
    } else {
        "not reported".into()
    };
    table.row(
        "reading from the idle one because it was reported",
        "never happens",
        tried,
        "accepts `AGAIN`, within a budget",
    );
    table.row(
        "a connection with 100 bytes, and a clock of 0",
        "both",
        lab.poll(&[read_ready, clock(0)]).show(),
        "checks its timers after every wait, whether the clock was reported or not",
    );
    table.row(
        "a connection with 100 bytes, no clock",
        "the one that is ready",
        match lab.is_blind {
            true => "not tried: a blind runtime would never return".into(),
            false => lab.poll(&[read_ready]).show(),
        },
        "always has a clock in the list",
    );
    table.row(
        "reading and writing, one connection with 100 bytes, and a clock of 100 ms",
        "an event for each",
        lab.poll(&[read_ready, ("write", For::Write(ready.fd)), clock(100)])
            .show(),
        "combines them into one event",
    );
    close(idle)?;
    close(ready)
}

fn writing(lab: &mut Lab, table: &mut Table) -> Outcome {
    let connection = lab.connect()?;
    let write = ("write", For::Write(connection.fd));
    table.row(
        "writing, with room, and a clock of 100 ms",
        "the event, at once",
        lab.poll(&[write, ("clock", For::Clock(100 * MS))]).show(),
        "subscribes only while it has output, or poll would never wait",
    );
    fill(connection);
    table.row(
        "writing, without room, and a clock of 20 ms",
        "the clock, after 20 ms",
        lab.poll(&[write, ("clock", For::Clock(20 * MS))]).show(),
        "waits; where the event is `NOTSUP`, just tries to write",
    );
    close(connection)
}

/// Writes until there is no room, and returns how much that was.
pub(crate) fn fill(connection: Connection) -> usize {
    let chunk = [b'f'; 64 * 1024];
    let mut total = 0;
    while let Ok(count) = Preview1.fd_write(connection.fd, &[IoSlice::new(&chunk)]) {
        total += count;
    }
    total
}

fn ends(lab: &mut Lab, table: &mut Table) -> Outcome {
    let cases = [
        (
            "half-close",
            "the other end has shut down its sending (half-close)",
        ),
        ("close", "the other end has closed"),
        ("reset", "the other end has reset"),
    ];
    for (command, name) in cases {
        let connection = lab.connect()?;
        lab.ask(connection, command)?;
        let reported = lab.poll(&[
            ("read", For::Read(connection.fd)),
            ("write", For::Write(connection.fd)),
            ("clock", For::Clock(20 * MS)),
        ]);
        let (text, mini_http) = match command {
            "reset" => (
                "read with an error",
                "an error of that connection: the next read returns it, and only that connection is closed",
            ),
            _ => (
                "read with nbytes 0 and `HANGUP`",
                "looks like a hint; the connection is read in its turn, so the end is found",
            ),
        };
        table.row(
            format!("{name}: reading and writing, and a clock of 20 ms"),
            text,
            reported.show(),
            mini_http,
        );
        close(connection)?;
    }
    Ok(())
}

fn bad(lab: &mut Lab, table: &mut Table) -> Outcome {
    let ready = lab.connect()?;
    lab.ask(ready, "send 100")?;
    let clock = ("clock", For::Clock(20 * MS));
    table.row(
        "a number that isn't open, a connection with 100 bytes, and a clock of 20 ms",
        "`BADF` in the first one's event, and the second",
        lab.poll(&[
            ("bad", For::Read(NOT_OPEN)),
            ("ready", For::Read(ready.fd)),
            clock,
        ])
        .show(),
        "finds the bad one with `fd_fdstat_get`, and closes only that connection",
    );
    if let Some(fd) = (3..16).find(|fd| Preview1.fd_prestat_get(*fd).is_ok()) {
        table.row(
            "a directory, and a clock of 20 ms",
            "nothing",
            lab.poll(&[("directory", For::Read(fd)), clock]).show(),
            "never has one in the list",
        );
    }
    table.row(
        "writing to stdout, and a clock of 20 ms",
        "the event, at once",
        lab.poll(&[("stdout", For::Write(1)), clock]).show(),
        "never has it in the list",
    );
    close(ready)
}
