//! Runs the conformance cases over sockets, in each runtime. For most handlers and sets of limits there are two
//! servers: one whose handler gets complete requests, and one whose handler is a future.

use std::process::Command;
use std::thread::{self, ScopedJoinHandle};

use crate::{Outcome, Program, Report, Runtime, Server, ensure, root};

/// Runs the cases against each of these runtimes.
#[must_use]
pub fn run(runtimes: &[Runtime]) -> Report {
    let mut report = Report::new("conformance over sockets", runtimes);
    let servers = match servers() {
        Ok(servers) => servers,
        Err(why) => {
            for &runtime in runtimes {
                report.add("which servers are needed", runtime, Err(why.clone()));
            }
            return report;
        }
    };
    let servers = &servers[..];
    for some in runtimes.chunks(AT_ONCE) {
        let rows: Vec<_> = thread::scope(|scope| {
            let start = |&runtime| scope.spawn(move || rows_of(runtime, servers));
            let running: Vec<_> = some.iter().map(start).collect();
            running.into_iter().flat_map(joined).collect()
        });
        for (row, runtime, outcome) in rows {
            report.add(row.trim(), runtime, outcome);
        }
    }
    report
}

/// In how many runtimes at a time. Most cases wait for something. With more runtimes, those that measure time would
/// wait for the processor.
const AT_ONCE: usize = 2;

/// Each server in one runtime.
fn rows_of(
    runtime: Runtime,
    servers: &[(String, String)],
) -> Vec<(String, Runtime, Outcome<String>)> {
    let mut rows = Vec::new();
    for (handler, settings) in servers {
        // Side by side: both mostly wait.
        let modes = modes(handler);
        let outcomes: Vec<_> = thread::scope(|scope| {
            let start = |&mode| scope.spawn(move || cases(runtime, mode, handler, settings));
            let running: Vec<_> = modes.iter().map(start).collect();
            running.into_iter().map(joined).collect()
        });
        for (mode, outcome) in modes.iter().zip(outcomes) {
            rows.push((format!("{mode} {handler} {settings}"), runtime, outcome));
        }
    }
    rows
}

fn joined<T>(running: ScopedJoinHandle<'_, T>) -> T {
    running.join().expect("it doesn't panic")
}

/// What a handler can get: complete requests, or bodies that stream.
fn modes(handler: &str) -> &'static [&'static str] {
    match handler {
        "complete" => &["whole"],
        "upgrade" => &["async"],
        _ => &["whole", "async"],
    }
}

/// The handlers and settings that the cases need.
fn servers() -> Outcome<Vec<(String, String)>> {
    let said = test("which_servers_are_needed", &[])?;
    let servers = said.lines().filter_map(|line| {
        // The name of the test may precede its first line.
        let (handler, settings) = line.split_once("server: ")?.1.split_once(' ')?;
        Some((handler.to_owned(), settings.to_owned()))
    });
    let servers: Vec<_> = servers.collect();
    ensure!(!servers.is_empty(), "no line names a server:\n{said}");
    Ok(servers)
}

fn cases(runtime: Runtime, mode: &str, handler: &str, settings: &str) -> Outcome<String> {
    let program = Program::example(runtime, "conformance_server", false)?;
    let mut server = vec![("MINI_HTTP_HANDLER", handler), ("MINI_HTTP_MODE", mode)];
    // wasmi accepts no empty variable.
    if !settings.is_empty() {
        server.push(("MINI_HTTP_SETTINGS", settings));
    }
    let mut running = Server::start(&program, &[&server[..], &[("RUST_LOG", "off")]].concat())?;
    let address = running.address.to_string();
    let panic = match runtime.wasi() {
        None => "unwind",
        Some(_) => "abort",
    };
    let subject = [
        ("MINI_HTTP_CONFORMANCE", address.as_str()),
        ("MINI_HTTP_PANIC", panic),
    ];
    let said = test(
        "every_case_holds_over_a_socket",
        &[&server[..], &subject].concat(),
    )?;
    running.check_alive()?;
    let summary = said.lines().find(|line| line.contains(" cases, "));
    summary
        .map(|line| line.trim().to_owned())
        .ok_or_else(|| format!("no line says how many cases ran:\n{said}"))
}

/// Runs one of the ignored tests. Returns its output.
fn test(name: &str, env: &[(&str, &str)]) -> Outcome<String> {
    let output = Command::new("cargo")
        .args(["test", "--quiet", "--package", "mini-http-server", "--test"])
        .args([
            "conformance",
            "--",
            "--ignored",
            "--nocapture",
            "--exact",
            name,
        ])
        .envs(env.iter().copied())
        .current_dir(root())
        .output()
        .map_err(|e| format!("cargo: {e}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(said.into_owned())
}
