//! Counts the allocations for a request in steady state: those of the server's thread, with this program's allocator.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use http_body_util::Full;
use interop::{Client, Outcome, ensure};
use mini_http::{Body, Bytes, Handle, Request, Response, Server, header};

use crate::counting;
use crate::recorded::{Figures, Tolerance};
use crate::requests::{Requests, Size};

/// How many requests are counted, after as many that fill the pools.
const COUNT: usize = 1024;

/// The lowest of this many counts is used. Once a second the server makes the text of `Date`, an allocation
/// that isn't caused by a request.
const ROUNDS: usize = 3;

/// The figures are the same each time, with any compiler.
const TOLERANCE: Tolerance = Tolerance {
    same_compiler: 0.0,
    another_compiler: 0.0,
};

/// Runs the check, with the rest of the command line.
pub(crate) fn run(mut arguments: impl Iterator<Item = String>) -> Outcome {
    let record = arguments.next().map(|argument| argument == "--record");
    ensure!(record != Some(false), "only --record is understood");
    println!("Allocations in {COUNT} requests:\n");
    let figures = Figures {
        name: "allocations",
        all: all()?,
    };
    if record == Some(true) {
        return figures.record();
    }
    figures.check(TOLERANCE)
}

const BODY: &[u8] = b"Hello, world!";

fn all() -> Outcome<Vec<(String, u64)>> {
    let mut all = Vec::new();
    let mut add = |name: String, count: u64| {
        println!("{count:6}  {name}");
        all.push((name, count));
    };

    // Without any allocation.
    for size in Size::ALL {
        for depth in [1, 16] {
            let mut requests = Requests::new(size);
            let ask = || requests.batch(depth);
            let count = counted(depth, ask, |_| Response::new(BODY))?;
            add(
                format!("static body, {}, {depth} at once", size.name()),
                count,
            );
        }
    }
    let shared = Bytes::from(BODY.to_vec());
    let count = counted(1, plain, move |_| Response::new(shared.clone()))?;
    add("a body that the handler shares".into(), count);

    // With some.
    let count = counted(1, plain, |_| Response::new(BODY.to_vec()))?;
    add("a fresh Vec as body".into(), count);
    let count = counted(1, plain, |_| {
        let mut response = Response::new(BODY);
        let text = header::HeaderValue::from_static("text/plain");
        response.headers_mut().insert(header::CONTENT_TYPE, text);
        response
    })?;
    add("a field that the handler sets".into(), count);
    for names in [1, 2, 4] {
        let count = counted(1, || custom(names), |_| Response::new(BODY))?;
        add(format!("custom field names: {names}"), count);
    }
    let count = counted(1, post, |request| Response::new(request.into_body()))?;
    add("a POST of 1 KiB whose body is the response's".into(), count);
    let count = counted(1, post, |_| Response::new(BODY))?;
    add("a POST of 1 KiB".into(), count);
    for depth in [1, 16] {
        let ask = || plain().repeat(depth);
        let count = counted_async(depth, ask, || Response::new(Full::new(BODY.into())))?;
        add(format!("async: static body, {depth} at once"), count);
    }
    let with_field = || {
        let mut response = Response::new(Full::new(BODY.into()));
        let text = header::HeaderValue::from_static("text/plain");
        response.headers_mut().insert(header::CONTENT_TYPE, text);
        response
    };
    let count = counted_async(1, plain, with_field)?;
    add("async: a field that the handler sets".into(), count);
    println!();
    Ok(all)
}

fn plain() -> Vec<u8> {
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()
}

/// A request with this many field names for which the `http` crate has no constants.
fn custom(names: usize) -> Vec<u8> {
    let mut request = "GET / HTTP/1.1\r\nHost: localhost\r\n".to_owned();
    for number in 0..names {
        request.push_str(&format!("X-Custom-{number}: value\r\n"));
    }
    (request + "\r\n").into_bytes()
}

fn post() -> Vec<u8> {
    let head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1024\r\n\r\n";
    [&head[..], &[b'x'; 1024]].concat()
}

/// The allocations of a server with this handler for `COUNT` requests. `ask` makes `depth` of them,
/// which are sent with one write.
fn counted<B: Body>(
    depth: usize,
    ask: impl FnMut() -> Vec<u8>,
    mut handler: impl FnMut(Request) -> Response<B> + Send + 'static,
) -> Outcome<u64> {
    let server = Counted::start(|server, count| {
        server.serve(move |request| {
            count();
            handler(request)
        })
    })?;
    server.count(depth, ask)
}

/// The same with an asynchronous handler that is ready at once.
fn counted_async(
    depth: usize,
    ask: impl FnMut() -> Vec<u8>,
    respond: fn() -> Response<Full<Bytes>>,
) -> Outcome<u64> {
    let server = Counted::start(move |server, count| {
        server.serve_async(move |_| {
            count();
            async move { respond() }
        })
    })?;
    server.count(depth, ask)
}

/// A server in a thread of this process. Its handler records how much the thread has allocated.
struct Counted {
    address: SocketAddr,
    /// How much the thread had allocated when the handler got the last request.
    allocations: Arc<AtomicU64>,
    handle: Handle,
    thread: Option<thread::JoinHandle<mini_http::Result<()>>>,
}

impl Counted {
    /// Runs `serve`. Its handler must call the function that is passed to it, for each request.
    fn start(
        serve: impl FnOnce(&Server, Box<dyn Fn() + Send>) -> mini_http::Result<()> + Send + 'static,
    ) -> Outcome<Self> {
        let server = Server::new("127.0.0.1:0").map_err(|e| e.to_string())?;
        let address = server.local_addr().map_err(|e| e.to_string())?;
        let allocations = Arc::new(AtomicU64::new(0));
        let handle = server.handle();
        let counted = Arc::clone(&allocations);
        // It is recorded at each request, because a special request for it would allocate, too.
        let count = move || counted.store(counting::allocations(), Ordering::Release);
        let thread = thread::spawn(move || serve(&server, Box::new(count)));
        Ok(Self {
            address,
            allocations,
            handle,
            thread: Some(thread),
        })
    }

    /// The allocations that `COUNT` requests cost.
    fn count(&self, depth: usize, mut ask: impl FnMut() -> Vec<u8>) -> Outcome<u64> {
        let mut client = Client::connect(self.address)?;
        let mut run = || -> Outcome<u64> {
            for _ in 0..COUNT / depth {
                client.send(ask())?;
                for _ in 0..depth {
                    let status = client.response()?.status;
                    ensure!(status == 200, "a response is {status}");
                }
            }
            Ok(self.allocations.load(Ordering::Acquire))
        };
        let mut before = run()?;
        let mut least = u64::MAX;
        for _ in 0..ROUNDS {
            let after = run()?;
            least = least.min(after - before);
            before = after;
        }
        Ok(least)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.handle.stop();
        if let Some(thread) = self.thread.take() {
            // If it has failed, its client has failed, too.
            let _ = thread.join();
        }
    }
}
