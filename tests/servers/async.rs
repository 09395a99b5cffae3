//! A server whose handlers are futures and whose bodies stream, for any runtime. The limits are set as for the
//! example `stats`.
//!
//! | request | response |
//! |---|---|
//! | `/sleep?MS` | `slept`, after this many milliseconds |
//! | `/events?COUNT,MS` | this many events, one at once and then one each period; 0: until the server stops |
//! | `/wait` | what the next `/tell` has as its body |
//! | `/tell` | the number of requests that waited for it |
//! | `/waiting` | the number of requests that wait |
//! | `/echo` | the request's body, while it is received; its trailers, too |
//! | `/count?MS` | the length of the body, which is first polled after this many milliseconds |
//! | `/limited?BYTES` | the length of the body, which may have at most this many bytes |
//! | `/gather` | the length of the body, received as one piece |
//! | `/ignore` | `ignored`; the body isn't polled |
//! | `/data?BYTES` | this many bytes, with their length |
//! | `/chunks?BYTES` | this many bytes, in chunks of 4 KiB; 0: no end |
//! | `/short` | 3 of 5 bytes that were announced |
//! | `/fails` | 3 bytes, then the body fails |
//! | `/error` | the handler fails |
//! | `/raw?WHAT` | with `Upgrade: raw`: bytes in both directions, as below |
//! | CONNECT | a tunnel, which sends back what it gets |
//! | `/stats` | the counters, as those of the example `stats` |
//! | `/stop` | `stopping`; the server ends |
//! | any other | the request's body, or `hello!` if it has none |
//!
//! On an upgraded connection, `echo` sends the bytes back; `count` sends their number at their end; `bye` ends its
//! stream first; `sink` reads nothing; `source` sends without end.

mod news;
#[allow(dead_code, reason = "it is a program, too")]
#[path = "../../examples/stats.rs"]
mod stats;
mod upgraded;

use std::future::Future;
use std::io::{self, Read};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::BodyExt;
use mini_http::body::{AnyBody, Chunks, Reader};
use mini_http::http::{Method, Request, Uri};
use mini_http::http_body::{Body, Frame};
use mini_http::{Bytes, Handle, Incoming, IncomingError, Response, Server, Sleep, Stopping, sleep};

use news::News;

const CHUNK: usize = 4 << 10;

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    env_logger::init();
    let addr = std::env::var("MINI_HTTP_ADDR").unwrap_or("127.0.0.1:3000".into());
    let mut server = Server::new(&addr)?;
    server.limits(stats::limits_from_env);
    let news = Rc::new(News::default());
    let handle = server.handle();
    server.serve_async(move |request| respond(handle.clone(), Rc::clone(&news), request))?;
    Ok(())
}

async fn respond(
    handle: Handle,
    news: Rc<News>,
    mut request: Request<Incoming>,
) -> Result<Response<AnyBody>, Error> {
    if request.method() == Method::CONNECT || request.uri().path() == "/raw" {
        return Ok(upgraded::accept(&mut request, handle.stopping()));
    }
    let (head, mut body) = request.into_parts();
    let number = |index| number(&head.uri, index);
    let millis = |index| Duration::from_millis(number(index));
    let body: AnyBody = match head.uri.path() {
        "/sleep" => {
            sleep(millis(0)).await;
            "slept".into()
        }
        "/events" => AnyBody::new(Events::new(number(0), millis(1), handle.stopping())),
        "/wait" => news.next().await.into(),
        "/tell" => news.tell(body.bytes().await?).to_string().into(),
        "/waiting" => news.waiting().to_string().into(),
        "/echo" => body.into(),
        "/count" => {
            sleep(millis(0)).await;
            count(body).await?.to_string().into()
        }
        "/limited" => {
            body.limit(number(0));
            count(body).await?.to_string().into()
        }
        "/gather" => body.bytes().await?.len().to_string().into(),
        "/ignore" => "ignored".into(),
        "/data" => Reader::sized(io::repeat(b'x').take(number(0)), number(0)).into(),
        "/chunks" => chunks(number(0)),
        "/short" => Reader::sized(&b"abc"[..], 5).into(),
        "/fails" => Reader::new(b"abc".chain(Failing)).into(),
        "/error" => return Err("secret: as the request says".into()),
        "/stats" => stats::stats(&handle.counters()).into(),
        "/stop" => {
            handle.stop();
            "stopping".into()
        }
        _ => match body.bytes().await? {
            body if body.is_empty() => "hello!".into(),
            body => body.into(),
        },
    };
    Ok(Response::new(body))
}

/// A number of the query; 0 if it isn't there.
fn number(uri: &Uri, index: usize) -> u64 {
    let number = uri.query().and_then(|it| it.split(',').nth(index));
    number.and_then(|it| it.parse().ok()).unwrap_or(0)
}

async fn count(mut body: Incoming) -> Result<usize, IncomingError> {
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok(length)
}

fn chunks(length: u64) -> AnyBody {
    let mut left = match length {
        0 => u64::MAX,
        length => length,
    };
    Chunks::new(std::iter::from_fn(move || {
        let size = left.min(CHUNK as u64);
        left -= size;
        let size = usize::try_from(size).unwrap_or(0);
        // Each owns its memory, so it is counted.
        (size > 0).then(|| vec![b'x'; size])
    }))
    .into()
}

struct Failing;

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("as the request says"))
    }
}

struct Events {
    sent: u64,
    /// `u64::MAX`: until the server stops.
    count: u64,
    period: Duration,
    sleep: Sleep,
    stopping: Stopping,
}

impl Events {
    fn new(count: u64, period: Duration, stopping: Stopping) -> Self {
        Self {
            sent: 0,
            count: if count == 0 { u64::MAX } else { count },
            period,
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
        if self.sent == self.count || Pin::new(&mut self.stopping).poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        if Pin::new(&mut self.sleep).poll(cx).is_pending() {
            return Poll::Pending;
        }
        let event = format!("event {}\n", self.sent);
        self.sent += 1;
        self.sleep = sleep(self.period);
        Poll::Ready(Some(Ok(Frame::data(event.into()))))
    }
}
