//! Examines the calls of the runtime that read from a connection, write to it, and shut it down.

use std::io::{IoSlice, IoSliceMut};

use wasip1_poll::{Errno, Preview1, Shutdown, Wasi};

use crate::lab::{Connection, Lab, Outcome, close, count, errno, now};
use crate::peer::sleep;
use crate::polling::fill;
use crate::table::Table;

pub(crate) fn examine(lab: &mut Lab, table: &mut Table) -> Outcome {
    table.section("Reading");
    reading(lab, table)?;
    table.section("Writing");
    writing(lab, table)?;
    garbling(lab, table)?;
    after_the_end(lab, table)
}

fn reading(lab: &mut Lab, table: &mut Table) -> Outcome {
    let connection = lab.connect()?;
    lab.ask(connection, "send 8")?;
    let (mut first, mut second) = ([0; 4], [0; 4]);
    let mut bufs = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
    table.row(
        "`fd_read` of 8 bytes into two buffers of 4",
        "similar to `readv` in POSIX: 8",
        count(Preview1.fd_read_vectored(connection.fd, &mut bufs)),
        "reads into one buffer",
    );
    let _ = Preview1.fd_read(connection.fd, &mut [0; 8]);
    table.row(
        "`fd_read` into an empty buffer",
        "nothing",
        count(Preview1.fd_read(connection.fd, &mut [])),
        "never does it",
    );
    lab.ask(connection, "half-close")?;
    let ends = || count(Preview1.fd_read(connection.fd, &mut [0; 8]));
    table.row(
        "`fd_read` after the other end's half-close, twice",
        "0",
        format!("{}, {}", ends(), ends()),
        "the end of the stream: sends the remaining responses, then closes",
    );
    table.row(
        "`fd_write` after the other end's half-close",
        "works",
        count(Preview1.fd_write(connection.fd, &[IoSlice::new(b"12345")])),
        "sends the responses",
    );
    close(connection)?;
    let connection = lab.connect()?;
    lab.ask(connection, "reset")?;
    let reads = || count(Preview1.fd_read(connection.fd, &mut [0; 8]));
    table.row(
        "`fd_read` after the other end's reset, twice",
        "`CONNRESET`",
        format!("{}, {}", reads(), reads()),
        "closes that connection on any error",
    );
    close(connection)?;
    table.row(
        "`fd_read` on the listener",
        "`NOTCONN`",
        count(Preview1.fd_read(lab.listener, &mut [0; 8])),
        "never does it",
    );
    Ok(())
}

fn writing(lab: &mut Lab, table: &mut Table) -> Outcome {
    let connection = lab.connect()?;
    let bufs = [b"12".as_slice(), b"", b"3456"].map(IoSlice::new);
    table.row(
        "`fd_write` of three buffers, 2, 0 and 4 bytes",
        "similar to `writev` in POSIX: 6",
        count(Preview1.fd_write(connection.fd, &bufs)),
        "writes several at once where `poll_oneoff` checks sockets, one at a time where it is blind",
    );
    close(connection)?;
    let connection = lab.connect()?;
    let large = vec![b'l'; 8 << 20];
    let first = Preview1.fd_write(connection.fd, &[IoSlice::new(&large)]);
    let second = Preview1.fd_write(connection.fd, &[IoSlice::new(&large)]);
    table.row(
        "`fd_write` of 8 MiB which the other end doesn't read, twice",
        "less than all, then `AGAIN`",
        format!("{}, {}", count(first), count(second)),
        "keeps the rest, and waits until there is room",
    );
    close(connection)
}

/// Whether writes of several buffers return the number of bytes that arrive, with a socket that is nearly full.
fn garbling(lab: &mut Lab, table: &mut Table) -> Outcome {
    let connection = lab.connect()?;
    let (mut returned, mut arrived) = (fill(connection), 0);
    let chunk = [b'g'; 300_000];
    let bufs = [
        IoSlice::new(&chunk),
        IoSlice::new(b"x"),
        IoSlice::new(&chunk),
    ];
    for _ in 0..30 {
        arrived += lab.ask(connection, "read 100000")?;
        // Time for this side to learn of the room that the read has made.
        sleep(2_000_000);
        match Preview1.fd_write(connection.fd, &bufs) {
            Ok(count) => returned += count,
            Err(Errno::AGAIN) => {}
            Err(errno) => return Err(format!("fd_write: {errno}")),
        }
    }
    let _ = Preview1.sock_shutdown(connection.fd, Shutdown::Write);
    arrived += lab.ask(connection, "drain")?;
    let returned = returned as u64;
    table.row(
        "`fd_write` of three buffers into a socket that is nearly full, 30 times: bytes returned and bytes that arrived",
        "the same",
        match arrived.checked_sub(returned) {
            Some(0) => "the same".into(),
            Some(more) => format!("{more} bytes more arrived than were returned"),
            None => format!("{} bytes fewer arrived than were returned", returned - arrived),
        },
        "writes one buffer at a time where `poll_oneoff` is blind",
    );
    close(connection)
}

fn after_the_end(lab: &mut Lab, table: &mut Table) -> Outcome {
    for (command, name) in [("close", "closed"), ("reset", "reset")] {
        let connection = lab.connect()?;
        lab.ask(connection, command)?;
        table.row(
            format!("`fd_write` after the other end has {name}, twice"),
            if command == "close" {
                "works, then `PIPE`"
            } else {
                "`CONNRESET`, then `PIPE`"
            },
            format!("{}, {}", write(connection), write(connection)),
            "closes that connection on any error",
        );
        close(connection)?;
    }
    let connection = lab.connect()?;
    let first = errno(Preview1.sock_shutdown(connection.fd, Shutdown::Write));
    let end = lab.ask(connection, "end");
    let second = errno(Preview1.sock_shutdown(connection.fd, Shutdown::Write));
    table.row(
        "`sock_shutdown` of the sending side, twice",
        "the other end reads its end",
        format!(
            "{first} (the other end {}), {second}",
            if end.is_ok() {
                "reads its end"
            } else {
                "doesn't see it"
            }
        ),
        "shuts down its sending side, and lingers before it closes",
    );
    close(connection)?;
    closing(lab, table)?;
    let mut shown = Vec::new();
    for (name, fd) in [("the listener", lab.listener), ("stdout", 1)] {
        // The listener stays usable: only a shutdown of its receiving side would end it.
        shown.push(format!(
            "{name} {}",
            errno(Preview1.sock_shutdown(fd, Shutdown::Write))
        ));
    }
    table.row(
        "`sock_shutdown` of something that isn't connected",
        "`NOTCONN`, `NOTSOCK`",
        shown.join(", "),
        "never does it",
    );
    Ok(())
}

/// What the other end sees.
fn closing(lab: &mut Lab, table: &mut Table) -> Outcome {
    let connection = lab.connect()?;
    let both = errno(Preview1.sock_shutdown(connection.fd, Shutdown::Both));
    let sees = end(lab, connection)?;
    table.row(
        "`sock_shutdown` of both sides at once",
        "the other end reads its end",
        format!("{both} (the other end {sees})"),
        "where `poll_oneoff` is blind, shuts down one side after the other",
    );
    close(connection)?;
    let connection = lab.connect()?;
    for how in [Shutdown::Write, Shutdown::Read] {
        let _ = Preview1.sock_shutdown(connection.fd, how);
    }
    let sees = end(lab, connection)?;
    table.row(
        "`sock_shutdown` of one side after the other",
        "the other end reads its end",
        format!("the other end {sees}"),
        "the same",
    );
    close(connection)?;
    let connection = lab.connect()?;
    close(connection)?;
    let sees = end(lab, connection)?;
    table.row(
        "`fd_close`",
        "the other end reads its end",
        format!("the other end {sees}"),
        "where `poll_oneoff` is blind, shuts down both sides first",
    );
    Ok(())
}

/// Whether the other end sees the end at once.
fn end(lab: &mut Lab, connection: Connection) -> Outcome<&'static str> {
    let asked = now();
    lab.ask(connection, "watch")?;
    Ok(match (now() - asked) / 1_000_000 {
        0..100 => "reads its end",
        100..500 => "reads its end later",
        _ => "doesn't see it for 500 ms",
    })
}

fn write(connection: Connection) -> String {
    let written = count(Preview1.fd_write(connection.fd, &[IoSlice::new(b"12345")]));
    // If the other end has closed the connection, it responds to these bytes with a reset, which takes a moment.
    sleep(2_000_000);
    written
}
