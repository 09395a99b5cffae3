//! Server-sent events: a page whose clock is set by the server, once a second.
//!
//! `cargo run --example events`, then open http://127.0.0.1:3000 in a browser, or
//! `curl -N http://127.0.0.1:3000/events`. The same source runs inside a WASI runtime:
//! `cargo run --target wasm32-wasip1 --example events`.
//!
//! 10,000 streams may be open at a time, on WASI 1,000: for more, raise the limits `max_requests` and
//! `max_connections`. A stream ends when the client goes away, or when the server is told to stop by
//! `curl -X POST http://127.0.0.1:3000/stop`.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use mini_http::body::AnyBody;
use mini_http::header::{CACHE_CONTROL, CONTENT_TYPE};
use mini_http::http::Request;
use mini_http::http_body::{Body, Frame};
use mini_http::status::StatusCode;
use mini_http::{Bytes, Handle, Incoming, Response, Server, Sleep, Stopping, sleep};

const PERIOD: Duration = Duration::from_secs(1);

const PAGE: &str =
    "<!doctype html><title>Events</title><p id=count>Waiting for the first event.</p>
<script>
  new EventSource('/events').onmessage = event => {
    document.getElementById('count').textContent = `Open for ${event.data} seconds.`;
  };
</script>
";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    env_logger::init();
    let addr = std::env::var("MINI_HTTP_ADDR").unwrap_or("127.0.0.1:3000".into());
    let server = Server::new(&addr)?;
    let handle = server.handle();
    server.serve_async(move |request| {
        let response = respond(&handle, &request);
        async { response }
    })?;
    Ok(())
}

fn respond(handle: &Handle, request: &Request<Incoming>) -> Response<AnyBody> {
    let response = Response::builder();
    let response = match (request.method().as_str(), request.uri().path()) {
        ("GET", "/") => response
            .header(CONTENT_TYPE, "text/html; charset=utf-8")
            .body(PAGE.into()),
        ("GET", "/events") => response
            .header(CONTENT_TYPE, "text/event-stream")
            .header(CACHE_CONTROL, "no-store")
            .body(AnyBody::new(Events::new(handle.stopping()))),
        ("POST", "/stop") => {
            handle.stop();
            response.body("stopping\n".into())
        }
        _ => response
            .status(StatusCode::NOT_FOUND)
            .body("not found\n".into()),
    };
    response.expect("the fields are valid")
}

/// A stream of events: one at once, then one each period, until the server stops.
struct Events {
    sent: u64,
    sleep: Sleep,
    stopping: Stopping,
}

impl Events {
    fn new(stopping: Stopping) -> Self {
        Self {
            sent: 0,
            sleep: sleep(Duration::ZERO),
            stopping,
        }
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if Pin::new(&mut self.stopping).poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        if Pin::new(&mut self.sleep).poll(cx).is_pending() {
            return Poll::Pending;
        }
        let event = format!("data: {}\n\n", self.sent);
        self.sent += 1;
        self.sleep = sleep(PERIOD);
        Poll::Ready(Some(Ok(Frame::data(event.into()))))
    }
}
