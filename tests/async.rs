//! Handlers that are futures, and bodies that stream, natively over real sockets.
#![cfg(not(target_os = "wasi"))]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mini_http::http::Request;
use mini_http::{Handle, Incoming, Response, Result, Server, sleep};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const SOON: Duration = Duration::from_secs(10);

/// A server in a thread of its own.
struct Running {
    addr: SocketAddr,
    handle: Handle,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Running {
    fn start(serve: impl FnOnce(Server) -> Result<()> + Send + 'static) -> Self {
        Self::with(|_| {}, serve)
    }

    fn with(
        set: impl FnOnce(&mut Server),
        serve: impl FnOnce(Server) -> Result<()> + Send + 'static,
    ) -> Self {
        let mut server = Server::new("127.0.0.1:0").expect("a free port");
        set(&mut server);
        let (addr, handle) = (server.local_addr().expect("an address"), server.handle());
        let thread = Some(thread::spawn(move || serve(server)));
        Self {
            addr,
            handle,
            thread,
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).expect("the server listens");
        stream.set_read_timeout(Some(SOON)).expect("a timeout");
        stream.set_nodelay(true).expect("an option");
        stream
    }

    /// A connection on which this was sent.
    fn send(&self, request: &[u8]) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(request).expect("the server reads");
        stream
    }

    /// Stops the server.
    fn stop(mut self) {
        self.handle.stop();
        self.join();
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().expect("no panic").expect("it ends well");
        }
    }
}

/// Reads until `is_enough`.
fn read_until(stream: &mut TcpStream, is_enough: impl Fn(&str) -> bool) -> String {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&all).into_owned();
        if is_enough(&text) {
            return text;
        }
        match stream.read(&mut buffer) {
            Ok(0) => panic!("the stream ended after {text:?}"),
            Ok(length) => all.extend_from_slice(&buffer[..length]),
            Err(error) => panic!("{error} after {text:?}"),
        }
    }
}

fn ends_with(end: &str) -> impl Fn(&str) -> bool {
    move |text| text.ends_with(end)
}

async fn hello(_request: Request<Incoming>) -> Response<String> {
    Response::new("hello!".into())
}

#[test]
fn a_ready_handler_responds() {
    let server = Running::start(|server| server.serve_async(hello));
    let mut stream = server.send(GET);
    let response = read_until(&mut stream, ends_with("hello!"));
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    assert!(response.contains("content-length: 6\r\n"), "{response}");
    stream.write_all(&GET.repeat(3)).expect("it persists");
    let all = read_until(&mut stream, |text| text.matches("hello!").count() == 3);
    assert_eq!(all.matches("200 OK").count(), 3);
    server.stop();
}

#[test]
fn sixteen_that_sleep_end_together_and_others_meanwhile() {
    let server = Running::start(|server| {
        server.serve_async(async |request: Request<Incoming>| {
            if request.uri().path() == "/sleep" {
                sleep(Duration::from_millis(200)).await;
            }
            Response::new("hello!".to_string())
        })
    });
    let since = Instant::now();
    let mut sleeping: Vec<TcpStream> = (0..16)
        .map(|_| server.send(b"GET /sleep HTTP/1.1\r\nHost: h\r\n\r\n"))
        .collect();
    let mut other = server.connect();
    let mut times = Vec::new();
    while since.elapsed() < Duration::from_millis(150) {
        let before = Instant::now();
        other.write_all(GET).expect("it persists");
        read_until(&mut other, ends_with("hello!"));
        times.push(before.elapsed());
    }
    times.sort();
    assert!(
        times[times.len() / 2] < Duration::from_millis(5),
        "{times:?}"
    );
    for stream in &mut sleeping {
        read_until(stream, ends_with("hello!"));
    }
    let took = since.elapsed();
    assert!(
        took >= Duration::from_millis(200) && took < Duration::from_millis(400),
        "{took:?}"
    );
    server.stop();
}
