//! Where a handler collects the body and responds with it, it makes no difference whether bodies stream.

use super::super::choices::Choices;
use super::super::request::show;
use mini_http::conn::state::{Reading, Writing};
use mini_http::conn::{
    BodyLength, CheckedConnection, Connection, Context, Received, ResponseLength, Step,
};
use mini_http::{Bytes, CloseReason, Instant, Limits, Refusal, Response};

/// What has become of a connection.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// Each request: the head as a text, and the body.
    seen: Vec<(String, Vec<u8>)>,
    /// Escaped where it isn't printable ASCII.
    output: String,
    reading: Reading,
    writing: Writing,
    closed: Option<CloseReason>,
}

/// The part of a handler that collects bodies.
#[derive(Clone, Copy, Debug)]
enum Collector {
    /// The machine does it.
    Machine,
    /// From parts, in a queue of this many bytes.
    Handler(usize),
}

pub(crate) fn check(bytes: &[u8], limits: &Limits, mut choices: Choices<'_>, ends: bool) {
    let mut limits = limits.clone();
    // These depend on when input comes, and when output is taken.
    limits.max_held = usize::MAX;
    limits.max_pending_output = usize::MAX;
    limits.max_linger = u64::MAX;
    let complete = complete(bytes, &limits, ends);
    let room = choices.one_of(&[255, 1, 2, 7]);
    let gathered = streamed(bytes, &limits, choices.clone(), ends, Collector::Machine);
    assert_eq!(gathered, complete, "collected by the machine");
    let parts = streamed(bytes, &limits, choices, ends, Collector::Handler(room));
    // A handler knows that a body is too large when it is, not when a chunk's size says so.
    let is_too_large = complete.output.contains("HTTP/1.1 413 ");
    if !is_too_large {
        assert_eq!(parts, complete, "collected by the handler");
    }
    assert_eq!(parts.seen, complete.seen, "collected by the handler");
}

struct Run {
    checked: CheckedConnection,
    outcome: Outcome,
}

impl Run {
    fn new(limits: &Limits) -> Self {
        Self {
            checked: CheckedConnection::new(limits.clone(), Instant::default()).without_tunnels(),
            outcome: Outcome {
                seen: Vec::new(),
                output: String::new(),
                reading: Reading::Idle,
                writing: Writing::Open,
                closed: None,
            },
        }
    }

    fn call<T>(&mut self, call: impl FnOnce(&mut Connection, &mut Context<'_>) -> T) -> T {
        self.checked.call(call)
    }

    fn settle(&mut self) {
        let output = self.call(Connection::take_output);
        self.outcome.output += &output.escape_ascii().to_string();
        if let Step::Close(reason) = self.call(Connection::poll_step) {
            self.outcome.closed = Some(reason);
        }
    }

    /// The client's stream ends, if the connection still reads it.
    fn end(&mut self) {
        if self.call(|connection, cx| connection.wants_input(cx)) {
            self.call(Connection::handle_end_of_input);
        }
    }

    fn finish(mut self) -> Outcome {
        self.settle();
        let state = self.checked.connection.state();
        // A body is being received, whether it streams or is collected.
        self.outcome.reading = match state.reading() {
            Reading::Streaming => Reading::Body(()),
            other => other,
        };
        self.outcome.writing = state.writing();
        self.outcome
    }
}

/// With complete bodies, in one piece.
fn complete(bytes: &[u8], limits: &Limits, ends: bool) -> Outcome {
    let mut run = Run::new(limits);
    let mut input = bytes;
    while let Some(request) = run.call(|connection, cx| connection.handle_input(cx, &mut input)) {
        let head = shown(&request, request.headers());
        let body = request.into_body();
        run.outcome.seen.push((head, body.clone()));
        run.call(|connection, cx| connection.respond(cx, Response::new(body)));
        run.settle();
    }
    run.settle();
    if ends {
        run.end();
    }
    run.finish()
}

fn shown<B>(request: &mini_http::http::Request<B>, fields: &mini_http::http::HeaderMap) -> String {
    let fields = fields.iter();
    show(
        request.method().as_str(),
        &request.uri().to_string(),
        request.version() == mini_http::version::Version::HTTP_10,
        fields
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
            .collect(),
    )
}

/// With bodies that stream, in pieces.
fn streamed(
    bytes: &[u8],
    limits: &Limits,
    mut choices: Choices<'_>,
    ends: bool,
    collector: Collector,
) -> Outcome {
    let mut run = Run::new(limits);
    let mut current = (String::new(), Vec::new());
    let mut rest = bytes;
    while !rest.is_empty() {
        let count = if choices.is_empty() {
            rest.len()
        } else {
            usize::from(choices.next()) + 1
        };
        let (mut piece, after) = rest.split_at(count.min(rest.len()));
        rest = after;
        run.feed(&mut piece, collector, &mut current);
        run.settle();
    }
    run.settle();
    if ends {
        run.end();
        run.feed(&mut &[][..], collector, &mut current);
    }
    run.finish()
}

impl Run {
    fn feed(&mut self, input: &mut &[u8], collector: Collector, current: &mut (String, Vec<u8>)) {
        loop {
            let received = self.call(|connection, cx| connection.handle_input_streaming(cx, input));
            let Some(received) = received else {
                let can_go_on = self.call(|connection, cx| connection.has_usable_input(cx));
                if can_go_on {
                    continue;
                }
                return;
            };
            match received {
                Received::Head(request, length) => {
                    *current = (shown(&request, request.headers()), Vec::new());
                    self.begin(length, collector, current);
                }
                Received::Data(data) => {
                    current.1.extend_from_slice(&data);
                    if let Collector::Handler(room) = collector {
                        self.call(|connection, cx| {
                            connection.set_queued(cx, 0);
                            connection.set_body_room(cx, room);
                        });
                    }
                    if current.1.len() as u64 > self.checked.limits.max_body {
                        self.refuse(too_large(&self.checked.limits));
                    }
                }
                Received::End(_) => self.respond(current),
                Received::Whole(body) => {
                    current.1 = body.to_vec();
                    self.respond(current);
                }
                Received::Failed(refusal) => self.refuse(refusal),
            }
        }
    }

    fn begin(&mut self, length: BodyLength, collector: Collector, current: &mut (String, Vec<u8>)) {
        let max_body = self.checked.limits.max_body;
        match (length, collector) {
            (BodyLength::None, _) => self.respond(current),
            (_, Collector::Machine) => {
                self.call(|connection, cx| connection.gather_body(cx, max_body));
            }
            (BodyLength::Exact(length), Collector::Handler(_)) if length > max_body => {
                self.refuse(too_large(&self.checked.limits));
            }
            (_, Collector::Handler(room)) => self.call(|connection, cx| {
                connection.await_body(cx, true);
                connection.set_body_room(cx, room);
            }),
        }
    }

    fn respond(&mut self, current: &mut (String, Vec<u8>)) {
        self.outcome.seen.push(current.clone());
        let body = Bytes::from(std::mem::take(&mut current.1));
        let length = ResponseLength::Exact(body.len() as u64);
        self.call(|connection, cx| {
            if connection.begin_response(cx, &Response::new(()), length) {
                connection.send_data(cx, body);
                connection.end_response(cx);
            }
        });
        self.settle();
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.call(|connection, _| connection.fail_body(refusal));
        self.call(|connection, cx| connection.respond_to_refusal(cx, refusal));
    }
}

/// The refusal of a body over the limit, as the decoder makes it.
fn too_large(limits: &Limits) -> Refusal {
    let mut limits = limits.clone();
    limits.max_body = 0;
    let mut decoder = mini_http::conn::ChunkedDecoder::new();
    let refused = decoder.decode(&mut &b"1"[..], &limits);
    refused.expect_err("it is over the limit")
}
