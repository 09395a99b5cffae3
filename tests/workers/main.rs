//! Several workers, natively over real sockets.
#![cfg(not(target_os = "wasi"))]

mod failures;
#[path = "../common/in_thread.rs"]
mod in_thread;
mod limits;
mod serving;
mod tasks;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use mini_http::{Request, Response, Server};

use self::in_thread::{start, stop};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// A server with two workers.
fn two() -> Server {
    let mut server = Server::new("127.0.0.1:0").expect("a free port");
    server.workers(2);
    server
}

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).expect("the server listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a timeout");
    stream
}

/// Sends `request`, and returns the body of its response.
fn exchange(stream: &mut TcpStream, request: &[u8]) -> String {
    stream.write_all(request).expect("the server reads");
    let mut received = Vec::new();
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a response");
        received.push(byte[0]);
        let text = String::from_utf8_lossy(&received);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        if body.len()
            == length
                .expect("a length")
                .parse::<usize>()
                .expect("a number")
        {
            return body.to_owned();
        }
    }
}

/// Responds with the thread that serves.
fn thread_id(_: Request) -> Response<Vec<u8>> {
    let id = thread::current().id();
    Response::new(format!("{id:?}").into_bytes())
}

/// Opens 400 connections. Returns them, and how many of them each worker serves.
fn spread(addr: SocketAddr) -> (Vec<TcpStream>, BTreeMap<String, usize>) {
    let mut streams: Vec<_> = (0..400).map(|_| connect(addr)).collect();
    let mut spread = BTreeMap::new();
    for stream in &mut streams {
        *spread.entry(exchange(stream, GET)).or_default() += 1;
    }
    (streams, spread)
}

/// Waits until this holds.
fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "not in time: {what}"
        );
        thread::sleep(Duration::from_millis(2));
    }
}
