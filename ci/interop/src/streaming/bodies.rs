//! Bodies of requests and responses while they are sent.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::{Case, get, post};
use crate::client::{PATIENCE, same};
use crate::curl::{Scratch, curl};
use crate::wait::in_a_quiet_moment;
use crate::{Client, Outcome, Server, ensure};

pub(super) const CASES: &[Case] = &[
    ("MiB taken of an upload that isn't polled", backpressure),
    ("an echo while it is received; trailers", echo),
    ("an upload and a download by curl", transfers),
    ("100 Continue when the body is polled", expectation),
    ("a body that isn't polled", unread),
];

/// The handler polls the body only after 1.5 s. Until then, the client can't send more than the buffers hold.
fn backpressure(server: &mut Server) -> Outcome<String> {
    const LENGTH: usize = 48 << 20;
    // What the systems of both ends keep is at most 6 MiB on Linux (tcp_rmem), and a host may keep some.
    const MOST: usize = 8 << 20;
    const STALLED: Duration = Duration::from_millis(300);
    // What the server may hold: the queue of 64 KiB, and a read.
    const MOST_HELD: u64 = 192 << 10;
    let mut client = Client::connect(server.address)?;
    client.send(format!(
        "POST /count?1500 HTTP/1.1\r\nHost: x\r\nContent-Length: {LENGTH}\r\n\r\n"
    ))?;
    let mut stream = client.sender()?;
    let set = |e: std::io::Error| format!("setting up a socket: {e}");
    SockRef::from(&stream)
        .set_send_buffer_size(64 << 10)
        .map_err(set)?;
    stream.set_write_timeout(Some(STALLED)).map_err(set)?;
    let sent = send_until_stalled(&mut stream, LENGTH)?;
    ensure!(sent <= MOST, "{sent} bytes were taken, more than {MOST}");
    let mut other = Client::connect(server.address)?;
    other.send(get("/stats"))?;
    let stats = String::from_utf8_lossy(&other.response()?.body).into_owned();
    let held = stats.lines().find_map(|line| line.strip_prefix("held "));
    let held: Option<u64> = held.and_then(|it| it.parse().ok());
    ensure!(
        held.is_some_and(|held| held <= MOST_HELD),
        "more than {MOST_HELD} bytes are held:\n{stats}"
    );
    stream.set_write_timeout(Some(PATIENCE)).map_err(set)?;
    send(&mut stream, LENGTH - sent)?;
    client.response()?.check(LENGTH.to_string().as_bytes())?;
    Ok(format!("{:.1}", sent as f64 / f64::from(1 << 20)))
}

/// Sends at most `length` bytes, until there is no room for as long as the stream waits.
fn send_until_stalled(stream: &mut TcpStream, length: usize) -> Outcome<usize> {
    let piece = [b'x'; 16 << 10];
    let mut sent = 0;
    while sent < length {
        match stream.write(&piece[..piece.len().min(length - sent)]) {
            Ok(count) => sent += count,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            Err(e) => return Err(format!("sending: {e}")),
        }
    }
    Ok(sent)
}

fn send(stream: &mut TcpStream, length: usize) -> Outcome {
    let sent = send_until_stalled(stream, length)?;
    ensure!(sent == length, "{} bytes weren't taken", length - sent);
    Ok(())
}

/// The response is read while the request is sent, so both can be larger than all buffers.
fn echo(server: &mut Server) -> Outcome<String> {
    const COUNT: usize = 600;
    const SIZE: usize = 10_000;
    let piece = |number: usize| vec![b'a' + (number % 26) as u8; SIZE];
    let mut client = Client::connect(server.address)?;
    client.send(
        "POST /echo HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n",
    )?;
    let mut stream = client.sender()?;
    let sender = thread::spawn(move || -> std::io::Result<()> {
        for number in 0..COUNT {
            write!(stream, "{SIZE:x}\r\n")?;
            stream.write_all(&piece(number))?;
            stream.write_all(b"\r\n")?;
        }
        stream.write_all(b"0\r\nX-Sum: 5\r\n\r\n")
    });
    let (response, trailers) = client.chunked_response()?;
    let sent = sender.join().map_err(|_| "the sender panicked")?;
    sent.map_err(|e| format!("sending: {e}"))?;
    response.check(&(0..COUNT).flat_map(piece).collect::<Vec<_>>())?;
    ensure!(
        trailers.len() == 1 && trailers[0].eq_ignore_ascii_case("x-sum: 5"),
        "the trailers are {trailers:?}"
    );
    // A client that doesn't say that it takes trailers gets none.
    client.send("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 5\r\n\r\n")?;
    let (response, trailers) = client.chunked_response()?;
    response.check(b"a")?;
    ensure!(trailers.is_empty(), "the trailers are {trailers:?}");
    // What is sent comes back before more is sent, and with the length of the request.
    client.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc")?;
    let response = client.response_head()?;
    ensure!(
        response.values("content-length").eq(["6"]),
        "not the length of the request: {}",
        response.head
    );
    same(&client.take(3)?, b"abc")?;
    client.send("def")?;
    same(&client.take(3)?, b"def")?;
    client.send(get("/"))?;
    client.response()?.check(b"hello!")?;
    Ok("ok".into())
}

fn transfers(server: &mut Server) -> Outcome<String> {
    const LENGTH: usize = 8 << 20;
    let scratch = Scratch::new()?;
    let file = scratch.write("upload", vec![b'x'; LENGTH])?;
    let chunked = ["-H", "Transfer-Encoding: chunked"];
    for more in [&[][..], &chunked[..], &["-H", "Expect: 100-continue"][..]] {
        let url = server.url("/count");
        let said = curl(&[&["-T", &file, &url], more].concat())?.text();
        ensure!(said == LENGTH.to_string(), "{said} bytes were received");
    }
    for target in ["/data", "/chunks"] {
        for more in [&[][..], &["--http1.0"][..]] {
            let url = server.url(&format!("{target}?{LENGTH}"));
            let said = curl(&[&[&*url], more].concat())?;
            ensure!(
                said.out.len() == LENGTH && said.out.iter().all(|byte| *byte == b'x'),
                "{} bytes of {target} came",
                said.out.len()
            );
        }
    }
    Ok("ok".into())
}

const EXPECT: &str = "HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";

fn expectation(server: &mut Server) -> Outcome<String> {
    in_a_quiet_moment(|| continue_when_polled(server))?;
    continue_only_if_needed(server)?;
    Ok("ok".into())
}

fn continue_when_polled(server: &Server) -> Outcome {
    let mut client = Client::connect(server.address)?;
    let asked = Instant::now();
    client.send(format!("POST /count?300 {EXPECT}"))?;
    let interim = client.any_response()?;
    ensure!(interim.status == 100, "{} came", interim.head);
    let came = asked.elapsed();
    ensure!(
        (300..600).contains(&came.as_millis()),
        "100 Continue came after {came:.1?}, and not 300 ms"
    );
    client.send("abcde")?;
    client.response()?.check(b"5")
}

fn continue_only_if_needed(server: &Server) -> Outcome {
    let mut client = Client::connect(server.address)?;
    // Too large: no 100.
    client.send(format!("POST /limited?4 {EXPECT}"))?;
    let refused = client.any_response()?;
    ensure!(refused.status == 413, "{} came", refused.head);
    client.check_end()?;
    // The handler doesn't read the body: no 100. Then the server can't know whether the body comes next.
    let mut client = Client::connect(server.address)?;
    client.send(format!("POST /ignore {EXPECT}"))?;
    let response = client.any_response()?;
    response.check(b"ignored")?;
    ensure!(
        response.values("connection").eq(["close"]),
        "{}",
        response.head
    );
    client.check_end()
}

fn unread(server: &mut Server) -> Outcome<String> {
    // A small rest is drained.
    let mut client = Client::connect(server.address)?;
    let small = "x".repeat(10_000);
    client.send(post("/ignore", &small) + &get("/"))?;
    client.response()?.check(b"ignored")?;
    client.response()?.check(b"hello!")?;
    // After a large one the connection ends, but the client can send it all and gets the response.
    let large = post("/ignore", &"x".repeat(1 << 20)) + &get("/");
    client.send(large)?;
    let response = client.response()?;
    response.check(b"ignored")?;
    ensure!(
        response.values("connection").eq(["close"]),
        "{}",
        response.head
    );
    client.check_end()?;
    Ok("ok".into())
}
