//! Examines the file descriptors of the runtime: which there are, their kinds, their flags, their numbers.

use std::fs;

use wasip1_poll::{FdFlags, Preview1, Wasi, preopens};

use crate::lab::{Lab, NOT_OPEN, Outcome, close, count, errno, flags, kind};
use crate::table::Table;

pub(crate) fn examine(lab: &mut Lab, table: &mut Table) -> Outcome {
    at_start(lab, table);
    directories(lab, table);
    accepting(lab, table)?;
    numbers(lab, table)
}

fn at_start(lab: &Lab, table: &mut Table) {
    let open: Vec<_> = (0..lab.listener.max(8))
        .filter(|fd| Preview1.fd_fdstat_get(*fd).is_ok())
        // Without the connection for the commands, which the runtime didn't pass.
        .filter(|fd| *fd <= lab.listener || Preview1.fd_prestat_get(*fd).is_ok())
        .map(|fd| format!("{fd} {}", kind(fd)))
        .collect();
    table.row(
        "file descriptors at the start (with a directory and a listener)",
        "directories from 3 on; nothing about sockets",
        open.join(", "),
        "checks the type of each number from 3 on, and uses those of type `SOCKET_STREAM`",
    );
}

fn directories(lab: &Lab, table: &mut Table) {
    let name = (3..16).find_map(|fd| {
        let mut name = vec![0; Preview1.fd_prestat_get(fd).ok()?];
        Preview1.fd_prestat_dir_name(fd, &mut name).ok()?;
        String::from_utf8(name).ok()
    });
    let Some(name) = name else {
        return;
    };
    let name = name.trim_end_matches('\0');
    let found = || match fs::metadata(name) {
        Ok(_) => "finds it",
        Err(_) => "doesn't find it",
    };
    let before = found();
    let registered = preopens::register(&lab.directories);
    table.row(
        "`std::fs` on a directory beside a listener",
        "nothing; libc's scan from 3 on ends at the first number that isn't a directory",
        format!(
            "{before}; registered again ({}): {}",
            errno(registered),
            found()
        ),
        "registers the directories after a socket again",
    );
}

fn accepting(lab: &mut Lab, table: &mut Table) -> Outcome {
    table.row(
        "`sock_accept` when no connection is waiting (listener `NONBLOCK`)",
        "similar to `accept` in POSIX: `AGAIN`",
        errno(Preview1.sock_accept(lab.listener, FdFlags::NONBLOCK)),
        "continues to wait",
    );
    let nonblock = lab.connect_with(FdFlags::NONBLOCK)?;
    let blocking = lab.connect_with(FdFlags::EMPTY)?;
    table.row(
        "flags given to `sock_accept`",
        "are set on the new file descriptor",
        format!(
            "with `NONBLOCK`: {}; with none: {}",
            flags(nonblock.fd),
            flags(blocking.fd)
        ),
        "passes `NONBLOCK`",
    );
    let read = count(Preview1.fd_read(nonblock.fd, &mut [0; 8]));
    let set = Preview1.fd_fdstat_set_flags(blocking.fd, FdFlags::NONBLOCK);
    let late = match flags(blocking.fd).as_str() {
        "`NONBLOCK`" => count(Preview1.fd_read(blocking.fd, &mut [0; 8])),
        // It would block.
        _ => "not tried".into(),
    };
    table.row(
        "`NONBLOCK` honoured: `fd_read` with nothing to read",
        "`AGAIN`",
        format!("{read}; set later ({}): {late}", errno(set)),
        "continues to wait",
    );
    let others = [
        ("stdout", 1),
        ("a connection", nonblock.fd),
        ("not open", NOT_OPEN),
    ];
    let mut shown = Vec::new();
    for (name, fd) in others {
        shown.push(format!(
            "{name} {}",
            errno(Preview1.sock_accept(fd, FdFlags::NONBLOCK))
        ));
    }
    if let Some(fd) = (3..16).find(|fd| Preview1.fd_prestat_get(*fd).is_ok()) {
        shown.push(format!(
            "a directory {}",
            errno(Preview1.sock_accept(fd, FdFlags::NONBLOCK))
        ));
    }
    table.row(
        "`sock_accept` on something that isn't a listener",
        "`NOTSOCK`, `INVAL`, `BADF`",
        shown.join(", "),
        "fails at the start, and names the flag that the runtime needs",
    );
    close(nonblock)?;
    close(blocking)
}

fn numbers(lab: &mut Lab, table: &mut Table) -> Outcome {
    let first = lab.connect()?;
    close(first)?;
    let closed = format!(
        "`fd_read` {}, `fd_fdstat_get` {}, `fd_close` {}",
        count(Preview1.fd_read(first.fd, &mut [0; 8])),
        errno(Preview1.fd_fdstat_get(first.fd)),
        errno(Preview1.fd_close(first.fd)),
    );
    table.row(
        "calls on a file descriptor that was closed",
        "`BADF`",
        closed,
        "never makes one: closing removes the registration",
    );
    let second = lab.connect()?;
    table.row(
        "the number of a file descriptor that was closed",
        "nothing",
        if second.fd == first.fd {
            "is reused at once"
        } else {
            "is not reused at once"
        },
        "events carry a generation, not the number",
    );
    close(second)
}
