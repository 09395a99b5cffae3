//! The body of a request, as the handler takes it.

use std::io::{Read, Write};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use mini_http::http::Request;
use mini_http::{Bytes, Incoming, IncomingError, Response, sleep};

use super::server::{Running, SOON, ends_with, hello, next, read_until, rest};

#[test]
fn an_upload_streams_with_backpressure() {
    const LENGTH: usize = 32 << 20;
    let server = Running::start(|server| {
        server.serve_async(async |request: Request<Incoming>| {
            let mut body = request.into_body();
            body.limit(u64::MAX);
            // The client can't send much of it meanwhile.
            sleep(Duration::from_millis(300)).await;
            let mut length = 0;
            while let Some(data) = next(&mut body).await {
                length += data?.len();
            }
            Ok::<_, IncomingError>(Response::new(length.to_string()))
        })
    });
    let mut stream = server.connect();
    let since = Instant::now();
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {LENGTH}\r\n\r\n"
    )
    .expect("the server reads");
    stream
        .write_all(&vec![b'x'; LENGTH])
        .expect("the server reads on");
    assert!(
        since.elapsed() >= Duration::from_millis(250),
        "{:?}",
        since.elapsed()
    );
    let response = read_until(&mut stream, ends_with(&LENGTH.to_string()));
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    let peak = server.handle.counters().held_peak;
    assert!(peak <= 256 << 10, "{peak} bytes held");
    server.stop();
}

#[test]
fn an_echo_streams_both_ways() {
    const LENGTH: usize = 8 << 20;
    let server = Running::start(|server| {
        server.serve_async(async |mut request: Request<Incoming>| {
            request.body_mut().limit(u64::MAX);
            Response::new(request.into_body())
        })
    });
    let mut stream = server.connect();
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    .expect("the server reads");
    // Piece by piece, each when the one before has come back.
    for piece in ["one", "two", "three"] {
        write!(stream, "{:x}\r\n{piece}\r\n", piece.len()).expect("the server reads");
        read_until(&mut stream, ends_with(&format!("{piece}\r\n")));
    }
    let mut writer = stream.try_clone().expect("a second handle");
    let sender = thread::spawn(move || {
        for _ in 0..LENGTH / 1024 {
            writer.write_all(b"400\r\n").expect("the server reads");
            writer.write_all(&[b'x'; 1024]).expect("the server reads");
            writer.write_all(b"\r\n").expect("the server reads");
        }
        writer.write_all(b"0\r\n\r\n").expect("the server reads");
    });
    let mut all = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    while !all.ends_with(b"\r\n0\r\n\r\n") {
        let length = stream.read(&mut buffer).expect("an echo");
        assert!(length > 0, "the stream ended after {} bytes", all.len());
        all.extend_from_slice(&buffer[..length]);
    }
    sender.join().expect("no panic");
    assert_eq!(all.iter().filter(|&&byte| byte == b'x').count(), LENGTH);
    let peak = server.handle.counters().held_peak;
    assert!(peak <= 512 << 10, "{peak} bytes held");
    server.stop();
}

#[test]
fn continue_is_sent_when_the_body_is_polled_and_never_before() {
    const EXPECT: &str = "Host: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    let (go_on, may_go_on) = channel();
    let server = Running::start(move |server| {
        server.serve_async(async |request: Request<Incoming>| {
            let target = request.uri().path().to_string();
            let mut body = request.into_body();
            while target == "/late" && may_go_on.try_recv().is_err() {
                sleep(Duration::from_millis(5)).await;
            }
            if target == "/small" {
                body.limit(2);
            }
            let data = if target == "/unread" {
                Bytes::new()
            } else {
                body.bytes().await?
            };
            Ok::<_, IncomingError>(Response::new(format!("got {}", data.len())))
        })
    });
    let mut late = server.send(format!("POST /late HTTP/1.1\r\n{EXPECT}").as_bytes());
    late.set_read_timeout(Some(Duration::from_millis(50)))
        .expect("a timeout");
    assert!(late.read(&mut [0; 10]).is_err());
    late.set_read_timeout(Some(SOON)).expect("a timeout");
    go_on.send(()).expect("the handler waits");
    let interim = read_until(&mut late, ends_with("\r\n\r\n"));
    assert_eq!(interim, "HTTP/1.1 100 Continue\r\n\r\n");
    late.write_all(b"abc").expect("the server reads");
    read_until(&mut late, ends_with("got 3"));

    let mut unread = server.send(format!("POST /unread HTTP/1.1\r\n{EXPECT}").as_bytes());
    let all = rest(&mut unread);
    assert!(
        all.starts_with("HTTP/1.1 200 ") && all.ends_with("got 0"),
        "{all}"
    );
    assert!(all.contains("connection: close\r\n"), "{all}");

    let mut small = server.send(format!("POST /small HTTP/1.1\r\n{EXPECT}").as_bytes());
    let all = rest(&mut small);
    assert!(all.starts_with("HTTP/1.1 413 "), "{all}");
    server.stop();
}

#[test]
fn a_dropped_body_is_drained_or_closes_the_connection() {
    let server = Running::start(|server| server.serve_async(hello));
    let mut short = server.connect();
    for _ in 0..3 {
        let post = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 50000\r\n\r\n";
        short.write_all(post).expect("it persists");
        short.write_all(&[b'x'; 50_000]).expect("it persists");
        let response = read_until(&mut short, ends_with("hello!"));
        assert!(!response.contains("connection: close"), "{response}");
    }
    let mut long = server.connect();
    let post = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5000000\r\n\r\n";
    long.write_all(post).expect("the server reads");
    long.write_all(&vec![b'x'; 5_000_000])
        .expect("it is read and dropped");
    let all = rest(&mut long);
    assert!(
        all.contains("connection: close\r\n") && all.ends_with("hello!"),
        "{all}"
    );
    server.stop();
}
