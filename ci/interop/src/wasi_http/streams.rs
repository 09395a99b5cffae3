//! Bodies in both directions, time, trailers, and clients that are gone, by the component `probe-http`.

use std::io::Write;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use super::hosts::Component;
use super::{Case, run_cases};
use crate::client::{checksum, same};
use crate::curl::{Scratch, curl};
use crate::random::Random;
use crate::report::leave_out;
use crate::server::peak_memory;
use crate::wait::in_a_quiet_moment;
use crate::{Client, Outcome, Report, Runtime, Server, ensure};

const CASES: &[Case] = &[
    ("100 MiB both ways, 64 MiB of memory", large_echo),
    ("an upload that isn't read is held back", held_back),
    ("a response is sent while it is made", lines_as_they_come),
    ("trailers of a request", request_trailers),
    ("trailers of a response", response_trailers),
    ("a body over its limit: 413", over_limit),
    ("a handler that waits for nothing: 500", stuck),
    ("a task beside its response", task),
    ("Host, and no peer address", host_and_peer),
    ("upgrade: Unsupported", upgrade),
];

/// Not in jco.
const GONE: &[Case] = &[("a client that is gone drops the future", gone)];

pub(super) fn check(report: &mut Report, host: Runtime) {
    // With less than 64 MiB, a body of 100 MiB can't be held.
    let options = ["-W", "max-memory-size=67108864"];
    let server = Component::example("probe-http").and_then(|it| it.start(host, &options));
    let of_gone = if host == Runtime::Jco {
        leave_out("clients that are gone, in jco: it goes on with the request");
        &[]
    } else {
        GONE
    };
    run_cases(report, host, server, &[CASES, of_gone].concat());
}

fn large_echo(server: &Server) -> Outcome {
    let scratch = Scratch::new()?;
    let body = Random::new(7).bytes(100 << 20);
    let path = scratch.write("in", &body)?;
    let out = scratch.file("out");
    let chunked = ["-H", "Transfer-Encoding: chunked", "-H", "Expect:"];
    let url = server.url("/echo");
    curl(&[&chunked[..], &["-T", &path, "-o", &out, &url]].concat())?;
    let (sent, came) = (checksum(&body), checksum(&scratch.read("out")?));
    ensure!(sent == came, "checksum {came:x} should be {sent:x}");
    if server.runtime != Runtime::Jco {
        // The host itself, with its compiler, and the component.
        let peak = peak_memory(server.pid())?;
        ensure!(peak < 250, "the host has held {peak} MiB");
    }
    Ok(())
}

/// A client that sends, and doesn't read what comes back, can send only as much as the buffers of the system and the
/// host hold.
fn held_back(server: &Server) -> Outcome {
    const LENGTH: usize = 64 << 20;
    const HELD: usize = 24 << 20;
    let mut client = Client::connect(server.address)?;
    let head = format!("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {LENGTH}\r\n\r\n");
    client.send(head)?;
    let mut sender = client.sender()?;
    let piece = vec![b'x'; 64 << 10];
    let patience = Some(Duration::from_secs(2));
    sender
        .set_write_timeout(patience)
        .map_err(|e| e.to_string())?;
    let mut sent = 0;
    while sent < LENGTH {
        match sender.write(&piece[..piece.len().min(LENGTH - sent)]) {
            Ok(count) => sent += count,
            Err(_) => break,
        }
    }
    ensure!(sent < HELD, "{sent} bytes were taken, and none was read");
    // Then it reads, and all goes on.
    sender.set_write_timeout(None).map_err(|e| e.to_string())?;
    scope(|scope| {
        scope.spawn(move || {
            while sent < LENGTH {
                match sender.write(&piece[..piece.len().min(LENGTH - sent)]) {
                    Ok(count) => sent += count,
                    Err(_) => return,
                }
            }
        });
        let response = client.response()?;
        ensure!(
            response.body.len() == LENGTH,
            "{} bytes came back",
            response.body.len()
        );
        Ok(())
    })
}

fn lines_as_they_come(server: &Server) -> Outcome {
    in_a_quiet_moment(|| five_lines(server))
}

/// There is a tenth of a second before each of them.
fn five_lines(server: &Server) -> Outcome {
    let mut client = Client::connect(server.address)?;
    let begun = Instant::now();
    client.send("GET /lines HTTP/1.1\r\nHost: x\r\n\r\n")?;
    client.response_head()?;
    for _ in 0..5 {
        client.read_until(b"line\n")?;
    }
    let passed = begun.elapsed();
    let expected = Duration::from_millis(500)..Duration::from_secs(5);
    ensure!(expected.contains(&passed), "five lines in {passed:?}");
    client.reset()
}

fn request_trailers(server: &Server) -> Outcome {
    let mut client = Client::connect(server.address)?;
    client.send(
        "POST /trailers HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n\
         3\r\nabc\r\n0\r\nx-sum: 3\r\n\r\n",
    )?;
    let response = client.response()?;
    if server.runtime == Runtime::Jco {
        // jco passes no trailers of requests on.
        return response.check(b"none\n");
    }
    response.check(b"{\"x-sum\": \"3\"}\n")
}

fn response_trailers(server: &Server) -> Outcome {
    let mut client = Client::connect(server.address)?;
    client.send(
        "GET /with-trailers HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nConnection: close\r\n\r\n",
    )?;
    let head = client.response_head()?;
    ensure!(head.status == 200, "{}", head.head);
    let rest = client.rest()?;
    if server.runtime == Runtime::Jco {
        // jco passes no trailers of responses on, either.
        return same(&rest, b"3\r\nabc\r\n0\r\n\r\n");
    }
    same(&rest, b"3\r\nabc\r\n0\r\nx-sum: 3\r\n\r\n")
}

fn over_limit(server: &Server) -> Outcome {
    for framing in ["Content-Type: text/plain", "Transfer-Encoding: chunked"] {
        let url = server.url("/limited");
        let printed = curl(&["-i", "-H", framing, "-d", "more than ten bytes", &url])?.text();
        ensure!(printed.starts_with("HTTP/1.1 413 "), "{framing}: {printed}");
    }
    let printed = curl(&["-d", "ten bytes!", &server.url("/limited")])?;
    same(&printed.out, b"b\"ten bytes!\"\n")
}

fn stuck(server: &Server) -> Outcome {
    let printed = curl(&["-i", &server.url("/stuck")])?.text();
    ensure!(printed.starts_with("HTTP/1.1 500 "), "{printed}");
    Ok(())
}

fn task(server: &Server) -> Outcome {
    same(&curl(&[&server.url("/task")])?.out, b"true\n")
}

fn host_and_peer(server: &Server) -> Outcome {
    let printed = curl(&[&server.url("/host")])?.text();
    ensure!(printed.contains(&server.address.to_string()), "{printed}");
    same(&curl(&[&server.url("/peer")])?.out, b"None\n")
}

fn upgrade(server: &Server) -> Outcome {
    same(
        &curl(&[&server.url("/upgrade")])?.out,
        b"Some(Unsupported)\n",
    )
}

fn gone(server: &Server) -> Outcome {
    let count = |what: &str| server.log().matches(what).count();
    for _ in 0..3 {
        let mut client = Client::connect(server.address)?;
        client.send("GET /lines HTTP/1.1\r\nHost: x\r\n\r\n")?;
        client.response_head()?;
        client.read_until(b"line\n")?;
        client.reset()?;
    }
    let begun = Instant::now();
    while count("lines: dropped") < count("lines: begun") || count("lines: begun") < 3 {
        let (dropped, all) = (count("lines: dropped"), count("lines: begun"));
        ensure!(
            begun.elapsed() < Duration::from_secs(10),
            "{dropped} of {all} were dropped"
        );
        sleep(Duration::from_millis(50));
    }
    Ok(())
}
