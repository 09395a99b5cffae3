//! Bodies in pieces, natively over real sockets: of synchronous handlers, and echoes of a request's body.
#![cfg(not(target_os = "wasi"))]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mini_http::body::{AnyBody, Chunks, Reader};
use mini_http::http::Request as AsyncRequest;
use mini_http::{Handle, Incoming, Request, Response, Result, Server};

/// A server in a thread of its own.
struct Running {
    addr: SocketAddr,
    handle: Handle,
    thread: JoinHandle<Result<()>>,
}

impl Running {
    fn start(serve: impl FnOnce(Server) -> Result<()> + Send + 'static) -> Self {
        let mut server = Server::new("127.0.0.1:0").expect("a free port");
        server.limits(|limits| limits.max_body = 2 << 20);
        let (addr, handle) = (server.local_addr().expect("an address"), server.handle());
        let thread = thread::spawn(move || serve(server));
        Self {
            addr,
            handle,
            thread,
        }
    }

    fn send(&self, request: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.addr).expect("the server listens");
        let timeout = Some(Duration::from_secs(30));
        stream.set_read_timeout(timeout).expect("a timeout");
        stream.write_all(request).expect("the server reads");
        stream
    }

    /// The response to a request, after which the connection is closed.
    fn exchange(&self, request: &str) -> String {
        let request = request.replace("\r\n\r\n", "\r\nHost: h\r\nConnection: close\r\n\r\n");
        let mut response = Vec::new();
        self.send(request.as_bytes())
            .read_to_end(&mut response)
            .expect("the server responds and closes");
        String::from_utf8(response).expect("text")
    }

    fn stop(self) {
        self.handle.stop();
        self.thread.join().expect("no panic").expect("it ends well");
    }
}

/// Head and body.
#[track_caller]
fn parts(response: &str) -> (&str, &str) {
    response.split_once("\r\n\r\n").expect("a whole head")
}

/// The data of a chunked body, and whether it has its last chunk.
#[track_caller]
fn dechunked(mut body: &str) -> (String, bool) {
    let mut data = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a size");
        if size == 0 {
            assert_eq!(rest, "\r\n");
            return (data, true);
        }
        data += &rest[..size];
        body = &rest[size + 2..];
    }
    (data, false)
}

struct Failing(usize);

impl Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::Error::other("broken"));
        }
        self.0 -= 1;
        buffer[0] = b'a';
        Ok(1)
    }
}

/// Never read.
struct Panicking;

impl Read for Panicking {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        panic!("it was read")
    }
}

fn respond(request: Request) -> Response<AnyBody> {
    assert!(request.peer_addr().is_some());
    Response::new(match request.uri().path() {
        "/whole" => "abc".into(),
        "/none" => ().into(),
        "/sized" => Reader::sized(&b"abcdef"[..], 3).into(),
        "/reader" => Reader::new(&b"abc"[..]).into(),
        "/chunks" => Chunks::new(["a", "", "bc"]).into(),
        "/endless" => Chunks::new(std::iter::repeat("a".repeat(1_000))).into(),
        "/failing" => Reader::new(Failing(2)).into(),
        "/short" => Reader::sized(&b"abc"[..], 5).into(),
        "/unread" => Reader::sized(Panicking, 5).into(),
        "/panic" => panic!("a handler's panic"),
        _ => request.into_body().into(),
    })
}

#[test]
fn a_synchronous_handler_returns_bodies_of_any_kind() {
    let server = Running::start(|server| server.serve(respond));
    for path in ["/whole", "/sized"] {
        let response = server.exchange(&format!("GET {path} HTTP/1.1\r\n\r\n"));
        let (head, body) = parts(&response);
        assert!(head.to_lowercase().contains("content-length: 3"), "{head}");
        assert_eq!(body, "abc");
    }
    for path in ["/reader", "/chunks"] {
        let response = server.exchange(&format!("GET {path} HTTP/1.1\r\n\r\n"));
        let (head, body) = parts(&response);
        assert!(
            head.to_lowercase().contains("transfer-encoding: chunked"),
            "{head}"
        );
        assert_eq!(dechunked(body), ("abc".into(), true));
        let response = server.exchange(&format!("GET {path} HTTP/1.0\r\n\r\n"));
        assert_eq!(parts(&response).1, "abc");
    }
    let response = server.exchange("GET /none HTTP/1.1\r\n\r\n");
    assert_eq!(parts(&response).1, "");
    let response = server.exchange("HEAD /unread HTTP/1.1\r\n\r\n");
    let (head, body) = parts(&response);
    assert!(head.to_lowercase().contains("content-length: 5"), "{head}");
    assert_eq!(body, "");
    server.stop();
}

#[test]
fn a_synchronous_handler_gets_the_whole_request() {
    let server = Running::start(|server| server.serve(respond));
    let response = server.exchange(
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    );
    // `exchange` adds its fields to the trailers, too.
    assert_eq!(parts(&response).1, "abcde", "{response}");
    let body = "x".repeat(1 << 20);
    let request = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
    let response = server.exchange(&(request + &body));
    assert!(parts(&response).1 == body);
    let response = server.exchange("POST / HTTP/1.1\r\nContent-Length: 2097153\r\n\r\n");
    assert!(response.starts_with("HTTP/1.1 413 "), "{response}");
    let response = server.exchange("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n");
    assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
    let response = server.exchange("GET /panic HTTP/1.1\r\n\r\n");
    assert!(response.starts_with("HTTP/1.1 500 "), "{response}");
    let response = server.exchange("GET /whole HTTP/1.1\r\n\r\n");
    assert_eq!(parts(&response).1, "abc");
    server.stop();
}

#[test]
fn a_client_sees_that_a_body_in_pieces_is_not_complete() {
    let server = Running::start(|server| server.serve(respond));
    let response = server.exchange("GET /failing HTTP/1.1\r\n\r\n");
    assert_eq!(dechunked(parts(&response).1), ("aa".into(), false));
    let response = server.exchange("GET /short HTTP/1.1\r\n\r\n");
    let (head, body) = parts(&response);
    assert!(head.to_lowercase().contains("content-length: 5"), "{head}");
    assert_eq!(body, "abc");
    server.stop();
}

#[test]
fn others_are_served_while_a_client_takes_nothing() {
    let server = Running::start(|server| server.serve(respond));
    let mut endless = server.send(b"GET /endless HTTP/1.1\r\nHost: h\r\n\r\n");
    for _ in 0..10 {
        let response = server.exchange("GET /reader HTTP/1.1\r\n\r\n");
        assert!(parts(&response).1.contains("abc"));
    }
    // The server fills some buffers, and waits.
    let held = server.handle.counters().held;
    assert!(held < 1 << 20, "{held} bytes are held");
    // It goes on once it is taken.
    let mut taken = vec![0; 16 << 20];
    endless.read_exact(&mut taken).expect("it goes on");
    drop(endless);
    server.stop();
}

/// The request's body is the response's. More is sent than fits into buffers, so both have to go on together.
#[test]
fn a_request_is_echoed_while_it_is_received() {
    const LENGTH: usize = 16 << 20;
    let server = Running::start(|server| {
        server.serve_async(|mut request: AsyncRequest<Incoming>| async {
            request.body_mut().limit(LENGTH as u64);
            Response::new(request.into_body())
        })
    });
    for is_chunked in [false, true] {
        let framing = match is_chunked {
            true => "Transfer-Encoding: chunked".into(),
            false => format!("Content-Length: {LENGTH}"),
        };
        let head = format!("POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{framing}\r\n\r\n");
        let mut stream = server.send(head.as_bytes());
        let sending = stream.try_clone().expect("a clone");
        let sender = thread::spawn(move || send_body(sending, LENGTH, is_chunked));
        let mut response = String::new();
        stream.read_to_string(&mut response).expect("a response");
        sender.join().expect("no panic").expect("the server reads");
        let (head, body) = parts(&response);
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let body = match is_chunked {
            true => dechunked(body).0,
            false => body.to_owned(),
        };
        assert_eq!(body.len(), LENGTH);
        assert!(body.bytes().all(|byte| byte == b'x'));
    }
    server.stop();
}

fn send_body(mut stream: TcpStream, length: usize, is_chunked: bool) -> io::Result<()> {
    let piece = "x".repeat(4 << 10);
    for _ in 0..length / piece.len() {
        match is_chunked {
            true => write!(stream, "{:x}\r\n{piece}\r\n", piece.len())?,
            false => stream.write_all(piece.as_bytes())?,
        }
    }
    if is_chunked {
        stream.write_all(b"0\r\n\r\n")?;
    }
    Ok(())
}
