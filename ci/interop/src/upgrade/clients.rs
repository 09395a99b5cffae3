//! WebSocket clients that others have written: the package `websockets` of Python, and the client of Node.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use super::Row;
use crate::{Outcome, Server, ensure, root};

/// How many messages each client exchanges.
const MESSAGES: &str = "10000";

/// Both clients at once, against one server.
pub(super) fn run(server: Outcome<Server>) -> Vec<Row> {
    let address = server
        .as_ref()
        .map(|it| it.address.to_string())
        .map_err(Clone::clone);
    let (python, node) = thread::scope(|scope| {
        let python = scope.spawn(|| python(address.as_ref().map_err(Clone::clone)?));
        let node = node(&address);
        (python.join().expect("it doesn't panic"), node)
    });
    let after = server.and_then(|mut it| it.check_alive().and_then(|()| it.check_log()));
    vec![
        (
            "Python's websockets: messages, fragments, pings, a room".into(),
            python,
        ),
        ("Node's WebSocket: messages".into(), node),
        ("the server still runs".into(), after.map(|()| "ok".into())),
    ]
}

fn python(address: &str) -> Outcome<String> {
    let installed = Command::new(root().join("ci/python"))
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| format!("ci/python: {e}"))?;
    ensure!(installed.status.success(), "ci/python failed");
    let path = String::from_utf8_lossy(&installed.stdout).trim().to_owned();
    client(Command::new(path), "websocket.py", address)
}

fn node(address: &Outcome<String>) -> Outcome<String> {
    let mut node = Command::new("node");
    // It is on by default from Node 22 on.
    node.arg("--experimental-websocket");
    client(
        node,
        "websocket.mjs",
        address.as_ref().map_err(Clone::clone)?,
    )
}

/// Runs a client of `ci/clients`. Returns how long it took.
fn client(mut command: Command, script: &str, address: &str) -> Outcome<String> {
    let started = Instant::now();
    let path = root().join(Path::new("ci/clients")).join(script);
    let output = command
        .arg(path)
        .args([address, MESSAGES])
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("{command:?}: {e}"))?;
    let err = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{script}: {}\n{err}",
        output.status
    );
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(format!("{said}, {:.1} s", started.elapsed().as_secs_f32()))
}
