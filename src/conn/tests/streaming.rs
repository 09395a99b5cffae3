//! Tests of the state machine with streamed bodies.

mod connections;
mod limits;
mod requests;
mod responses;
mod time;
mod upgrades;

use std::time::Duration;

use bytes::Bytes;
use http::Response;

use super::super::state::{Reading, ResponseState, Writing};
use super::super::*;
use super::seconds;
use crate::limits::Limits;

/// A connection with its context, a clock that the test advances, and a handler that the test plays.
struct Bench {
    checked: CheckedConnection,
    /// What was received. Parts of one body are joined.
    seen: Vec<Event>,
    play: Play,
    /// The parts of the body that the handler has taken.
    body: Vec<u8>,
    /// The handler waits for the body.
    waits: bool,
}

/// What the handler does when this was received.
type Play = fn(&mut Bench, &Event);

/// A [`Received`], in a form that can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    Head(String, BodyLength),
    Data(Vec<u8>),
    End(Vec<(String, String)>),
    Whole(Vec<u8>),
    Failed(u16),
}

/// What has become of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    seen: Vec<Event>,
    output: String,
    step: Step,
    reading: Reading,
}

impl Bench {
    fn new(play: Play) -> Self {
        Self::with(play, |_| {})
    }

    fn with(play: Play, set: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        set(&mut limits);
        Self {
            checked: CheckedConnection::new(limits, Instant::from_nanos(1 << 40)),
            seen: Vec::new(),
            play,
            body: Vec::new(),
            waits: false,
        }
    }

    /// Makes a call, and checks what holds where bodies stream.
    fn call<T>(&mut self, call: impl FnOnce(&mut Connection, &mut Context<'_>) -> T) -> T {
        let result = self.checked.call(call);
        if self.checked.connection.state().writing() == Writing::Closed {
            assert_eq!(
                self.checked.shared.held(),
                0,
                "a closed connection holds memory"
            );
            assert!(!self.checked.connection.request_in_progress());
        }
        result
    }

    /// Passes bytes to the connection, and lets the handler act on what they bring.
    fn input(&mut self, bytes: impl AsRef<[u8]>) {
        let mut input = bytes.as_ref();
        loop {
            let received = self.call(|conn, cx| conn.handle_input_streaming(cx, &mut input));
            let Some(received) = received else {
                break;
            };
            let seen = shown(received);
            match (self.seen.last_mut(), &seen) {
                (Some(Event::Data(all)), Event::Data(data)) => all.extend_from_slice(data),
                (_, _) => self.seen.push(seen.clone()),
            }
            (self.play)(self, &seen);
        }
        assert!(input.is_empty(), "input is left");
    }

    /// Takes output and goes on with kept input, until nothing more can be done.
    fn run(&mut self) -> (String, Step) {
        let mut output = Vec::new();
        loop {
            output.extend(self.call(Connection::take_output));
            let step = self.call(Connection::poll_step);
            let has_usable = self.call(|conn, cx| conn.has_usable_input(cx));
            if !has_usable || matches!(step, Step::Close(_)) {
                return (String::from_utf8_lossy(&output).into_owned(), step);
            }
            self.input("");
        }
    }

    fn output(&mut self) -> String {
        self.run().0
    }

    fn step(&mut self) -> Step {
        self.run().1
    }

    fn status(&mut self) -> String {
        let output = self.output();
        output.split(' ').nth(1).unwrap_or_default().to_owned()
    }

    fn end(&mut self) {
        self.call(Connection::handle_end_of_input);
    }

    fn pass(&mut self, time: Duration) {
        self.checked.now = self.checked.now + time;
        self.call(Connection::handle_timeout);
    }

    fn reason(&self) -> Option<CloseReason> {
        self.checked.connection.state().close_reason()
    }

    /// The handler takes all that waits in its queue.
    fn take(&mut self) {
        self.call(|conn, cx| {
            conn.set_queued(cx, 0);
            conn.set_body_room(cx, Streaming::MAX_WAITING);
        });
    }

    fn await_body(&mut self, waits: bool) {
        self.waits = waits;
        self.call(|conn, cx| conn.await_body(cx, waits));
    }

    /// Responds with 200 and this body, of a length known or not.
    fn respond(&mut self, body: impl Into<Vec<u8>>, length: ResponseLength) {
        let body = Bytes::from(body.into());
        self.call(|conn, cx| {
            if conn.begin_response(cx, &Response::new(()), length) {
                conn.send_data(cx, body);
                conn.end_response(cx);
            }
        });
    }

    fn respond_exactly(&mut self, body: impl Into<Vec<u8>>) {
        let body = body.into();
        let length = ResponseLength::Exact(body.len() as u64);
        self.respond(body, length);
    }

    /// The body of the current response begins, without an announced length.
    fn begin(&mut self) {
        let length = ResponseLength::Unknown;
        assert!(self.call(|conn, cx| conn.begin_response(cx, &Response::new(()), length)));
    }

    fn send(&mut self, data: impl Into<Bytes>) {
        let data = data.into();
        self.call(|conn, cx| conn.send_data(cx, data));
    }

    fn read_limit(&mut self) -> usize {
        let limit = self.call(|conn, cx| conn.read_limit(cx));
        let wants = self.call(|conn, cx| conn.wants_input(cx));
        assert_eq!(wants, limit > 0, "{limit}");
        limit
    }
}

/// Collects the body, and responds with it, or with `hello!` if there is none. Does nothing after a fault.
fn echo(bench: &mut Bench, seen: &Event) {
    match seen {
        Event::Head(_, BodyLength::None) => bench.respond_exactly("hello!"),
        Event::Head(..) => {
            bench.body.clear();
            bench.await_body(true);
        }
        Event::Data(data) => {
            bench.body.extend_from_slice(data);
            bench.take();
        }
        Event::End(_) => {
            let body = std::mem::take(&mut bench.body);
            bench.respond_exactly(body);
        }
        Event::Whole(body) => bench.respond_exactly(body.clone()),
        Event::Failed(_) => {}
    }
}

/// The same, but responds to the fault of a body with its refusal.
fn echo_or_refuse(bench: &mut Bench, seen: &Event) {
    match seen {
        Event::Failed(status) => {
            let refusal = refusal(*status);
            bench.call(|conn, cx| conn.respond_to_refusal(cx, refusal));
        }
        other => echo(bench, other),
    }
}

/// Does nothing; the test plays the handler.
fn wait(_: &mut Bench, _: &Event) {}

fn refusal(status: u16) -> Refusal {
    match status {
        400 => Refusal::malformed("the body is malformed"),
        408 => Refusal::slow_body(),
        413 => Refusal::body_too_large(),
        431 => Refusal::headers_too_large("the trailer section is too long"),
        503 => Refusal::overloaded(),
        other => panic!("{other}"),
    }
}

fn shown(received: Received) -> Event {
    match received {
        Received::Head(request, length) => {
            Event::Head(format!("{} {}", request.method(), request.uri()), length)
        }
        Received::Data(data) => {
            assert!(!data.is_empty(), "an empty part");
            Event::Data(data.to_vec())
        }
        Received::End(trailers) => {
            let trailers = trailers.iter().flatten();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            Event::End(
                trailers
                    .map(|(name, value)| (name.to_string(), text(value.as_bytes())))
                    .collect(),
            )
        }
        Received::Whole(body) => Event::Whole(body.to_vec()),
        Received::Failed(refusal) => Event::Failed(refusal.status().as_u16()),
    }
}

/// What becomes of a connection that receives `input` in these pieces, and then maybe its end.
fn outcome(pieces: &[&[u8]], ends: bool, play: Play, set: fn(&mut Limits)) -> Outcome {
    let mut bench = Bench::with(play, set);
    let mut output = String::new();
    let mut step = Step::Wait;
    for piece in pieces {
        bench.input(piece);
        let (more, next) = bench.run();
        output += &more;
        step = later(step, next);
    }
    if ends {
        bench.end();
        let (more, next) = bench.run();
        output += &more;
        step = later(step, next);
    }
    Outcome {
        seen: bench.seen,
        output,
        step,
        reading: bench.checked.connection.state().reading(),
    }
}

/// Steps are returned once: waiting follows after a shutdown.
fn later(step: Step, next: Step) -> Step {
    match next {
        Step::Wait => step,
        Step::ShutdownWrite | Step::Close(_) => next,
    }
}

/// The same outcome however `input` is split: in one piece, in two at each place, in single bytes.
fn every_split_with(
    input: impl AsRef<[u8]>,
    ends: bool,
    play: Play,
    set: fn(&mut Limits),
) -> Outcome {
    let input = input.as_ref();
    let whole = outcome(&[input], ends, play, set);
    for at in 0..=input.len() {
        let (front, back) = input.split_at(at);
        let split = outcome(&[front, back], ends, play, set);
        assert_eq!(split, whole, "split at {at}");
    }
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(outcome(&bytes, ends, play, set), whole, "in single bytes");
    whole
}

fn every_split(input: impl AsRef<[u8]>, play: Play) -> Outcome {
    every_split_with(input, false, play, |_| {})
}

impl Outcome {
    fn statuses(&self) -> Vec<&str> {
        let parts = self.output.split("HTTP/1.1 ").skip(1);
        parts.map(|part| &part[..3]).collect()
    }
}

fn head(line: &str, length: BodyLength) -> Event {
    Event::Head(line.to_owned(), length)
}

fn data(bytes: impl AsRef<[u8]>) -> Event {
    Event::Data(bytes.as_ref().to_vec())
}

fn end() -> Event {
    Event::End(Vec::new())
}

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const GET_B: &str = "GET /b HTTP/1.1\r\nHost: h\r\n\r\n";
const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";

fn post(length: usize) -> String {
    format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n")
}

/// A head whose client waits for `100 Continue`.
fn expecting(length: usize) -> String {
    format!(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
    )
}
