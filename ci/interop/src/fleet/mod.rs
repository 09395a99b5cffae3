//! Checks four instances of the example `service` behind a proxy, under load: rolling restarts, an instance that is
//! killed, and one that is stopped for ten seconds.
//!
//! - `instances`: the instances, in one runtime.
//! - `proxy`: what the scenes need from a proxy; `haproxy` and `nginx` are the two.
//! - `scenes`: what happens to a fleet, and how the requests are judged.

mod haproxy;
mod instances;
mod nginx;
mod proxy;
mod scenes;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use self::haproxy::HaProxy;
use self::instances::Instances;
use self::nginx::Nginx;
use self::proxy::Proxy;
use crate::{Outcome, Program, Report, Runtime, ensure, root};

type Start = fn(&Instances) -> Outcome<Box<dyn Proxy>>;

const PROXIES: [(&str, Start); 2] = [
    ("behind HAProxy", HaProxy::start),
    ("behind nginx", Nginx::start),
];

/// Runs all fleets side by side: one behind each proxy, in each of these runtimes.
#[must_use]
pub fn run(runtimes: &[Runtime]) -> Report {
    let mut report = Report::new("fleet", runtimes);
    let ready = installed(&["haproxy", "nginx"]);
    // All are built before the first one runs, because a compiler leaves no time to others.
    let programs: Vec<_> = runtimes
        .iter()
        .map(|&runtime| (runtime, ready.clone().and_then(|()| program(runtime))))
        .collect();
    let mut fleets = Vec::new();
    for (runtime, program) in programs {
        for (name, proxy) in PROXIES {
            let program = program.clone();
            let fleet = thread::spawn(move || {
                let mut instances = Instances::start(runtime, program?)?;
                let mut proxy = proxy(&instances)?;
                scenes::run(&mut instances, &mut *proxy)
            });
            fleets.push((name, runtime, fleet));
        }
    }
    for (name, runtime, thread) in fleets {
        let outcome = thread.join().unwrap_or_else(|_| Err("a panic".into()));
        report.add(name, runtime, outcome);
    }
    report
}

/// Installs Debian's packages of these names if they are missing.
pub(crate) fn installed(packages: &[&str]) -> Outcome {
    let status = Command::new(root().join("ci/apt")).args(packages).status();
    let status = status.map_err(|e| format!("ci/apt: {e}"))?;
    ensure!(
        status.success(),
        "{packages:?} can't be installed: {status}"
    );
    Ok(())
}

/// The program, compiled as far as the runtime allows: each instance is started several times.
fn program(runtime: Runtime) -> Outcome<PathBuf> {
    let module = Program::example(runtime, "service", true)?.path;
    match runtime.precompiles() {
        true => crate::first_response::precompile(runtime, &module),
        false => Ok(module),
    }
}

/// A configuration of `examples/deploy`, in which the first of each pair is replaced by the second. Each of them has
/// to be there.
fn configuration(name: &str, changes: &[(&str, String)]) -> Outcome<String> {
    let path = root().join("examples/deploy").join(name);
    let mut text =
        std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    for (old, new) in changes {
        ensure!(text.contains(old), "{name} has no {old:?}");
        text = text.replace(old, new);
    }
    Ok(text)
}

/// The path of a program that may be in a folder for administrators.
pub(crate) fn system_program(name: &str) -> PathBuf {
    let path = Path::new("/usr/sbin").join(name);
    if path.exists() { path } else { name.into() }
}
