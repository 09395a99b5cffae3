//! One program of `examples/hyper` twice, in one run: on the mio shim, and on the mio of crates.io. What
//! happens to the second is shown, and is no failure but where the runtime is made for it.

use std::fs;
use std::time::Duration;

use crate::curl::Scratch;
use crate::{Outcome, Program, Report, Runtime, ensure, idle, resets, root, shim};

/// The settings of a run.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How many connections are reset.
    pub resets: usize,
    /// For how long idle connections are watched.
    pub seconds: u64,
}

/// The program, of which nothing differs but its mio.
const PROGRAM: &str = "hyper_echo";
/// Its name without the shim. Another one, because with `CARGO_TARGET_DIR` both are built into one folder.
const UNPATCHED: &str = "hyper_echo_unpatched";
/// What it is made of, in `examples/hyper`.
const FILES: [&str; 5] = [
    ".cargo/config.toml",
    "wasi/Cargo.toml",
    "wasi/Cargo.lock",
    "src/hyper_echo.rs",
    "src/listener.rs",
];
/// What stands in these files for the shim, and what replaces it: no patch, and no function that finds
/// the listener. Without directories it is fd 3 in every runtime here.
const REPLACED: [(&str, &str); 4] = [
    (r#"name = "hyper_echo""#, r#"name = "hyper_echo_unpatched""#),
    (r#"mio = { path = "../../../shim" }"#, ""),
    (r#"unsafe_code = "forbid""#, r#"unsafe_code = "allow""#),
    (
        "mio::preopened_listener()",
        "let listener: TcpListener = unsafe { std::os::fd::FromRawFd::from_raw_fd(3) };
         listener.set_nonblocking(true)?;
         Ok(listener)",
    ),
];
/// So many connections that take turns.
const MANY: [usize; 3] = [64, 256, 1000];
/// Idle connections.
const IDLE: usize = 100;

/// Checks both in each of these runtimes.
#[must_use]
pub fn run(runtimes: &[Runtime], settings: Settings) -> Report {
    let mut report = Report::new("hyper", runtimes);
    for &runtime in runtimes {
        for (case, outcome) in measure(&shim::build(runtime, PROGRAM), settings, true) {
            report.add(&format!("on the shim: {case}"), runtime, outcome);
        }
        let unpatched = Unpatched::build(runtime);
        report.add(
            "without it: mio of crates.io",
            runtime,
            unpatched
                .as_ref()
                .map(|it| it.mio.clone())
                .map_err(Clone::clone),
        );
        let Ok(unpatched) = unpatched else { continue };
        let judged = runtime.runs_registry_mio();
        for (case, outcome) in measure(&Ok(unpatched.program), settings, judged) {
            if judged {
                report.add(&format!("without it: {case}"), runtime, outcome);
                continue;
            }
            let fate = outcome.unwrap_or_else(|why| {
                eprintln!("{runtime}, without the shim: {case}: {why}");
                why.lines()
                    .next()
                    .unwrap_or_default()
                    .trim_end_matches(':')
                    .to_owned()
            });
            report.add(&format!("without it: {case}"), runtime, Ok(fate));
        }
    }
    report
}

/// All the cases of one program. Unless it is judged, it may be as busy at rest as it likes.
fn measure(
    program: &Outcome<Program>,
    settings: Settings,
    judged: bool,
) -> Vec<(String, Outcome<String>)> {
    let program = || program.as_ref().map_err(Clone::clone);
    let idle = idle::Settings {
        connections: IDLE,
        seconds: settings.seconds,
        most_ticks: 2,
        release: true,
    };
    let at_rest = |it| {
        if judged {
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
            program().and_then(|it| shim::many(it, count)),
        ));
    }
    cases
}

/// The program with neither the patch in its manifest nor the shim's function in its source.
struct Unpatched {
    program: Program,
    /// The version of its mio.
    mio: String,
    /// Where the program lies.
    _folder: Scratch,
}

impl Unpatched {
    fn build(runtime: Runtime) -> Outcome<Self> {
        let folder = Scratch::new()?;
        // With the lock all other dependencies are those of the shim's program.
        for name in FILES {
            copy(name, &folder)?;
        }
        let manifest = folder.path().join("wasi");
        let program = Program::build(runtime, &manifest, &["--bin", UNPATCHED], true)?;
        let lock = String::from_utf8_lossy(&folder.read("wasi/Cargo.lock")?).into_owned();
        let mio = locked(&lock, "mio")
            .ok_or("its lock has no mio")?
            .to_owned();
        ensure!(mio != "1.2.99", "its lock has the shim for mio");
        Ok(Self {
            program,
            mio,
            _folder: folder,
        })
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
