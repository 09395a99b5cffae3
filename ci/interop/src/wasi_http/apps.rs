//! The examples `everywhere`, `sse`, `upload` and `axum` as components.

use std::time::{Duration, Instant};

use super::hosts::Component;
use super::{Case, run_cases};
use crate::client::same;
use crate::curl::{Scratch, curl};
use crate::random::Random;
use crate::report::leave_out;
use crate::wait::in_a_quiet_moment;
use crate::{Client, Outcome, Program, Report, Runtime, Server, ensure};

const EVERYWHERE: &[Case] = &[("everywhere: as with sockets", everywhere)];
const SSE: &[Case] = &[("sse: the clock", clock), ("sse: the page", page)];
const AXUM: &[Case] = &[("axum: notes", notes), ("axum: errors", errors)];

pub(super) fn check(report: &mut Report, host: Runtime) {
    let start = |component: Outcome<Component>| component?.start(host, &[]);
    run_cases(report, host, start(Component::everywhere()), EVERYWHERE);
    run_cases(report, host, start(Component::example("sse-http")), SSE);
    run_cases(report, host, start(Component::example("axum-http")), AXUM);
    if host == Runtime::Jco {
        leave_out(
            "`upload` in jco: its `serve` can't pass a folder to a component by a chosen name",
        );
        return;
    }
    report.add(
        "upload: a file of 20 MiB",
        host,
        upload(host).map(|()| "ok".into()),
    );
}

/// The requests to the component and to each program: a path, and the arguments of curl.
const REQUESTS: [(&str, &[&str]); 6] = [
    ("/", &[]),
    ("/none", &[]),
    ("/echo", &["-d", "some text"]),
    ("/ticks", &[]),
    ("/", &["-I"]),
    ("/echo", &["-H", "Transfer-Encoding: chunked", "-d", "more"]),
];

/// The programs with sockets respond as the component does.
fn everywhere(server: &Server) -> Outcome {
    let here = responses(server)?;
    for runtime in [Runtime::Native, Runtime::Wasmi, Runtime::Wasmtime48] {
        let what = ["--locked", "--package", "everywhere", "--bin", "everywhere"];
        let program = Program::build(runtime, &crate::root().join("examples"), &what, true)?;
        let there = responses(&Server::start(&program, &[])?)?;
        ensure!(
            here == there,
            "with sockets, {runtime} responds {there:?}; the component {here:?}"
        );
    }
    Ok(())
}

/// The status, the length and the body of each response.
fn responses(server: &Server) -> Outcome<Vec<String>> {
    let ask = |&(path, arguments): &(&str, &[&str])| -> Outcome<String> {
        let url = server.url(path);
        let printed = curl(&[&["-w", "\n%{http_code}", &url], arguments].concat())?.text();
        // A response to HEAD is a head.
        let is_compared = |line: &&str| !line.contains(": ") || line.starts_with("content-length");
        let lines = printed.lines().filter(is_compared);
        Ok(lines.collect::<Vec<_>>().join("\n"))
    };
    REQUESTS.iter().map(ask).collect()
}

fn clock(server: &Server) -> Outcome {
    in_a_quiet_moment(|| two_events(server))
}

/// One at once, and one a second later.
fn two_events(server: &Server) -> Outcome {
    let mut client = Client::connect(server.address)?;
    let begun = Instant::now();
    client.send("GET /clock HTTP/1.1\r\nHost: x\r\n\r\n")?;
    let head = client.response_head()?;
    ensure!(
        head.values("content-type").eq(["text/event-stream"]),
        "{}",
        head.head
    );
    client.read_until(b"data: ")?;
    client.read_until(b"data: ")?;
    let passed = begun.elapsed();
    let expected = Duration::from_secs(1)..Duration::from_secs(5);
    ensure!(
        expected.contains(&passed),
        "the next event comes after {passed:?}"
    );
    client.reset()
}

fn page(server: &Server) -> Outcome {
    let printed = curl(&["-i", &server.url("/")])?.text();
    ensure!(
        printed.contains("text/html") && printed.contains("EventSource"),
        "{printed}"
    );
    Ok(())
}

const JSON: [&str; 2] = ["-H", "Content-Type: application/json"];

fn notes(server: &Server) -> Outcome {
    let url = server.url("/notes");
    let printed =
        curl(&[&JSON[..], &["-i", "-d", r#"{"text": "buy milk"}"#, &url]].concat())?.text();
    ensure!(printed.starts_with("HTTP/1.1 201 "), "{printed}");
    ensure!(
        printed.ends_with(r#"{"id":1,"text":"buy milk"}"#),
        "{printed}"
    );
    let printed = curl(&[&url])?.text();
    ensure!(printed.starts_with('['), "{printed}");
    same(&curl(&[&server.url("/me")])?.out, br#"{"address":null}"#)
}

fn errors(server: &Server) -> Outcome {
    for (path, data, status) in [
        ("/none", None, "404"),
        ("/notes/7", None, "404"),
        ("/notes", Some("{"), "400"),
        ("/me", Some("{}"), "405"),
    ] {
        let url = server.url(path);
        let mut arguments = vec!["-i", &url];
        if let Some(data) = data {
            arguments.extend(JSON);
            arguments.extend(["-d", data]);
        }
        let printed = curl(&arguments)?.text();
        let is_right = printed.starts_with(&format!("HTTP/1.1 {status} "));
        ensure!(
            is_right && printed.contains(r#""error":"#),
            "{path}: {printed}"
        );
    }
    let large = format!(r#"{{"text": "{}"}}"#, "x".repeat(20 << 10));
    let url = server.url("/notes");
    let printed = curl(&[&JSON[..], &["-i", "-d", &large, &url]].concat())?.text();
    ensure!(printed.contains("413 "), "{printed}");
    Ok(())
}

fn upload(host: Runtime) -> Outcome {
    let (folder, scratch) = (Scratch::new()?, Scratch::new()?);
    let mapped = format!("{}::/uploads", folder.path().display());
    let component = Component::example("upload-http")?;
    let server = component.start(host, &["--dir", &mapped])?;
    let body = Random::new(9).bytes(20 << 20);
    let path = scratch.write("sent.bin", &body)?;
    let form = format!("file=@{path}");
    let url = server.url("/");
    let printed = curl(&["-i", "-F", &form, &url])?.text();
    ensure!(
        printed.contains(" 201 "),
        "{printed}\n{}",
        server.log_end(10)
    );
    same(&folder.read("sent.bin")?, &body)?;
    let printed = curl(&["-i", "-F", &form, &url])?.text();
    ensure!(printed.contains(" 409 "), "a second time: {printed}");
    Ok(())
}
