//! The conformance cases over sockets, against `echo` in each runtime.

use std::process::Command;

use crate::{Outcome, Program, Report, Runtime, Server, ensure, root};

/// Runs the cases against each of these runtimes.
#[must_use]
pub fn run(runtimes: &[Runtime]) -> Report {
    let mut report = Report::new("conformance over sockets", runtimes);
    for &runtime in runtimes {
        report.add("cases for echo", runtime, cases(runtime));
    }
    report
}

fn cases(runtime: Runtime) -> Outcome<String> {
    let program = Program::example(runtime, "echo", false)?;
    let mut server = Server::start(&program, &[("RUST_LOG", "warn")])?;
    let output = Command::new("cargo")
        .args(["test", "--quiet", "--package", "mini_http", "--test"])
        .args(["conformance", "--", "--ignored", "--nocapture"])
        .arg("every_case_for_echo_holds_over_a_socket")
        .env("MINI_HTTP_CONFORMANCE", server.address.to_string())
        .current_dir(root())
        .output()
        .map_err(|e| format!("cargo: {e}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    server.check_alive()?;
    server.check_log()?;
    let summary = said.lines().find(|line| line.contains(" cases, "));
    summary
        .map(|line| line.trim().to_owned())
        .ok_or_else(|| format!("no line says how many cases ran:\n{said}"))
}
