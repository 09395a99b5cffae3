//! Server-sent events: a clock, and the progress of a job that the server does in the background.
//!
//! In the folder `examples`: `cargo run -p sse`, then open http://127.0.0.1:3000 in a browser, or
//! `curl -N http://127.0.0.1:3000/clock`. The same source runs in a WASI runtime:
//! `cargo run -p sse --target wasm32-wasip1`.
//!
//! | request | response |
//! |---|---|
//! | `GET /` | the page |
//! | `GET /clock` | an event each second, with the server's time |
//! | `POST /jobs` | 201; the job's path is in `Location` |
//! | `GET /jobs/ID` | an event for each step of the job; with `Last-Event-ID`, for each step after this one |
//! | `POST /stop` | the server stops, and all streams end. A real server would let only its operator do that |
//!
//! After a lost connection, a browser repeats the request with `Last-Event-ID`.
//!
//! Each open stream is a request that hasn't ended: 10,000 may be open at a time, on WASI 1,000. For more, raise the
//! limits `max_requests` and `max_connections`.

mod event_stream;
mod jobs;

use std::future::{Ready, pending, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use futures_lite::{Stream, stream};
use mini_http::body::AnyBody;
use mini_http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use mini_http::http::{Request, StatusCode};
use mini_http::{Bytes, Handle, Incoming, Response, Server, sleep};

use jobs::Jobs;

const PAGE: &str = include_str!("page.html");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    env_logger::init();
    let addr = std::env::var("MINI_HTTP_ADDR").unwrap_or("127.0.0.1:3000".into());
    let server = Server::new(&addr)?;
    server.serve_async(app(Some(server.handle())))?;
    Ok(())
}

/// The handler. In a host of `wasi:http` there is no server, and so no handle.
pub(crate) fn app(
    handle: Option<Handle>,
) -> impl FnMut(Request<Incoming>) -> Ready<Response<AnyBody>> {
    let app = App {
        handle,
        jobs: Rc::default(),
    };
    move |request| ready(app.respond(&request))
}

/// Ready when streams and tasks are to end.
type Stop = Pin<Box<dyn Future<Output = ()>>>;

struct App {
    handle: Option<Handle>,
    jobs: Rc<Jobs>,
}

impl App {
    fn respond(&self, request: &Request<Incoming>) -> Response<AnyBody> {
        let path = request.uri().path();
        match (request.method().as_str(), path) {
            ("GET" | "HEAD", "/") => page(),
            ("GET" | "HEAD", "/clock") => event_stream::response(clock(), self.stop()),
            ("POST", "/jobs") => self.start_job(),
            ("GET" | "HEAD", _) if path.starts_with("/jobs/") => self.job(request),
            ("POST", "/stop") => self.stop_server(),
            _ => status(StatusCode::NOT_FOUND),
        }
    }

    fn stop_server(&self) -> Response<AnyBody> {
        let Some(handle) = &self.handle else {
            return status(StatusCode::NOT_FOUND);
        };
        handle.stop();
        Response::new("stopping\n".into())
    }

    /// When streams and tasks are to end.
    fn stop(&self) -> Stop {
        match &self.handle {
            Some(handle) => Box::pin(handle.stopping()),
            None => Box::pin(pending()),
        }
    }

    fn start_job(&self) -> Response<AnyBody> {
        let Some(id) = Jobs::start(&self.jobs, self.stop()) else {
            return status(StatusCode::SERVICE_UNAVAILABLE);
        };
        let mut response = status(StatusCode::CREATED);
        if let Ok(path) = HeaderValue::try_from(format!("/jobs/{id}")) {
            response.headers_mut().insert(LOCATION, path);
        }
        response
    }

    fn job(&self, request: &Request<Incoming>) -> Response<AnyBody> {
        let id = request.uri().path().strip_prefix("/jobs/");
        let job = id
            .and_then(|id| id.parse().ok())
            .and_then(|id| self.jobs.get(id));
        // Missing in the first request, and never the client's fault: then the steps come from the first on.
        let last = request.headers().get("last-event-id");
        let last = last
            .and_then(|id| id.to_str().ok()?.parse().ok())
            .unwrap_or(0);
        match job {
            Some(job) if !job.is_over(last) => event_stream::response(job.steps(last), self.stop()),
            // The one status after which a browser doesn't reconnect.
            _ => status(StatusCode::NO_CONTENT),
        }
    }
}

/// The seconds since 1970, once a second.
fn clock() -> impl Stream<Item = Bytes> {
    stream::unfold(Duration::ZERO, |pause| async move {
        sleep(pause).await;
        let now = SystemTime::UNIX_EPOCH
            .elapsed()
            .unwrap_or_default()
            .as_secs();
        let event = format!("id: {now}\ndata: {now}\n\n");
        Some((Bytes::from(event), Duration::from_secs(1)))
    })
}

fn page() -> Response<AnyBody> {
    let mut response = Response::new(PAGE.into());
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, html);
    response
}

fn status(status: StatusCode) -> Response<AnyBody> {
    let mut response = Response::new(format!("{status}\n").into());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever has GET has HEAD, too (RFC 9110 §9.1).
    #[test]
    fn head_gets_the_status_of_get() {
        for path in ["/", "/clock"] {
            let request = Request::builder().method("HEAD").uri(path).body(());
            let response = mini_http::test::run(app(None), request.expect("a request"));
            assert_eq!(response.status(), 200, "{path}");
            assert!(response.body().is_empty(), "{path}");
        }
    }
}
