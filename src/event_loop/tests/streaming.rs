//! Tests of streaming mode, in virtual time: the handler returns a future for each request.

mod bodies;
mod disconnects;
mod full_budget;
mod panics;
mod requests;
mod slow;
mod stop;
mod upgrades;
mod wakers;

use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::task::{Poll, Waker};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};

use super::*;
use crate::body::AnyBody;
use crate::executor::{Sleep, sleep};
use crate::incoming::{Incoming, IncomingError, with_conversion};

/// Runtimes whose poll checks sockets. In the others, the poller has to check the sockets every few milliseconds.
const NOT_BLIND: [Personality; 2] = [Personality::WASI_COMMON, Personality::STRICT];

/// What happens to the futures of requests.
#[derive(Default)]
struct Diary {
    begun: Cell<usize>,
    /// When futures were dropped before they had ended, in virtual milliseconds.
    dropped: RefCell<Vec<u64>>,
}

/// Writes into the diary if it is dropped before the future has ended.
struct Witness {
    diary: Rc<Diary>,
    fake: Fake,
}

impl Witness {
    fn new(diary: &Rc<Diary>, fake: &Fake) -> Self {
        diary.begun.set(diary.begun.get() + 1);
        let (diary, fake) = (Rc::clone(diary), fake.clone());
        Self { diary, fake }
    }

    /// The future has ended.
    fn end(self) {
        std::mem::forget(self);
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let now = self.fake.now() / 1_000_000;
        self.diary.dropped.borrow_mut().push(now);
    }
}

/// A body of `count` events, with an interval between them.
struct Events {
    left: usize,
    interval: Duration,
    sleep: Sleep,
    polls: Rc<Cell<usize>>,
}

impl Events {
    fn new(count: usize, interval: Duration) -> Self {
        Self {
            left: count,
            interval,
            sleep: sleep(Duration::ZERO),
            polls: Rc::default(),
        }
    }
}

impl HttpBody for Events {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, &'static str>>> {
        self.polls.set(self.polls.get() + 1);
        if self.left == 0 {
            return Poll::Ready(None);
        }
        std::task::ready!(Pin::new(&mut self.sleep).poll(cx));
        self.left -= 1;
        self.sleep = sleep(self.interval);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"event\n")))))
    }
}

/// A body without an end. It counts its polls, each of which makes a part.
struct Endless<F> {
    polls: Rc<Cell<usize>>,
    part: F,
}

impl<F: Fn() -> Bytes> Endless<F> {
    fn new(polls: &Rc<Cell<usize>>, part: F) -> Self {
        let polls = Rc::clone(polls);
        Self { polls, part }
    }
}

impl<F: Fn() -> Bytes> HttpBody for Endless<F> {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, &'static str>>> {
        self.polls.set(self.polls.get() + 1);
        Poll::Ready(Some(Ok(Frame::data((self.part)()))))
    }
}

type Request = http::Request<Incoming>;

impl Bench {
    /// Runs the server in streaming mode until it has been stopped.
    fn serve<F>(&self, handler: impl FnMut(Request) -> F) -> Counters
    where
        F: Future<Output: IntoResponse>,
    {
        self.serve_beside(Vec::new(), handler)
    }

    fn serve_beside<F>(&self, tasks: Vec<Task>, handler: impl FnMut(Request) -> F) -> Counters
    where
        F: Future<Output: IntoResponse>,
    {
        let reactor = Wasip1Reactor::new(self.fake.clone(), [self.listener]).expect("a listener");
        let handler = with_conversion(handler);
        serve_async(reactor, handler, tasks, &self.settings, &self.handle)
            .expect("the server ends without an error");
        self.check()
    }

    /// Runs the server in streaming mode, with this function that ends its wait.
    fn serve_with_waker<F>(
        &self,
        waker: crate::handle::Waker,
        handler: impl FnMut(Request) -> F,
    ) -> Counters
    where
        F: Future<Output: IntoResponse>,
    {
        let reactor = Wasip1Reactor::new(self.fake.clone(), [self.listener]).expect("a listener");
        let handler = with_conversion(handler);
        let mode = Streaming::new(handler, Vec::new(), Some(waker), &self.settings);
        let mut shared = self.settings.shared(&self.handle);
        EventLoop::new(reactor, mode, &self.settings, &self.handle, &mut shared)
            .run()
            .expect("the server ends without an error");
        self.check()
    }
}

fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n").into_bytes()
}

async fn hello(_: Request) -> Response<String> {
    Response::new("hello!".to_string())
}

/// Responds after the time in the target, in milliseconds.
async fn later(request: Request) -> Response<String> {
    let millis = request.uri().path()[1..].parse().unwrap_or_default();
    sleep(Duration::from_millis(millis)).await;
    Response::new("hello!".to_string())
}

fn text(client: &Client) -> String {
    String::from_utf8_lossy(&client.receive()).into_owned()
}
