//! A server in a thread, its clients, and bodies that are a function of the test.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mini_http::http::Request;
use mini_http::http_body::{Body as HttpBody, Frame};
use mini_http::{Bytes, Counters, Handle, Incoming, IncomingError, Response, Result, Server};

pub(crate) const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A server in a thread of its own.
pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    pub(crate) handle: Handle,
    pub(crate) thread: Option<JoinHandle<Result<()>>>,
}

impl Running {
    pub(crate) fn start(serve: impl FnOnce(Server) -> Result<()> + Send + 'static) -> Self {
        Self::with(|_| {}, serve)
    }

    pub(crate) fn with(
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

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).expect("the server listens");
        stream.set_read_timeout(Some(SOON)).expect("a timeout");
        stream.set_nodelay(true).expect("an option");
        stream
    }

    /// A connection on which this request was sent.
    pub(crate) fn send(&self, request: &[u8]) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(request).expect("the server reads");
        stream
    }

    /// Waits until this number of requests have begun.
    pub(crate) fn await_requests(&self, count: u64) {
        wait_until("the requests begin", || {
            self.handle.counters().requests == count
        });
    }

    /// Waits until all connections are closed. Returns the counters then.
    pub(crate) fn await_close(&self) -> Counters {
        wait_until("all are closed", || self.handle.counters().active == 0);
        self.handle.counters()
    }

    /// Stops the server.
    pub(crate) fn stop(mut self) {
        self.handle.stop();
        self.join();
    }

    pub(crate) fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().expect("no panic").expect("it ends well");
        }
    }
}

/// A body that a function polls.
pub(crate) struct Polled<F>(pub(crate) F);

impl<F> Unpin for Polled<F> {}

impl<F, E> HttpBody for Polled<F>
where
    F: FnMut(&mut Context<'_>) -> Poll<Option<std::result::Result<Frame<Bytes>, E>>>,
{
    type Data = Bytes;
    type Error = E;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, E>>> {
        (self.0)(cx)
    }
}

/// Adds one to the count when it is dropped.
pub(crate) struct Witness(pub(crate) Arc<AtomicUsize>);

impl Drop for Witness {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

pub(crate) fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n").into_bytes()
}

pub(crate) async fn hello(_request: Request<Incoming>) -> Response<String> {
    Response::new("hello!".into())
}

/// The next frame's data.
pub(crate) async fn next(body: &mut Incoming) -> Option<std::result::Result<Bytes, IncomingError>> {
    let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await?;
    Some(frame.map(|frame| frame.into_data().unwrap_or_default()))
}

/// Reads until `is_enough`.
pub(crate) fn read_until(stream: &mut TcpStream, is_enough: impl Fn(&str) -> bool) -> String {
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

pub(crate) fn ends_with(end: &str) -> impl Fn(&str) -> bool {
    move |text| text.ends_with(end)
}

/// All that comes up to the end of the stream.
pub(crate) fn rest(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("no reset");
    String::from_utf8_lossy(&all).into_owned()
}

/// Waits until this is so. Returns how long that took.
pub(crate) fn wait_until(what: &str, is_so: impl Fn() -> bool) -> Duration {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < SOON, "not in time: {what}");
        thread::sleep(Duration::from_millis(1));
    }
    since.elapsed()
}

pub(crate) fn reset(stream: TcpStream) {
    let socket = socket2::Socket::from(stream);
    socket.set_linger(Some(Duration::ZERO)).expect("an option");
}
