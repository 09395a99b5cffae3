//! The component with which `ci/run wasi-http` tests hosts: it has a path for each test. Not an example to copy.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use mini_http::body::{AnyBody, Chunks};
use mini_http::header::{HeaderMap, HeaderValue, TRAILER};
use mini_http::http::Request;
use mini_http::http_body::{Body, Frame};
use mini_http::{Bytes, Incoming, IncomingError, PeerAddr, Response, Sleep, sleep, spawn, upgrade};

mini_http::export!(serve_async: respond);

async fn respond(mut request: Request<Incoming>) -> Result<Response<AnyBody>, IncomingError> {
    request.body_mut().limit(u64::MAX);
    Ok(match request.uri().path() {
        "/echo" => Response::new(request.into_body().into()),
        "/count" => text(format!("{} bytes\n", count(request.into_body()).await?)),
        "/limited" => {
            let mut body = request.into_body();
            body.limit(10);
            text(format!("{:?}\n", body.bytes().await?))
        }
        "/trailers" => text(trailers_of(request.into_body()).await?),
        "/with-trailers" => with_trailers(),
        // 100 MiB.
        "/large" => Response::new(Chunks::new((0..1600).map(|_| vec![b'x'; 64 << 10])).into()),
        "/lines" => Response::new(AnyBody::new(Lines::new())),
        "/stuck" => pending().await,
        "/task" => text(with_task().await),
        "/host" => text(format!("{:?}\n", request.headers().get("host"))),
        "/peer" => text(format!("{:?}\n", request.extensions().get::<PeerAddr>())),
        "/upgrade" => {
            let error = upgrade(&mut request).await.err();
            text(format!("{:?}\n", error.map(|error| error.kind())))
        }
        path => text(format!("{path}\n")),
    })
}

fn text(text: String) -> Response<AnyBody> {
    Response::new(text.into())
}

async fn next(body: &mut Incoming) -> Option<Result<Frame<Bytes>, IncomingError>> {
    poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
}

async fn count(mut body: Incoming) -> Result<usize, IncomingError> {
    let mut bytes = 0;
    while let Some(frame) = next(&mut body).await {
        bytes += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok(bytes)
}

async fn trailers_of(mut body: Incoming) -> Result<String, IncomingError> {
    while let Some(frame) = next(&mut body).await {
        if let Ok(trailers) = frame?.into_trailers() {
            return Ok(format!("{trailers:?}\n"));
        }
    }
    Ok("none\n".into())
}

fn with_trailers() -> Response<AnyBody> {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("3"));
    let mut response = Response::new(AnyBody::new(Frames(vec![
        Frame::trailers(trailers),
        Frame::data("abc".into()),
    ])));
    let announced = HeaderValue::from_static("x-sum");
    response.headers_mut().insert(TRAILER, announced);
    response
}

/// A task that ends while its response is made.
async fn with_task() -> String {
    let done = Rc::new(Cell::new(false));
    let is_done = Rc::clone(&done);
    spawn(async move {
        sleep(Duration::from_millis(50)).await;
        is_done.set(true);
    });
    sleep(Duration::from_millis(150)).await;
    format!("{}\n", done.get())
}

/// Frames, from the last one on.
struct Frames(Vec<Frame<Bytes>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop().map(Ok))
    }
}

/// A line every 100 ms, without an end. When it is dropped, it writes a line to the log.
struct Lines(Sleep);

const PAUSE: Duration = Duration::from_millis(100);

impl Lines {
    fn new() -> Self {
        eprintln!("lines: begun");
        Self(sleep(PAUSE))
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        eprintln!("lines: dropped");
    }
}

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        ready!(Pin::new(&mut self.0).poll(cx));
        self.0 = sleep(PAUSE);
        Poll::Ready(Some(Ok(Frame::data("line\n".into()))))
    }
}
