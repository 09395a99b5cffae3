//! Runs the library's unit tests inside WASI runtimes.

use std::process::Command;

use crate::{Outcome, Report, Runtime, ensure, root};

/// Runs them in each of these runtimes.
#[must_use]
pub fn run(runtimes: &[Runtime]) -> Report {
    let mut report = Report::new("unit tests", runtimes);
    for &runtime in runtimes {
        report.add("tests of the library", runtime, test(runtime));
    }
    report
}

/// Uses cargo's own runner, and shows its output.
fn test(runtime: Runtime) -> Outcome<String> {
    let mut cargo = Command::new("cargo");
    cargo.args(["test", "--package", "mini-http-server", "--lib"]);
    if let Some(target) = runtime.target() {
        cargo
            .args(["--target", target])
            .env("MINI_HTTP_RUNTIME", runtime.name());
    }
    cargo.current_dir(root());
    let status = cargo.status().map_err(|e| format!("cargo: {e}"))?;
    ensure!(status.success(), "{cargo:?} failed: {status}");
    Ok("ok".into())
}
