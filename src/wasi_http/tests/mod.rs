//! Tests of the loop, with a scripted host and virtual time.

mod bodies;
mod ends;
// It uses the random numbers of the fake runtime, which is compiled natively only.
#[cfg(not(target_os = "wasi"))]
mod random;

use std::cell::Cell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response};
use http_body::Frame;

use super::exchange::handle;
use super::handler::Exported;
use super::head::Asked;
use super::host::{Gone, Host, Read, Wanted};
use crate::body::{AnyBody, BoxError};
use crate::time::Instant;

/// What the next reads of the request's body return.
enum Step {
    /// Nothing, until the loop has waited for it.
    Pause,
    Part(&'static str),
    End(&'static [(&'static str, &'static str)]),
    Fail,
}

/// A host that follows a script, and records what it gets.
struct Scripted {
    now: Cell<Instant>,
    /// How much later it is each time that the clock is read.
    tick: Duration,
    upload: VecDeque<Step>,
    /// How many bytes a write may have, and how many it may have after the next wait.
    room: usize,
    room_after_wait: usize,
    /// The client goes away at this time.
    gone_at: Instant,
    head: Option<Response<()>>,
    has_body: bool,
    written: Vec<u8>,
    /// How many of these bytes were sent: a handler may look at it.
    sent: Rc<Cell<usize>>,
    writes: usize,
    waits: Vec<Wanted>,
    trailers: Option<HeaderMap>,
    end: Option<End>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Complete,
    Aborted,
}

impl Scripted {
    fn new(upload: impl IntoIterator<Item = Step>) -> Self {
        Self {
            now: Cell::default(),
            tick: Duration::ZERO,
            upload: upload.into_iter().collect(),
            room: usize::MAX,
            room_after_wait: usize::MAX,
            gone_at: Instant::from_nanos(u64::MAX),
            head: None,
            has_body: false,
            written: Vec::new(),
            sent: Rc::default(),
            writes: 0,
            waits: Vec::new(),
            trailers: None,
            end: None,
        }
    }

    fn with_room(room: usize) -> Self {
        Self {
            room,
            room_after_wait: room,
            ..Self::new([])
        }
    }

    fn status(&self) -> u16 {
        let head = self.head.as_ref().expect("there is a response");
        head.status().as_u16()
    }

    fn field(&self, name: header::HeaderName) -> Option<&str> {
        let head = self.head.as_ref().expect("there is a response");
        head.headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.written).expect("ASCII")
    }

    fn check_gone(&self) -> Result<(), Gone> {
        assert!(self.has_body && self.end.is_none(), "there is no body");
        match self.now.get() < self.gone_at {
            true => Ok(()),
            false => Err(Gone),
        }
    }
}

impl Host for Scripted {
    fn now(&self) -> Instant {
        self.now.set(self.now.get() + self.tick);
        self.now.get()
    }

    fn read(&mut self, most: usize) -> Read {
        match self.upload.front() {
            Some(Step::Pause) => return Read::Pending,
            Some(Step::Part(part)) => assert!(part.len() <= most),
            Some(Step::End(_) | Step::Fail) => {}
            None => panic!("the body was read beyond its end"),
        }
        match self.upload.pop_front() {
            Some(Step::Part(part)) => Read::Data(part.into()),
            Some(Step::End(trailers)) => {
                Read::End((!trailers.is_empty()).then(|| fields(trailers)))
            }
            Some(Step::Pause | Step::Fail) | None => Read::Failed,
        }
    }

    fn begin(&mut self, head: Response<()>, has_body: bool) {
        assert!(self.head.is_none(), "there is one response");
        (self.head, self.has_body) = (Some(head), has_body);
    }

    fn room(&mut self) -> Result<usize, Gone> {
        self.check_gone()?;
        Ok(self.room)
    }

    fn write(&mut self, data: &[u8]) -> Result<(), Gone> {
        self.check_gone()?;
        assert!(data.len() <= self.room, "a host would end the program");
        self.room -= data.len();
        self.writes += 1;
        self.written.extend_from_slice(data);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Gone> {
        self.sent.set(self.written.len());
        self.check_gone()
    }

    fn end(&mut self, trailers: Option<&HeaderMap>) {
        assert!(self.has_body && self.end.is_none());
        (self.trailers, self.end) = (trailers.cloned(), Some(End::Complete));
    }

    fn abort(&mut self) {
        assert!(self.has_body && self.end.is_none());
        self.end = Some(End::Aborted);
    }

    fn wait(&mut self, wanted: Wanted) {
        assert!(self.waits.len() < 10_000, "the loop spins");
        self.waits.push(wanted);
        if wanted.read && matches!(self.upload.front(), Some(Step::Pause)) {
            self.upload.pop_front();
        } else if wanted.room && self.room_after_wait > 0 {
            self.room = self.room_after_wait;
        } else {
            let time = wanted.time.expect("the wait has an end");
            self.now.set(self.now.get() + time);
        }
    }
}

fn fields(entries: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for &(name, value) in entries {
        fields.append(name, HeaderValue::from_static(value));
    }
    fields
}

fn asked(method: Method, length: Option<&'static str>) -> Asked {
    let field = |length: &str| ("content-length".to_owned(), length.as_bytes().to_vec());
    Asked {
        method: Some(method),
        path_with_query: Some("/".into()),
        authority: Some("h".into()),
        fields: length.into_iter().map(field).collect(),
    }
}

fn get() -> Asked {
    asked(Method::GET, Some("0"))
}

fn upload() -> Asked {
    asked(Method::POST, None)
}

/// Handles a request with this host.
fn run(mut exported: Exported, asked: Asked, mut host: Scripted) -> Scripted {
    handle(&mut host, &mut exported, asked);
    host
}

/// A body of these parts, and then these trailers.
fn parts(parts: &'static [&'static str], trailers: Option<HeaderMap>) -> AnyBody {
    let data = parts.iter().map(|&part| Frame::data(part.into()));
    let mut frames = data.chain(trailers.map(Frame::trailers));
    body(move |_| Poll::Ready(frames.next()))
}

/// A body whose frames this returns.
fn body(
    poll: impl FnMut(&mut std::task::Context<'_>) -> Poll<Option<Frame<Bytes>>> + Unpin + 'static,
) -> AnyBody {
    struct FromPoll<F>(F);

    impl<F> http_body::Body for FromPoll<F>
    where
        F: FnMut(&mut std::task::Context<'_>) -> Poll<Option<Frame<Bytes>>> + Unpin,
    {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            (self.0)(cx).map(|frame| frame.map(Ok))
        }
    }

    AnyBody::new(FromPoll(poll))
}

fn response(
    body: impl Into<AnyBody>,
    fields: &[(&'static str, &'static str)],
) -> Response<AnyBody> {
    let mut response = Response::new(body.into());
    *response.headers_mut() = self::fields(fields);
    response
}

/// Counts itself while it lives.
struct Alive(Rc<Cell<usize>>);

impl Alive {
    fn new(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
