//! Tests of the whole state machine: time, memory, backpressure and closing. How it parses input is
//! covered by the conformance cases.

mod closing;
mod memory;
mod streaming;
mod time;

use std::time::Duration;

use super::*;
use crate::limits::Limits;

/// A connection with its context, and a clock that the test advances.
struct Bench {
    checked: CheckedConnection,
    requests: Vec<String>,
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(set: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        set(&mut limits);
        Self {
            checked: CheckedConnection::new(limits, Instant::default()),
            requests: Vec::new(),
        }
    }

    fn call<T>(&mut self, call: impl FnOnce(&mut Connection, &mut Context<'_>) -> T) -> T {
        self.checked.call(call)
    }

    /// Passes bytes to the connection, and responds to each request with its body, or `hello!` if it
    /// has none.
    fn input(&mut self, bytes: impl AsRef<[u8]>) {
        self.input_with(bytes, |request| match request.body() {
            [] => Response::new(b"hello!".to_vec()),
            body => Response::new(body.to_vec()),
        });
    }

    fn input_with<B: Whole>(
        &mut self,
        bytes: impl AsRef<[u8]>,
        handler: impl Fn(Request) -> Response<B>,
    ) {
        let mut input = bytes.as_ref();
        while let Some(request) = self.call(|conn, cx| conn.handle_input(cx, &mut input)) {
            self.requests
                .push(format!("{} {}", request.method(), request.uri()));
            let response = handler(request);
            self.call(|conn, cx| conn.respond(cx, response));
        }
    }

    fn output(&mut self) -> String {
        let bytes = self.call(|conn, cx| conn.take_output(cx));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn step(&mut self) -> Step {
        let step = self.call(Connection::poll_step);
        if let Step::Close(_) = step {
            assert_eq!(
                self.checked.shared.held(),
                0,
                "a closed connection holds nothing"
            );
        }
        step
    }

    fn pass(&mut self, time: Duration) {
        self.checked.now = self.checked.now + time;
        self.call(Connection::handle_timeout);
    }

    fn status(&mut self) -> String {
        let output = self.output();
        output.split(' ').nth(1).unwrap_or_default().to_owned()
    }
}

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const POST_5: &str = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n";

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
