//! Checks the programs of `examples/hyper`: on hyper, on axum, and on mio alone; with the mio shim in runtimes of
//! preview 1, and natively with the mio of crates.io. Those on hyper and axum must also behave like the example `echo`.

use std::thread;
use std::time::Duration;

use crate::client::Client;
use crate::curl::curl;
use crate::runtime::Wasi;
use crate::{
    Outcome, Program, Report, Runtime, Server, curl_matrix, ensure, idle, resets, root, websocket,
};

/// The cases that are checked in blind runtimes.
const WHERE_BLIND: &[&str] = &["GET", "POST", "two URLs, one connection", "still responds"];

/// Checks them on each of these runtimes.
#[must_use]
pub fn run(runtimes: &[Runtime]) -> Report {
    let mut report = Report::new("mio shim", runtimes);
    for &runtime in runtimes {
        for name in ["hyper_echo", "axum_app"] {
            let program = build(runtime, name);
            let start = || Server::start(program.as_ref().map_err(Clone::clone)?, &[]);
            let wanted = |case: &str| !runtime.is_blind() || WHERE_BLIND.contains(&case);
            curl_matrix::check(&mut report, &format!("{name}: "), runtime, wanted, start);
            let mut add = |case: &str, outcome: Outcome<String>| {
                report.add(&format!("{name}: {case}"), runtime, outcome);
            };
            let program = || program.as_ref().map_err(Clone::clone);
            add(
                "ticks in 5 s, 100 idle connections",
                program().and_then(|it| {
                    // Each try wakes a task, which costs more than in the example `echo`.
                    let most_ticks = if runtime.is_blind() { 5 * 10 } else { 2 };
                    let settings = idle::Settings {
                        connections: 100,
                        seconds: 5,
                        most_ticks,
                        release: true,
                    };
                    idle::measure(it, settings)
                }),
            );
            add(
                "seconds for 2000 resets",
                program().and_then(|it| {
                    let settings = resets::Settings {
                        count: 2000,
                        seed: 1,
                        limit: Duration::from_secs(120),
                        release: true,
                    };
                    resets::reset_all(it, settings)
                }),
            );
            add("256 connections", program().and_then(|it| many(it, 256)));
            if !runtime.is_blind() {
                add("1000 connections", program().and_then(|it| many(it, 1000)));
            }
        }
        let outcome = build(runtime, "axum_app").and_then(|it| app(&it));
        report.add(APP, runtime, outcome);
        let outcome = build(runtime, "mio_lines").and_then(|it| lines(&it));
        report.add("mio_lines: greets and echoes", runtime, outcome);
        websocket::check(&mut report, runtime);
    }
    report
}

/// Builds one of the programs. The manifest with the patch can't be built natively; the other has the same sources.
///
/// # Errors
/// Those of [`Program::build`], and that a runtime isn't one of preview 1.
pub fn build(runtime: Runtime, name: &str) -> Outcome<Program> {
    let folder = match runtime.wasi() {
        None => "examples/hyper/native",
        Some(Wasi::Preview1) => "examples/hyper/wasi",
        Some(Wasi::Preview2) => return Err("the shim is for preview 1".into()),
    };
    let folder = root().join(folder);
    Program::build(runtime, &folder, &["--locked", "--bin", name], true)
}

/// Uses `count` persistent connections in turn.
///
/// # Errors
/// One wasn't served.
pub fn many(program: &Program, count: usize) -> Outcome<String> {
    let mut server = Server::start(program, &[])?;
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(Client::connect(server.address)?);
    }
    for round in 0..3 {
        for client in &mut clients {
            client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")?;
        }
        for (number, client) in clients.iter_mut().enumerate() {
            let response = client.response().and_then(|it| it.check(b"hello!"));
            response.map_err(|why| format!("connection {number}, round {round}: {why}"))?;
        }
    }
    server.check_alive()?;
    Ok("ok".into())
}

/// The row of [`app`].
pub const APP: &str = "axum_app: router, JSON, state, stream, events";

/// Checks what `axum_app` does besides echoing.
///
/// # Errors
/// It does something else.
pub fn app(program: &Program) -> Outcome<String> {
    let mut server = Server::start(program, &[])?;
    let json = ["-H", "Content-Type: application/json", "--data"];
    for number in 1..=2 {
        let url = server.url("/greet");
        let said = curl(&[&json[..], &[r#"{"name":"you"}"#, &url]].concat())?.text();
        let expected = format!(r#"{{"text":"hello, you!","number":{number}}}"#);
        ensure!(said == expected, "{said} instead of {expected}");
    }
    let said = curl(&[&server.url("/greetings")])?.text();
    ensure!(said == "2", "{said} greetings instead of 2");
    let said = curl(&["-w", "%{http_code}", "-X", "DELETE", &server.url("/greet")])?.text();
    ensure!(said.ends_with("405"), "the response to DELETE is {said}");
    let said = curl(&["-i", &server.url("/stream")])?.text();
    ensure!(
        said.to_ascii_lowercase()
            .contains("transfer-encoding: chunked")
            && said.ends_with("line 9\n"),
        "no stream: {said}"
    );
    let said = curl(&["-i", &server.url("/events")])?.text();
    let events: String = (0..10)
        .map(|id| format!("id: {id}\ndata: tick\n\n"))
        .collect();
    ensure!(
        said.to_ascii_lowercase()
            .contains("content-type: text/event-stream")
            && said.ends_with(&events),
        "no events: {said}"
    );
    server.check_alive()?;
    server.check_log()?;
    Ok("ok".into())
}

fn lines(program: &Program) -> Outcome<String> {
    let mut server = Server::start(program, &[])?;
    let body = "x".repeat(300_000);
    for text in ["one\n", body.as_str()] {
        let mut client = Client::connect(server.address)?;
        let mut sender = client.sender()?;
        thread::scope(|scope| {
            scope.spawn(move || std::io::Write::write_all(&mut sender, text.as_bytes()));
            let expected = 7 + text.len();
            let came = client.swallow(expected, Duration::from_secs(20));
            ensure!(came == expected, "{came} bytes instead of {expected}");
            Ok(())
        })?;
        client.half_close()?;
        client.check_end()?;
    }
    holds_little(&server)?;
    server.check_alive()?;
    server.check_log()?;
    Ok("ok".into())
}

/// A client that takes nothing back can't send without end: the program and the systems hold little of it.
fn holds_little(server: &Server) -> Outcome {
    const MOST: usize = 64 << 20;
    let client = Client::connect(server.address)?;
    let mut sender = client.sender()?;
    let timeout = Some(Duration::from_secs(2));
    sender
        .set_write_timeout(timeout)
        .map_err(|e| format!("setting a timeout: {e}"))?;
    let mut sent = 0;
    while let Ok(count) = std::io::Write::write(&mut sender, &[b'x'; 64 << 10]) {
        sent += count;
        ensure!(
            sent < MOST,
            "it takes {sent} bytes of a client that reads nothing"
        );
    }
    Ok(())
}
