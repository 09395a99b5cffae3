//! Runs a program of `examples/hyper` on the mio shim, and the same program on the mio of crates.io. What fails on the
//! mio of crates.io is shown in the table, but fails this check only in a runtime that supports that mio. There, the
//! programs on axum and with a WebSocket are checked, too.

use std::fs;
use std::time::Duration;

use crate::curl::Scratch;
use crate::{
    Outcome, Program, Report, Runtime, Server, curl_matrix, ensure, idle, resets, root,
    shim_programs, websocket,
};

/// The settings of a run.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How many connections are reset.
    pub resets: usize,
    /// For how long the processor time is measured at rest.
    pub seconds: u64,
}

/// The programs. They differ only in their mio.
const HYPER: &str = "hyper_echo";
const AXUM: &str = "axum_app";
const WEBSOCKET: &str = "websocket";
/// The suffix of the programs without the shim. They need names of their own, because with `CARGO_TARGET_DIR` both are
/// built into one folder.
const UNPATCHED: &str = "_unpatched";
/// Their source files, in `examples/hyper`.
const FILES: [&str; 8] = [
    ".cargo/config.toml",
    "wasi/Cargo.toml",
    "wasi/Cargo.lock",
    "src/hyper_echo.rs",
    "src/axum_app.rs",
    "src/websocket.rs",
    "src/upgrade.rs",
    "src/listener.rs",
];
/// The text in these files that is for the shim, and its replacement: no patch, and no function that finds the
/// listener. Without preopened directories the listener is fd 3 in each runtime here.
const REPLACED: [(&str, &str); 6] = [
    (r#"name = "hyper_echo""#, r#"name = "hyper_echo_unpatched""#),
    (r#"name = "axum_app""#, r#"name = "axum_app_unpatched""#),
    (r#"name = "websocket""#, r#"name = "websocket_unpatched""#),
    (r#"mio = { path = "../../../shim" }"#, ""),
    (r#"unsafe_code = "forbid""#, r#"unsafe_code = "allow""#),
    (
        "mio::preopened_listener()",
        "let listener: TcpListener = unsafe { std::os::fd::FromRawFd::from_raw_fd(3) };
         listener.set_nonblocking(true)?;
         Ok(listener)",
    ),
];
/// The number of connections that send requests in turn.
const MANY: [usize; 3] = [64, 256, 1000];
/// The number of idle connections.
const IDLE: usize = 100;

/// Checks both in each of these runtimes.
#[must_use]
pub fn run(runtimes: &[Runtime], settings: Settings) -> Report {
    let mut report = Report::new("hyper", runtimes);
    for &runtime in runtimes {
        for (case, outcome) in measure(&shim_programs::build(runtime, HYPER), settings, true) {
            report.add(&format!("on the shim: {case}"), runtime, outcome);
        }
        let mut add = |case: &str, outcome: Outcome<String>| {
            report.add(&format!("without the shim: {case}"), runtime, outcome);
        };
        let unpatched = match Unpatched::prepare() {
            Ok(unpatched) => unpatched,
            Err(why) => {
                add("mio of crates.io", Err(why));
                continue;
            }
        };
        let program = unpatched.build(runtime, HYPER);
        add("mio of crates.io", unpatched.mio());
        let is_judged = runtime.runs_registry_mio();
        for (case, outcome) in measure(&program, settings, is_judged) {
            let outcome = match is_judged {
                true => outcome,
                false => Ok(shown(runtime, &case, outcome)),
            };
            add(&case, outcome);
        }
        if is_judged {
            check_more(&mut report, runtime, &unpatched);
        }
    }
    report
}

/// An outcome that doesn't count: the result, or why there is none.
fn shown(runtime: Runtime, case: &str, outcome: Outcome<String>) -> String {
    outcome.unwrap_or_else(|why| {
        eprintln!("{runtime}, without the shim: {case}: {why}");
        let line = why.lines().next().unwrap_or_default();
        line.trim_end_matches(':').to_owned()
    })
}

/// axum with its router, JSON, server-sent events and a WebSocket, and the WebSocket on hyper.
fn check_more(report: &mut Report, runtime: Runtime, unpatched: &Unpatched) {
    let axum = unpatched.build(runtime, AXUM);
    let prefix = format!("without the shim: {AXUM}: ");
    let start = || Server::start(axum.as_ref().map_err(Clone::clone)?, &[]);
    curl_matrix::check(report, &prefix, runtime, |_| true, start);
    let app = axum
        .as_ref()
        .map_err(Clone::clone)
        .and_then(shim_programs::app);
    report.add(
        &format!("without the shim: {}", shim_programs::APP),
        runtime,
        app,
    );
    // This program has other responses to requests without a handshake, so that case is left out.
    let wanted = |case: &str| case != websocket::NO_HANDSHAKE;
    for (case, outcome) in websocket::check_program(&axum, wanted) {
        report.add(&format!("{prefix}{case}"), runtime, outcome);
    }
    let hyper = unpatched.build(runtime, WEBSOCKET);
    for (case, outcome) in websocket::check_program(&hyper, |_| true) {
        report.add(&format!("without the shim: {case}"), runtime, outcome);
    }
}

/// All the cases of one program. Its processor time at rest is limited only if its failures count.
fn measure(
    program: &Outcome<Program>,
    settings: Settings,
    is_judged: bool,
) -> Vec<(String, Outcome<String>)> {
    let program = || program.as_ref().map_err(Clone::clone);
    let idle = idle::Settings {
        connections: IDLE,
        seconds: settings.seconds,
        most_ticks: 2,
        release: true,
    };
    let at_rest = |it| {
        if is_judged {
            idle::measure(it, idle)
        } else {
            idle::ticks(it, idle).map(|ticks| ticks.to_string())
        }
    };
    let resets = resets::Settings {
        count: settings.resets,
        seed: 1,
        limit: Duration::from_secs(300),
        release: true,
    };
    let mut cases = vec![
        (
            format!("ticks in {} s, {IDLE} idle connections", idle.seconds),
            program().and_then(at_rest),
        ),
        (
            format!("seconds for {} resets", resets.count),
            program().and_then(|it| resets::reset_all(it, resets)),
        ),
    ];
    for count in MANY {
        cases.push((
            format!("{count} connections"),
            program().and_then(|it| shim_programs::many(it, count)),
        ));
    }
    cases
}

/// The programs without the patch in their manifest and without the shim's function in their source.
struct Unpatched {
    folder: Scratch,
}

impl Unpatched {
    fn prepare() -> Outcome<Self> {
        let folder = Scratch::new()?;
        // With this lock file all other dependencies are the same as with the shim.
        for name in FILES {
            copy(name, &folder)?;
        }
        Ok(Self { folder })
    }

    fn build(&self, runtime: Runtime, name: &str) -> Outcome<Program> {
        let manifest = self.folder.path().join("wasi");
        let name = format!("{name}{UNPATCHED}");
        Program::build(runtime, &manifest, &["--bin", &name], true)
    }

    /// The version of their mio, once one of them is built.
    fn mio(&self) -> Outcome<String> {
        let lock = String::from_utf8_lossy(&self.folder.read("wasi/Cargo.lock")?).into_owned();
        let mio = locked(&lock, "mio").ok_or("the lock has no mio")?;
        ensure!(mio != "1.2.99", "the lock has the shim for mio");
        Ok(mio.to_owned())
    }
}

/// Copies a file of `examples/hyper`, without the shim.
fn copy(name: &str, folder: &Scratch) -> Outcome {
    let path = root().join("examples/hyper").join(name);
    let failed = |e| format!("{}: {e}", path.display());
    let mut text = fs::read_to_string(&path).map_err(failed)?;
    for (old, new) in REPLACED {
        text = text.replace(old, new);
    }
    if let Some((parent, _)) = name.split_once('/') {
        fs::create_dir_all(folder.path().join(parent)).map_err(failed)?;
    }
    folder.write(name, text).map(drop)
}

/// The version of a package in a `Cargo.lock`.
fn locked<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let (_, after) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    Some(after.split_once('"')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_a_lock() {
        let lock = "[[package]]\nname = \"mio\"\nversion = \"1.2.5\"\nsource = \"x\"\n";
        assert_eq!(locked(lock, "mio"), Some("1.2.5"));
        assert_eq!(locked(lock, "tokio"), None);
    }
}
