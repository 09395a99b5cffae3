//! Finds the listeners that the runtime has passed to the program.
//!
//! Preview 1 has no call that lists the open file descriptors. Some runtimes number sockets before
//! directories, some after; some set environment variables. So this module calls `fd_fdstat_get` for each number
//! from [`FIRST_FD`] on, and takes each stream socket for a listener. The scan ends after a number of file
//! descriptors in a row that aren't open.
//!
//! If the environment says something else than the scan has found, a warning is logged, and what was found is used.

use std::fmt::{self, Write as _};
use std::io;

use crate::errno::Errno;
use crate::preopens::{self, Directory};
use crate::wasi::{FIRST_FD, Fd, FileType, Wasi};

/// Finds the listeners.
///
/// `only` restricts the search to one file descriptor. `hints` are what the environment says.
///
/// # Errors
/// There is no listener, or `only` isn't one. The text of the error has several
/// lines: what was found, and the command by which each runtime passes a listener.
pub fn discover<W: Wasi>(
    wasi: &W,
    only: Option<Fd>,
    hints: &Hints,
) -> Result<Discovery, NoListener> {
    let found = scan(wasi, only, hints);
    let mut names = hints.names();
    // The names are those of all listeners, also if only one is wanted.
    let listeners: Vec<Listener> = found
        .iter()
        .filter(|(_, kind)| kind.is_listener())
        .map(|&(fd, _)| Listener {
            fd,
            name: names
                .next()
                .filter(|name| !name.is_empty())
                .map(str::to_owned),
        })
        .filter(|listener| only.is_none_or(|only| only == listener.fd))
        .collect();
    if listeners.is_empty() {
        return Err(NoListener { only, found });
    }
    if only.is_none() {
        hints.warn_unless(listeners.len());
    }
    let directories = preopens::hidden(wasi, found.iter().map(|(fd, _)| *fd));
    Ok(Discovery {
        listeners,
        directories,
    })
}

/// The scan ends after this many file descriptors in a row that aren't open. The known runtimes leave no gaps; this
/// is for others.
const MAX_GAP: u32 = 16;

/// The scan ends here, even if the environment says that there are more.
const LAST_FD: Fd = 4096;

/// What a scan has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// The listeners, in the order of their numbers; at least one.
    pub listeners: Vec<Listener>,
    /// Directories that libc has not found (see [`preopens`]).
    pub directories: Vec<Directory>,
}

/// A listening socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its file descriptor.
    pub fd: Fd,
    /// Its name from `LISTEN_FDNAMES`.
    pub name: Option<String>,
}

/// What the environment says about file descriptors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// `LISTEN_FDS`: how many sockets there are.
    pub listen_fds: Option<String>,
    /// `LISTEN_FDNAMES`: their names, separated by colons.
    pub listen_fdnames: Option<String>,
    /// `FD_COUNT`, which some hosts set: how many file descriptors there are, without the standard streams.
    pub fd_count: Option<String>,
}

impl Hints {
    /// What the environment of this process says.
    #[must_use]
    pub fn from_env() -> Self {
        let variable = |name| std::env::var(name).ok();
        Self {
            listen_fds: variable("LISTEN_FDS"),
            listen_fdnames: variable("LISTEN_FDNAMES"),
            fd_count: variable("FD_COUNT"),
        }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.listen_fdnames
            .as_deref()
            .into_iter()
            .flat_map(|names| names.split(':'))
    }

    fn variables(&self) -> [(&'static str, Option<&str>); 2] {
        [
            ("LISTEN_FDS", self.listen_fds.as_deref()),
            ("FD_COUNT", self.fd_count.as_deref()),
        ]
    }

    /// The number after the last file descriptor, according to the environment.
    fn end(&self) -> Fd {
        let claimed = self
            .variables()
            .into_iter()
            .filter_map(|(_, value)| value?.parse().ok());
        FIRST_FD
            .saturating_add(claimed.max().unwrap_or(0))
            .min(LAST_FD)
    }

    /// Logs a warning for each variable that doesn't say that there are this many listeners.
    fn warn_unless(&self, listeners: usize) {
        for (name, value) in self.variables() {
            let Some(value) = value else { continue };
            match value.parse::<usize>() {
                Ok(count) if count == listeners => {}
                // It counts directories, too.
                Ok(count) if name == "FD_COUNT" && count >= listeners => {}
                Ok(_) => poll_turns::log::warn!(
                    "{name}={value} in the environment, but {listeners} listening socket(s) were \
                     found; using what was found"
                ),
                Err(_) => poll_turns::log::warn!(
                    "{name}={value:?} in the environment is not a number; it is ignored"
                ),
            }
        }
    }
}

/// The error that none of the file descriptors is a listener.
///
/// `Debug` writes the same as `Display`, so that a `main` that returns it prints the advice in readable form.
#[derive(Clone, PartialEq, Eq)]
pub struct NoListener {
    only: Option<Fd>,
    found: Vec<(Fd, Kind)>,
}

impl NoListener {
    /// The error for a socket at `fd` from which accepting fails with `errno`, so that it isn't a listener.
    #[must_use]
    pub fn cannot_accept(fd: Fd, errno: Errno) -> Self {
        Self {
            only: Some(fd),
            found: vec![(fd, Kind::CannotAccept(errno))],
        }
    }
}

impl std::error::Error for NoListener {}

impl fmt::Debug for NoListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for NoListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.only {
            Some(fd) => writeln!(f, "fd {fd} is not a listening socket:")?,
            None => writeln!(f, "the runtime has passed no listening socket:")?,
        }
        let mut next = FIRST_FD;
        for (fd, kind) in &self.found {
            writeln!(f, "  fd {fd}: {kind}")?;
            next = fd + 1;
        }
        if self.only.is_none_or(|only| only >= next) {
            writeln!(f, "  fd {next} and up: nothing")?;
        }
        f.write_char('\n')?;
        f.write_str(ADVICE)
    }
}

/// The advice in the text of the error.
const ADVICE: &str = "\
A module of WASI preview 1 cannot open a listening socket itself; start it with one:
  wasip1-host:        wasip1-host --listen 127.0.0.1:3000 MODULE.wasm
  wasmtime 36 to 46:  wasmtime run -S preview2=n -S tcplisten=127.0.0.1:3000 MODULE.wasm
  wasmi:              wasmi run --tcplisten 127.0.0.1:3000 MODULE.wasm
  wazero:             GOGC=1 wazero run -listen=127.0.0.1:3000 MODULE.wasm
wasip1-host (shim/host of this project) is preview 1 with sockets on current wasmtime, whose own
command has none since version 47. A program built for wasm32-wasip2 opens its sockets itself.";

/// What a file descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Open(FileType),
    Error(Errno),
    CannotAccept(Errno),
}

impl Kind {
    fn is_listener(self) -> bool {
        self == Self::Open(FileType::SOCKET_STREAM)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(file_type) => f.write_str(file_type.name()),
            Self::Error(Errno::BADF) => f.write_str("not open"),
            // The system's texts, which std needs anyway. The table of `Errno` would make a module 3 kB larger.
            Self::Error(errno) => write!(f, "fd_fdstat_get: {}", io::Error::from(*errno)),
            Self::CannotAccept(errno) => write!(f, "sock_accept: {}", io::Error::from(*errno)),
        }
    }
}

/// All open file descriptors from [`FIRST_FD`] on, and `only` even if it isn't open.
fn scan<W: Wasi>(wasi: &W, only: Option<Fd>, hints: &Hints) -> Vec<(Fd, Kind)> {
    let mut found = Vec::new();
    let mut missing = 0;
    for fd in FIRST_FD..LAST_FD {
        match wasi.fd_fdstat_get(fd) {
            Ok(stat) => found.push((fd, Kind::Open(stat.file_type))),
            Err(Errno::BADF) if missing >= MAX_GAP && fd >= hints.end() => break,
            Err(Errno::BADF) => {
                missing += 1;
                continue;
            }
            Err(errno) => found.push((fd, Kind::Error(errno))),
        }
        missing = 0;
    }
    if let Some(only) = only
        && found.iter().all(|(fd, _)| *fd != only)
    {
        let kind = match wasi.fd_fdstat_get(only) {
            Ok(stat) => Kind::Open(stat.file_type),
            Err(errno) => Kind::Error(errno),
        };
        let at = found.partition_point(|(fd, _)| *fd < only);
        found.insert(at, (only, kind));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Fake, Personality};

    #[test]
    fn listeners_are_found_before_and_after_directories() {
        for sockets_first in [true, false] {
            let fake = Fake::new(
                Personality {
                    sockets_first,
                    ..Personality::WASI_COMMON
                },
                0,
            );
            fake.preopen_directory("/data");
            fake.preopen_listener();
            fake.preopen_listener();
            fake.start();
            let found = discover(&fake, None, &Hints::default()).expect("two listeners");
            let fds: Vec<Fd> = found.listeners.iter().map(|listener| listener.fd).collect();
            assert_eq!(fds, if sockets_first { [3, 4] } else { [4, 5] });
            // libc finds no directory after a socket.
            assert_eq!(found.directories.len(), usize::from(sockets_first));
        }
    }

    #[test]
    fn names_are_taken_from_the_environment_but_counts_are_not() {
        let fake = Fake::new(Personality::WASI_COMMON, 0);
        fake.preopen_listener();
        fake.preopen_listener();
        fake.start();
        let hints = Hints {
            listen_fds: Some("1".into()),
            listen_fdnames: Some("public:admin".into()),
            fd_count: Some("many".into()),
        };
        let found = discover(&fake, None, &hints).expect("two listeners");
        assert_eq!(found.listeners[1].name.as_deref(), Some("admin"));
        assert_eq!(found.listeners.len(), 2);
        let only = discover(&fake, Some(4), &hints).expect("the second");
        assert_eq!(only.listeners.len(), 1);
        assert_eq!(only.listeners[0].fd, 4);
        assert_eq!(only.listeners[0].name.as_deref(), Some("admin"));
    }

    #[test]
    fn the_scan_goes_on_after_a_gap() {
        let fake = Fake::new(Personality::WASI_COMMON, 0);
        fake.preopen_listener_at(15);
        fake.preopen_listener_at(100);
        let found = discover(&fake, None, &Hints::default()).expect("one listener");
        assert_eq!(found.listeners.len(), 1);
        let hints = Hints {
            fd_count: Some("98".into()),
            ..Hints::default()
        };
        let found = discover(&fake, None, &hints).expect("two listeners");
        assert_eq!(found.listeners.len(), 2);
        let found = discover(&fake, Some(100), &Hints::default()).expect("one listener");
        assert_eq!(found.listeners[0].fd, 100);
    }

    #[test]
    fn the_error_lists_what_was_found_and_has_advice() {
        let fake = Fake::new(Personality::WASI_COMMON, 0);
        fake.preopen_directory("/data");
        fake.start();
        let error = discover(&fake, None, &Hints::default()).expect_err("no listener");
        let text = error.to_string();
        assert!(text.starts_with(
            "the runtime has passed no listening socket:\n  fd 3: DIRECTORY\n  fd 4 and up: \
             nothing\n\nA module"
        ));
        for flag in [
            "-S preview2=n -S tcplisten=127.0.0.1:3000",
            "--tcplisten",
            "-listen=",
        ] {
            assert!(text.contains(flag), "{text}");
        }
        let error = discover(&fake, Some(9), &Hints::default()).expect_err("no listener");
        let text = error.to_string();
        assert!(
            text.starts_with(
                "fd 9 is not a listening socket:\n  fd 3: DIRECTORY\n  fd 9: not open\n\n"
            ),
            "{text}"
        );
        let error = NoListener::cannot_accept(9, Errno::NOTSOCK);
        let text = error.to_string();
        assert!(
            text.starts_with(
                "fd 9 is not a listening socket:\n  fd 9: sock_accept: NOTSOCK (57): "
            ),
            "{text}"
        );
    }
}
