//! The curl matrix: tests the example `echo` with curl, and with raw sockets that do what curl can't.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::thread;
use std::time::Duration;

use crate::client::{Client, checksum, same};
use crate::curl::{Scratch, curl};
use crate::random::Random;
use crate::{Outcome, Program, Report, Runtime, Server, ensure};

type Case = (&'static str, fn(&Server) -> Outcome);

/// The cases, in order. The last ones check the state after all others.
const CASES: &[Case] = &[
    ("GET", get),
    ("HEAD", head),
    ("POST", post),
    ("POST of 1 MiB, by checksum", post_a_megabyte),
    ("chunked upload", chunked_upload),
    ("Expect: 100-continue", expect_continue),
    ("HTTP/1.0", http_1_0),
    ("two URLs, one connection", two_urls_one_connection),
    ("50 parallel transfers", parallel_transfers),
    ("50 connections interleaved", interleaved_connections),
    ("request byte by byte", byte_by_byte),
    ("pipelined, responses in order", pipelined),
    ("pipelined, large, read slowly", pipelined_and_large),
    ("half-close after the request", half_close),
    ("half-close after pipelining", half_close_after_pipelining),
    ("resets mid-request", resets),
    ("closes mid-request", closes),
    ("still responds", get),
    ("log without complaints", Server::check_log),
];

/// Runs all cases on all these runtimes.
#[must_use]
pub fn run(runtimes: &[Runtime], release: bool) -> Report {
    let mut report = Report::new("curl matrix", runtimes);
    for &runtime in runtimes {
        check(
            &mut report,
            "",
            runtime,
            |_| true,
            || start(runtime, release),
        );
    }
    report
}

/// Runs the wanted cases against any server that responds like `echo`. The names of the rows begin with `prefix`.
pub fn check(
    report: &mut Report,
    prefix: &str,
    runtime: Runtime,
    is_wanted: impl Fn(&str) -> bool,
    start: impl Fn() -> Outcome<Server>,
) {
    let mut server = start();
    for (name, case) in CASES.iter().filter(|(name, _)| is_wanted(name)) {
        let outcome = match &mut server {
            // The reason is reported only once.
            Err(why) => Err(std::mem::replace(why, "no server".into())),
            Ok(server) => case(server).and_then(|()| server.check_alive()),
        };
        let failed = outcome.is_err();
        let row = format!("{prefix}{name}");
        report.add(&row, runtime, outcome.map(|()| "ok".into()));
        if let (true, Ok(failing)) = (failed, &mut server) {
            eprintln!("    the log: {}", failing.keep_log());
            // The other cases run anyway.
            if failing.ended().is_some() {
                server = start();
            }
        }
    }
}

/// `echo` with all log levels, so that the code which logs is tested, too.
fn start(runtime: Runtime, release: bool) -> Outcome<Server> {
    let program = Program::example(runtime, "echo", release)?;
    Server::start(&program, &[("RUST_LOG", "debug")])
}

fn get(server: &Server) -> Outcome {
    let said = curl(&["-i", &server.url("/some/path?and=query")])?.text();
    let (head, body) = said
        .split_once("\r\n\r\n")
        .ok_or_else(|| format!("no head: {said}"))?;
    ensure!(
        head.starts_with("HTTP/1.1 200 "),
        "the status line of {head}"
    );
    let count = |field: &str| {
        let lines = head
            .lines()
            .filter(|line| line.to_ascii_lowercase().starts_with(field));
        lines.count()
    };
    ensure!(
        count("content-length: 6") == 1,
        "not one Content-Length of 6 in\n{head}"
    );
    ensure!(
        count("content-length:") == 1,
        "not one Content-Length in\n{head}"
    );
    ensure!(count("date:") == 1, "not one Date in\n{head}");
    same(body.as_bytes(), b"hello!")
}

fn head(server: &Server) -> Outcome {
    let said = curl(&["-v", "-I", &server.url("/"), &server.url("/")])?;
    let out = said.text().to_ascii_lowercase();
    ensure!(
        out.matches("http/1.1 200 ").count() == 2,
        "not two responses:\n{out}"
    );
    ensure!(
        out.matches("content-length: 6\r\n").count() == 2,
        "the lengths in\n{out}"
    );
    check_reused(&said.err)?;
    // curl ignores a body that must not be there. Here it would become part of the next response.
    let mut client = Client::connect(server.address)?;
    client.send("HEAD / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")?;
    let head = client.response_head()?;
    ensure!(head.status == 200, "the response to HEAD is\n{}", head.head);
    client.response()?.check(b"hello!")
}

fn post(server: &Server) -> Outcome {
    let said = curl(&["--data", "name=value&other=2", &server.url("/")])?;
    same(&said.out, b"name=value&other=2")
}

fn post_a_megabyte(server: &Server) -> Outcome {
    let scratch = Scratch::new()?;
    let body = Random::new(1).bytes(1024 * 1024);
    let data = format!("@{}", scratch.write("in", &body)?);
    // Without Expect, which curl adds for a body of this size. It has a case of its own.
    let arguments = [
        "-H",
        "Expect:",
        "--data-binary",
        &data,
        "-o",
        &scratch.file("out"),
        &server.url("/"),
    ];
    curl(&arguments)?;
    let out = scratch.read("out")?;
    let (sent, came) = (checksum(&body), checksum(&out));
    ensure!(
        sent == came,
        "checksum {came:x} should be {sent:x}: {:?}",
        same(&out, &body)
    );
    Ok(())
}

fn chunked_upload(server: &Server) -> Outcome {
    let scratch = Scratch::new()?;
    for len in [1, 70_000, 300_000] {
        let body = Random::new(2).bytes(len);
        let data = format!("@{}", scratch.write("in", &body)?);
        let url = server.url("/");
        let chunked = ["-v", "-H", "Transfer-Encoding: chunked", "-H", "Expect:"];
        let said = curl(&[&chunked[..], &["--data-binary", &data, &url]].concat())?;
        ensure!(
            said.err.contains("> Transfer-Encoding: chunked")
                && !said.err.contains("> Content-Length"),
            "curl didn't send chunks:\n{}",
            said.err
        );
        same(&said.out, &body)?;
    }
    Ok(())
}

fn expect_continue(server: &Server) -> Outcome {
    let scratch = Scratch::new()?;
    let body = Random::new(3).bytes(50_000);
    let data = format!("@{}", scratch.write("in", &body)?);
    // curl waits this long for 100 (Continue), and then sends the body anyway.
    let url = server.url("/");
    let patient = [
        "-v",
        "-H",
        "Expect: 100-continue",
        "--expect100-timeout",
        "60",
    ];
    let said = curl(&[&patient[..], &["--data-binary", &data, &url]].concat())?;
    ensure!(
        said.err.contains("< HTTP/1.1 100 "),
        "no 100:\n{}",
        said.err
    );
    ensure!(
        said.err.contains("< HTTP/1.1 200 "),
        "no 200:\n{}",
        said.err
    );
    same(&said.out, &body)
}

fn http_1_0(server: &Server) -> Outcome {
    let said = curl(&["-v", "-0", "--data", "ten", &server.url("/")])?;
    ensure!(
        said.err.contains("> POST / HTTP/1.0"),
        "curl didn't speak 1.0:\n{}",
        said.err
    );
    same(&said.out, b"ten")?;
    // A client that sends no Host, and reads to the end.
    let mut client = Client::connect(server.address)?;
    client.send("GET / HTTP/1.0\r\n\r\n")?;
    client.response()?.check(b"hello!")?;
    client.check_end()
}

fn two_urls_one_connection(server: &Server) -> Outcome {
    let connects = "%{num_connects} ";
    let said = curl(&["-v", "-w", connects, &server.url("/1"), &server.url("/2")])?;
    check_reused(&said.err)?;
    same(&said.out, b"hello!1 hello!0 ")
}

/// Fails unless the output of `curl -v` says that it has used a connection again. (The words differ
/// between versions.)
fn check_reused(said: &str) -> Outcome {
    let said_so = ["Re-using existing", "Reusing existing"]
        .iter()
        .any(|words| said.contains(words));
    ensure!(
        said_so,
        "curl doesn't say that it used the connection again:\n{said}"
    );
    Ok(())
}

fn parallel_transfers(server: &Server) -> Outcome {
    let scratch = Scratch::new()?;
    let body = |number: usize| {
        let mut random = Random::new(u64::try_from(number).unwrap_or(0));
        random.bytes(1 + number * 997)
    };
    let mut config = String::new();
    for number in 0..50 {
        let data = scratch.write(&format!("in{number}"), body(number))?;
        // Each section needs all options.
        let _ = write!(
            config,
            "{}url = \"{}\"\ndata-binary = \"@{data}\"\noutput = \"{}\"\nheader = \"Expect:\"\n\
             noproxy = \"*\"\nmax-time = 120\nwrite-out = \"%{{http_code}} \"\nsilent\nshow-error\n",
            if number == 0 { "" } else { "next\n" },
            server.url(&format!("/{number}")),
            scratch.file(&format!("out{number}")),
        );
    }
    let config = scratch.write("config", config)?;
    let parallel = ["-Z", "--parallel-max", "50", "--parallel-immediate"];
    let said = curl(&[&parallel[..], &["--config", &config]].concat())?.text();
    ensure!(
        said.matches("200 ").count() == 50,
        "not 50 times 200: {said}"
    );
    for number in 0..50 {
        same(&scratch.read(&format!("out{number}"))?, &body(number))?;
    }
    Ok(())
}

fn interleaved_connections(server: &Server) -> Outcome {
    let body = |number: usize| format!("body of {number}");
    let mut clients = Vec::new();
    for number in 0..50 {
        let mut client = Client::connect(server.address)?;
        let (head, body) = (post_head(body(number).len()), body(number));
        client.send(format!("{head}{}", &body[..number % body.len()]))?;
        clients.push(client);
    }
    for (number, client) in clients.iter_mut().enumerate() {
        let body = body(number);
        client.send(&body[number % body.len()..])?;
    }
    for (number, client) in clients.iter_mut().enumerate().rev() {
        client.response()?.check(body(number).as_bytes())?;
    }
    Ok(())
}

/// The complete head of a POST.
fn post_head(length: usize) -> String {
    format!("POST /raw HTTP/1.1\r\nHost: interop\r\nContent-Length: {length}\r\n\r\n")
}

fn byte_by_byte(server: &Server) -> Outcome {
    let plain = format!("{}drop by drop", post_head(12));
    let chunked = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5;a=b\r\ndrop \r\n7\r\nby drop\r\n0\r\nTrailer: t\r\n\r\n";
    let mut client = Client::connect(server.address)?;
    for request in [plain.as_bytes(), chunked.as_bytes()] {
        for byte in request {
            client.send([*byte])?;
            // Long enough for the server to read most bytes one by one.
            std::thread::sleep(Duration::from_micros(200));
        }
        client.response()?.check(b"drop by drop")?;
    }
    Ok(())
}

/// Ten requests of three kinds, with ten different responses.
fn ten_requests() -> (String, Vec<String>) {
    let mut requests = String::new();
    let mut bodies = Vec::new();
    for number in 0..10 {
        let body = match number % 3 {
            0 => String::new(),
            kind => format!("{kind}-{number}-").repeat(number * 40),
        };
        if number % 3 == 2 {
            let _ = write!(
                requests,
                "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
                body.len()
            );
        } else {
            let _ = write!(requests, "{}{body}", post_head(body.len()));
        }
        bodies.push(if body.is_empty() {
            "hello!".into()
        } else {
            body
        });
    }
    (requests, bodies)
}

fn pipelined(server: &Server) -> Outcome {
    let (requests, bodies) = ten_requests();
    // All at once; then split within lines and bodies.
    for at in [requests.len(), 1, 100, requests.len() / 2] {
        let mut client = Client::connect(server.address)?;
        client.send(&requests[..at])?;
        std::thread::sleep(Duration::from_millis(20));
        client.send(&requests[at..])?;
        for body in &bodies {
            client.response()?.check(body.as_bytes())?;
        }
    }
    Ok(())
}

/// Responses so large, and read so slowly, that the server has several to send at once, and each write
/// takes only a part of them.
fn pipelined_and_large(server: &Server) -> Outcome {
    let mut random = Random::new(4);
    let bodies: Vec<_> = (0..40)
        .map(|_| random.bytes(60_000 + random.clone().below(200_000)))
        .collect();
    let mut client = Client::connect_slow(server.address)?;
    let mut sender = client.sender()?;
    thread::scope(|scope| {
        let sending = scope.spawn(|| -> io::Result<()> {
            for body in &bodies {
                sender.write_all(post_head(body.len()).as_bytes())?;
                sender.write_all(body)?;
            }
            Ok(())
        });
        thread::sleep(Duration::from_millis(300));
        for (number, body) in bodies.iter().enumerate() {
            let response = client.response().and_then(|response| response.check(body));
            response.map_err(|why| format!("response {number} of {}: {why}", bodies.len()))?;
        }
        let sent = sending.join().map_err(|_| "the sender panicked")?;
        sent.map_err(|e| format!("sending: {e}"))
    })
}

fn half_close(server: &Server) -> Outcome {
    let get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned();
    for (request, body) in [
        (get, "hello!"),
        (format!("{}posted", post_head(6)), "posted"),
    ] {
        let mut client = Client::connect(server.address)?;
        client.send(request)?;
        client.half_close()?;
        client.response()?.check(body.as_bytes())?;
        client.check_end()?;
    }
    Ok(())
}

fn half_close_after_pipelining(server: &Server) -> Outcome {
    let (requests, bodies) = ten_requests();
    let mut client = Client::connect(server.address)?;
    client.send(requests)?;
    client.half_close()?;
    for body in &bodies {
        client.response()?.check(body.as_bytes())?;
    }
    client.check_end()
}

/// What a client may have sent when it disappears: nothing, part of a head, part of a
/// body, part of a chunk, or a request whose response it never reads.
fn unfinished() -> Vec<String> {
    vec![
        String::new(),
        "GE".into(),
        "GET / HTTP/1.1\r\nHost: x\r\n".into(),
        post_head(10),
        format!("{}half", post_head(8)),
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nabc".into(),
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n".into(),
        format!("{}{}", post_head(200_000), "x".repeat(200_000)),
    ]
}

fn resets(server: &Server) -> Outcome {
    for wait in [0, 5] {
        for sent in unfinished() {
            let mut client = Client::connect(server.address)?;
            client.send(sent)?;
            std::thread::sleep(Duration::from_millis(wait));
            client.reset()?;
        }
        get(server)?;
    }
    Ok(())
}

fn closes(server: &Server) -> Outcome {
    for wait in [0, 5] {
        for sent in unfinished() {
            let mut client = Client::connect(server.address)?;
            client.send(sent)?;
            std::thread::sleep(Duration::from_millis(wait));
            // A normal close. If a response was not read, the system makes it a reset.
            drop(client);
        }
        get(server)?;
    }
    Ok(())
}
