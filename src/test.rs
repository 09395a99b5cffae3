//! Tests of handlers, without a server.
//!
//! ```
//! use std::time::Duration;
//!
//! use mini_http::http::{Request, StatusCode};
//! use mini_http::{Incoming, IncomingError, Response};
//!
//! async fn shout(request: Request<Incoming>) -> Result<Response<String>, IncomingError> {
//!     let body = request.into_body().bytes().await?;
//!     mini_http::sleep(Duration::from_secs(60)).await;
//!     Ok(Response::new(String::from_utf8_lossy(&body).to_uppercase()))
//! }
//!
//! // The sleep takes no real time.
//! let response = mini_http::test::run(shout, Request::new("hello"));
//! assert_eq!(response.status(), StatusCode::OK);
//! assert_eq!(response.body(), "HELLO");
//! ```

use std::future::poll_fn;
use std::pin::pin;

use crate::log::error;
use bytes::{Buf, BufMut, Bytes};
use http::{Method, Request, Response, StatusCode};
use http_body::Body;

use crate::body::BoxError;
use crate::conn::{Refusal, announced_length, has_body};
use crate::executor::{Simulation, Stuck};
use crate::failure::Failure;
use crate::incoming::Incoming;
use crate::into_response::IntoResponse;

/// Calls an asynchronous handler with a request, and returns the response that a client would get.
///
/// The handler and the body of its response are polled as a server polls them, and
/// [`spawn`](crate::spawn) works. [`sleep`](crate::sleep) does, too, but takes no time: when everything
/// waits, the time jumps to the end of the next sleep. When the response is complete, tasks go on as far
/// as they get without a sleep, and are then dropped.
///
/// The request's body can be anything that an [`Incoming`] can be made from: a string, bytes, `()` for
/// none, [`Incoming::from_body`]. It has no limit unless the handler sets one. Nothing of the request is
/// checked or changed: a server would refuse some, for example one without `Host`, and would never pass on
/// a `Content-Length` that isn't the length of the body.
///
/// An error of the handler becomes the response that a client would get: the status and text of a
/// [`Refusal`] among its causes, or 500. An interim status (1xx) becomes 500, too. The body of a
/// response to HEAD, and of 204, 205 and 304, isn't polled. Trailers are dropped, and fields are those
/// of the handler: none is added. An [`upgrade`](crate::upgrade()) fails.
///
/// A handler may wait for another thread, which takes real time; but no sleep waits for that thread.
///
/// # Panics
/// If the handler, the body of its response or a task panics.
///
/// If the client of a server could see that the response is broken: its body fails, or isn't as long as
/// its size hint or else its `Content-Length` says.
///
/// If the response is to upgrade the connection (101, or 2xx to CONNECT): there is no connection.
///
/// If the response is never complete: everything waits, and there is nothing that could wake it (or it
/// doesn't wake it within 10 seconds); or it isn't complete after 1,000 hours of virtual time, after
/// 1 GiB of body, or after 10 seconds in which the handler, its body or a task has always woken itself.
#[track_caller]
pub fn run<H, F, R, B>(handler: H, request: Request<B>) -> Response<Bytes>
where
    H: FnOnce(Request<Incoming>) -> F,
    F: Future<Output = R>,
    R: IntoResponse,
    B: Into<Incoming>,
{
    let mut simulation = Simulation::new();
    let is_head = request.method() == Method::HEAD;
    let is_connect = request.method() == Method::CONNECT;
    let response = simulation.run(async {
        match handler(request.map(Into::into)).await.into_response() {
            Ok(response) => {
                check_no_upgrade(response.status(), is_connect);
                complete(response, is_head).await
            }
            Err(error) => Ok(refused(refusal_for(&error), is_head)),
        }
    });
    simulation.run_ready();
    match response {
        Ok(Ok(response)) => response,
        Ok(Err(Fault::Broken(why))) => panic!("the client sees a broken response: {why}"),
        Ok(Err(Fault::TooLong)) => {
            panic!("the response isn't complete after 1 GiB: does its body ever end?")
        }
        Err(Stuck::Deadlock) => panic!(
            "the response is never complete: the handler or its body waits, and so does every task, \
             but nothing is left that could wake one of them. Was a sender dropped, or a waker not \
             kept?"
        ),
        Err(Stuck::Endless) => panic!(
            "the response isn't complete after 1,000 hours of virtual time: does its body, or what \
             the handler waits for, ever end?"
        ),
        Err(Stuck::Busy) => panic!(
            "the response isn't complete after 10 seconds in which the handler, its body or a task \
             has always woken itself, and no sleep is left that could end that"
        ),
    }
}

/// There is no connection that could be upgraded.
fn check_no_upgrade(status: StatusCode, is_connect: bool) {
    let is_upgrade = status == StatusCode::SWITCHING_PROTOCOLS || is_connect && status.is_success();
    assert!(
        !is_upgrade,
        "`test::run` has no connection that could be upgraded: use a server to test a handler \
         that responds with {status}"
    );
}

/// Why there is no complete response.
enum Fault {
    /// The client could see that it is broken.
    Broken(BoxError),
    /// Its body may be endless.
    TooLong,
}

/// The response with its whole body.
async fn complete<B>(response: Response<B>, is_head: bool) -> Result<Response<Bytes>, Fault>
where
    B: Body<Error: Into<BoxError>>,
{
    // A server asks for the size hint first, whatever the status.
    let exact = response.body().size_hint().exact();
    if response.status().is_informational() {
        error!(target: "mini_http", "the handler returned no final response");
        return Ok(refused(Refusal::no_final_response(), is_head));
    }
    let (head, body) = response.into_parts();
    if !has_body(head.status, is_head) {
        return Ok(Response::from_parts(head, Bytes::new()));
    }
    let promised = exact.or_else(|| announced_length(&head.headers));
    let body = collect(body, promised).await?;
    match promised {
        Some(promised) if promised != body.len() as u64 => {
            let length = body.len();
            let why = format!("its body has {length} bytes and has promised {promised}");
            Err(Fault::Broken(why.into()))
        }
        Some(_) | None => Ok(Response::from_parts(head, body)),
    }
}

/// The most bytes of a body. With half, a test of a large download might not be possible; with double, a machine may
/// have no memory left before a body without end is found.
const LONGEST: u64 = 1 << 30;

/// What a frame counts beside its bytes: a body may return empty ones without end.
const FRAME: u64 = 256;

/// The data of all frames, which a server would send: trailers are the last one. Ends when there are more bytes than
/// the response has promised.
async fn collect<B>(body: B, promised: Option<u64>) -> Result<Bytes, Fault>
where
    B: Body<Error: Into<BoxError>>,
{
    let mut body = pin!(body);
    let mut collected = Vec::new();
    let mut counted = 0;
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.map_err(|error| Fault::Broken(error.into()))?;
        let Ok(mut data) = frame.into_data() else {
            break;
        };
        counted += FRAME + data.remaining() as u64;
        if counted > LONGEST {
            return Err(Fault::TooLong);
        }
        let data: &mut dyn Buf = &mut data;
        collected.put(data);
        let is_too_long = promised.is_some_and(|promised| collected.len() as u64 > promised);
        if is_too_long || body.is_end_stream() {
            break;
        }
    }
    Ok(collected.into())
}

/// The refusal with which a server responds to this error of a handler.
fn refusal_for(error: &BoxError) -> Refusal {
    let failure = Failure::new(error);
    failure.refusal.unwrap_or_else(|| {
        error!(target: "mini_http", "the handler failed: {}", failure.text);
        Refusal::handler_failed()
    })
}

/// The response to a refused request, without the fields that the server adds.
fn refused(refusal: Refusal, is_head: bool) -> Response<Bytes> {
    let body = match is_head {
        true => Bytes::new(),
        false => format!("{}\n", refusal.text()).into(),
    };
    let mut response = Response::new(body);
    *response.status_mut() = refusal.status();
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::{AnyBody, Chunks};
    use crate::executor::{sleep, spawn};
    use crate::incoming::IncomingError;
    use std::cell::Cell;
    use std::future::{Pending, pending, ready};
    use std::rc::Rc;
    use std::time::Duration;

    fn get<B: Default>() -> Request<B> {
        Request::new(B::default())
    }

    /// A body that returns a piece each hour.
    struct Hourly {
        pieces: Vec<Result<Bytes, &'static str>>,
        sleep: crate::Sleep,
    }

    impl Hourly {
        fn new(pieces: &[Result<&'static str, &'static str>]) -> Self {
            let pieces = pieces.iter().rev();
            Self {
                pieces: pieces.map(|piece| piece.map(Bytes::from)).collect(),
                sleep: sleep(HOUR),
            }
        }
    }

    const HOUR: Duration = Duration::from_secs(3600);

    impl Body for Hourly {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, &'static str>>> {
            std::task::ready!(std::pin::Pin::new(&mut self.sleep).poll(cx));
            self.sleep = sleep(HOUR);
            let piece = self.pieces.pop();
            std::task::Poll::Ready(piece.map(|piece| piece.map(http_body::Frame::data)))
        }
    }

    #[test]
    fn a_body_is_echoed() {
        async fn echo(request: Request<Incoming>) -> Result<Response<AnyBody>, IncomingError> {
            let body = request.into_body().bytes().await?;
            Ok(Response::new(body.into()))
        }
        assert_eq!(run(echo, Request::new("abc")).body(), "abc");
        assert_eq!(run(echo, get::<()>()).body(), "");
        let request = Request::new(Incoming::from_body(Hourly::new(&[Ok("a"), Ok("b")])));
        assert_eq!(run(echo, request).body(), "ab");
    }

    #[test]
    fn a_stream_comes_whole() {
        let streamed = run(
            |_| ready(Response::new(Hourly::new(&[Ok("a"), Ok(""), Ok("bc")]))),
            get::<()>(),
        );
        assert_eq!(streamed.body(), "abc");
        let chunks = |_: Request<Incoming>| ready(Response::new(Chunks::new(["x", "y"])));
        assert_eq!(run(chunks, get::<()>()).body(), "xy");
    }

    #[test]
    fn some_responses_have_no_body() {
        let of = |method: Method, status: StatusCode| {
            let request = Request::builder().method(method).uri("/").body(());
            let response = Response::builder()
                .status(status)
                .body(Hourly::new(&[Err("no")]));
            let response = response.expect("a valid head");
            run(|_| ready(response), request.expect("a valid head"))
        };
        for response in [
            of(Method::HEAD, StatusCode::OK),
            of(Method::GET, StatusCode::NO_CONTENT),
            of(Method::GET, StatusCode::RESET_CONTENT),
            of(Method::GET, StatusCode::NOT_MODIFIED),
        ] {
            assert_eq!(response.body(), "");
        }
        let interim = of(Method::GET, StatusCode::CONTINUE);
        assert_eq!(interim.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }

    #[test]
    fn an_error_becomes_the_response_that_a_client_gets() {
        async fn limited(mut request: Request<Incoming>) -> Result<Response<Incoming>, BoxError> {
            request.body_mut().limit(3);
            let body = request.into_body().bytes().await?;
            match body.is_empty() {
                true => Err("secret".into()),
                false => Ok(Response::new(body.into())),
            }
        }
        assert_eq!(run(limited, Request::new("abc")).status(), StatusCode::OK);
        let refused = run(limited, Request::new("abcd"));
        assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
        let text = format!("{}\n", Refusal::body_too_large().text());
        assert_eq!(refused.body(), &text);
        let failed = run(limited, Request::new(""));
        assert_eq!(failed.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(failed.body(), "the handler failed\n");
    }

    #[test]
    fn tasks_and_sleeps_work() {
        let steps = Rc::new(Cell::new(0));
        let counted = Rc::clone(&steps);
        let handler = async |_: Request<Incoming>| {
            spawn(async move {
                for _ in 0..5 {
                    sleep(HOUR).await;
                    counted.set(counted.get() + 1);
                }
            });
            sleep(3 * HOUR + HOUR / 2).await;
            Response::new(String::new())
        };
        assert_eq!(run(handler, get::<()>()).status(), StatusCode::OK);
        assert_eq!((steps.get(), Rc::strong_count(&steps)), (3, 1));
    }

    #[test]
    #[should_panic(expected = "a broken response: its body has 3 bytes and has promised 4")]
    fn a_body_that_breaks_its_promise_panics() {
        let response = Response::builder().header("content-length", "4");
        let response = response.body(Hourly::new(&[Ok("abc")]));
        run(|_| ready(response), get::<()>());
    }

    #[test]
    #[should_panic(expected = "a broken response: the disk is gone")]
    fn a_body_that_fails_panics() {
        let body = Hourly::new(&[Ok("abc"), Err("the disk is gone")]);
        run(|_| ready(Response::new(body)), get::<()>());
    }

    /// A body of these frames. It may claim to have ended before them.
    struct Frames {
        frames: Box<dyn Iterator<Item = http_body::Frame<Bytes>>>,
        is_end_stream: bool,
    }

    impl Frames {
        fn new(frames: impl Iterator<Item = http_body::Frame<Bytes>> + 'static) -> Self {
            Self {
                frames: Box::new(frames),
                is_end_stream: false,
            }
        }
    }

    impl Body for Frames {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
            std::task::Poll::Ready(self.frames.next().map(Ok))
        }

        fn is_end_stream(&self) -> bool {
            self.is_end_stream
        }
    }

    fn data(text: &'static str) -> http_body::Frame<Bytes> {
        http_body::Frame::data(Bytes::from_static(text.as_bytes()))
    }

    /// As on a connection.
    #[test]
    fn a_body_ends_with_its_trailers() {
        let trailers = http_body::Frame::trailers(http::HeaderMap::new());
        let body = Frames::new([data("abc"), trailers, data("def")].into_iter());
        assert_eq!(
            run(|_| ready(Response::new(body)), get::<()>()).body(),
            "abc"
        );
    }

    /// A server polls a body first.
    #[test]
    fn a_body_that_claims_to_have_ended_is_polled() {
        let mut body = Frames::new([data("abc"), data("def")].into_iter());
        body.is_end_stream = true;
        assert_eq!(
            run(|_| ready(Response::new(body)), get::<()>()).body(),
            "abc"
        );
    }

    #[test]
    #[should_panic(expected = "a broken response: its body has 6 bytes and has promised 4")]
    fn a_body_without_end_that_has_promised_one_panics() {
        let body = Frames::new(std::iter::repeat_with(|| data("abc")));
        let response = Response::builder().header("content-length", "4").body(body);
        run(|_| ready(response), get::<()>());
    }

    #[test]
    #[should_panic(expected = "isn't complete after 1 GiB")]
    fn a_body_without_end_panics() {
        let body = Frames::new(std::iter::repeat_with(|| data("")));
        run(|_| ready(Response::new(body)), get::<()>());
    }

    #[test]
    fn an_upgrade_fails() {
        let request = Request::builder()
            .header("upgrade", "x")
            .header("connection", "upgrade");
        let handler = async |mut request: Request<Incoming>| {
            let error = crate::upgrade(&mut request).await.expect_err("no server");
            Response::new(error.to_string())
        };
        let response = run(handler, request.body("").expect("a request"));
        let text = String::from_utf8_lossy(response.body());
        assert!(
            text.contains("it wasn't received by `serve_async`"),
            "{text}"
        );
        let response = run(handler, get::<()>());
        let text = String::from_utf8_lossy(response.body());
        assert!(text.contains("the request has no Upgrade field"), "{text}");
    }

    #[test]
    #[should_panic(expected = "no connection that could be upgraded")]
    fn a_response_that_upgrades_panics() {
        let response = Response::builder().status(101).body(String::new());
        let response = response.expect("a head");
        run(|_| ready(response), get::<()>());
    }

    #[test]
    #[should_panic(expected = "nothing is left that could wake one of them")]
    fn a_handler_that_waits_for_nothing_panics() {
        let handler = |_: Request<Incoming>| -> Pending<Response<String>> { pending() };
        run(handler, get::<()>());
    }
}
