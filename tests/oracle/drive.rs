//! [`Drive`]: runs one connection's state machine as an event loop does, and checks the invariants after each call.

use super::handler::{Given, SECONDS};
use super::request;
use mini_http::conn::state::{Reading, Writing};
use mini_http::conn::{CheckedConnection, CloseReason, Connection, Context, Step};
use mini_http::{Instant, Limits};
use std::io::IoSlice;
use std::time::{Duration, UNIX_EPOCH};

/// A request that the handler saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) is_http10: bool,
    pub(crate) fields: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    /// How many bytes of the read follow it.
    pub(crate) left: usize,
}

impl Seen {
    pub(crate) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let lines = self.fields.iter().filter(move |(other, _)| other == name);
        lines.map(|(_, value)| value.as_slice())
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.shown() == other.shown() && self.body == other.body
    }

    /// Everything except the body as a text, for comparisons.
    pub(crate) fn shown(&self) -> String {
        request::show(
            &self.method,
            &self.target,
            self.is_http10,
            self.fields.clone(),
        )
    }
}

/// A connection under test.
pub(crate) struct Drive {
    checked: CheckedConnection,
    handler: u8,
    pub(crate) seen: Vec<Seen>,
    pub(crate) given: Vec<Given>,
    /// How many bytes were read from the client.
    pub(crate) read: usize,
    /// How many bytes the connection was passed while it still read requests.
    pub(crate) fed: usize,
    /// The bytes that the client has received.
    pub(crate) got: Vec<u8>,
    /// Writing was shut down.
    pub(crate) is_shut: bool,
    pub(crate) closed: Option<CloseReason>,
    /// Output was lost, because the connection was closed before the client took it.
    pub(crate) is_cut: bool,
    /// The server stops while the handler works on the next request.
    pub(crate) stops_in_handler: bool,
}

impl Drive {
    pub(crate) fn new(limits: Limits, handler: u8) -> Self {
        let now = Instant::from_nanos(1 << 40);
        let mut checked = CheckedConnection::new(limits, now);
        let date = UNIX_EPOCH + Duration::from_secs(SECONDS);
        checked.shared.set_date(now, date);
        Self {
            checked,
            handler,
            seen: Vec::new(),
            given: Vec::new(),
            read: 0,
            fed: 0,
            got: Vec::new(),
            is_shut: false,
            closed: None,
            is_cut: false,
            stops_in_handler: false,
        }
    }

    /// Makes a call, and records whether it lost output.
    fn call<T>(&mut self, call: impl FnOnce(&mut Connection, &mut Context<'_>) -> T) -> T {
        let had_output = self.checked.connection.pending_output();
        let result = self.checked.call(call);
        let is_closed = self.checked.connection.state().writing() == Writing::Closed;
        self.is_cut |= is_closed && had_output > 0;
        result
    }

    /// Whether the connection accepts input, or the end of the stream, now.
    pub(crate) fn wants_input(&mut self) -> bool {
        self.closed.is_none()
            && self.call(|connection, cx| connection.wants_input(cx))
            && !self.can_go_on()
    }

    fn can_go_on(&mut self) -> bool {
        self.call(|connection, cx| connection.has_usable_input(cx))
    }

    /// Passes the bytes of one read to the connection. At most `requests` requests are handled; then the turn ends.
    pub(crate) fn read(&mut self, mut input: &[u8], requests: usize) {
        let before = self.seen.len();
        let refused = self.is_refused();
        let all = input.len();
        self.read += all;
        if !refused {
            self.fed += all;
        }
        while let Some(request) =
            self.call(|connection, cx| connection.handle_input(cx, &mut input))
        {
            assert!(!refused, "a request after the last one");
            assert!(input.len() <= all);
            self.seen.push(seen(&request, input.len()));
            self.respond();
            if self.seen.len() - before >= requests {
                self.call(|connection, cx| connection.keep_input(cx, input));
                return;
            }
        }
        assert!(input.is_empty(), "input is left");
    }

    fn is_refused(&self) -> bool {
        matches!(
            self.checked.connection.state().reading(),
            Reading::Discarding | Reading::Ended
        )
    }

    fn respond(&mut self) {
        let given = Given::new(self.handler, self.given.len());
        if std::mem::take(&mut self.stops_in_handler) {
            self.call(|connection, _| connection.close_after_response(CloseReason::Stopped));
        }
        if given.panics {
            self.call(Connection::respond_to_panic);
        } else {
            let response = given.response();
            self.call(|connection, cx| connection.respond(cx, response));
        }
        self.given.push(given);
    }

    /// The client's stream ends.
    pub(crate) fn end(&mut self) {
        self.call(Connection::handle_end_of_input);
    }

    pub(crate) fn stop(&mut self) {
        self.call(Connection::stop);
    }

    pub(crate) fn abandon(&mut self) {
        self.call(|connection, cx| connection.abandon(cx, CloseReason::IoError));
    }

    /// Lets the socket take up to `most` bytes of output, and takes the next step. Returns whether the socket took any.
    pub(crate) fn write(&mut self, most: usize) -> bool {
        if self.closed.is_some() {
            return false;
        }
        let taken = take_output(&mut self.checked.connection, most, &mut self.got);
        assert!(
            !self.is_shut || self.checked.connection.pending_output() == 0,
            "output after the end"
        );
        if taken > 0 {
            self.call(|connection, cx| connection.handle_written(cx, taken));
        }
        self.step();
        taken > 0
    }

    /// Does what the state machine says to do next.
    fn step(&mut self) {
        match self.call(Connection::poll_step) {
            Step::Wait => {
                let reading = self.checked.connection.state().reading();
                let writing = self.checked.connection.state().writing();
                assert_ne!(writing, Writing::Closed);
                if self.checked.connection.pending_output() == 0 && writing != Writing::Lingering {
                    assert!(
                        self.can_go_on() || self.call(|connection, cx| connection.wants_input(cx)),
                        "stalls in {reading:?}, {writing:?}"
                    );
                }
            }
            Step::ShutdownWrite => {
                assert!(!self.is_shut, "shut down twice");
                assert_eq!(self.checked.connection.pending_output(), 0);
                self.is_shut = true;
            }
            Step::Close(reason) => {
                self.is_shut = true;
                self.closed = Some(reason);
                assert_eq!(self.checked.connection.state().close_reason(), Some(reason));
                assert_eq!(self.checked.shared.held(), 0, "closed, but holds memory");
            }
        }
    }

    /// Lets time pass, and handles each deadline when it expires.
    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.checked.now + time;
        while self.closed.is_none()
            && self
                .checked
                .connection
                .poll_timeout()
                .is_some_and(|at| at <= until)
        {
            self.pass_deadline();
        }
        self.checked.now = self.checked.now.max(until);
    }

    /// Lets time pass until the next deadline, and handles it.
    pub(crate) fn pass_deadline(&mut self) {
        let Some(deadline) = self.checked.connection.poll_timeout() else {
            return;
        };
        self.checked.now = self.checked.now.max(deadline);
        self.call(Connection::handle_timeout);
        assert!(
            self.checked
                .connection
                .poll_timeout()
                .is_none_or(|next| next > self.checked.now),
            "an expired deadline stays"
        );
        self.step();
    }

    /// Takes all output, and lets the connection go on with the input that it has kept.
    pub(crate) fn drain(&mut self) {
        loop {
            while self.write(usize::MAX) {}
            if self.closed.is_some() || !self.can_go_on() {
                return;
            }
            self.read(&[], usize::MAX);
        }
    }

    /// The client sends nothing more, and takes output only if `takes_output`. The connection must end by itself.
    pub(crate) fn silence(&mut self, takes_output: bool) {
        for _ in 0..10_000 {
            if takes_output {
                self.drain();
            } else {
                self.write(0);
            }
            if self.closed.is_some() {
                return;
            }
            assert!(
                self.checked.connection.poll_timeout().is_some(),
                "no deadline"
            );
            self.pass_deadline();
        }
        panic!("a silent client's connection never ends");
    }

    /// Lets the connection go on with the input that it has kept, for at most this many requests.
    pub(crate) fn go_on(&mut self, requests: usize) {
        if self.closed.is_none() && self.can_go_on() {
            self.read(&[], requests);
        }
    }

    pub(crate) fn close_reason(&self) -> Option<CloseReason> {
        self.checked.connection.state().close_reason()
    }

    /// Whether the memory limit is so low that it may be reached.
    pub(crate) fn is_short_of_memory(&self) -> bool {
        self.checked.limits.max_held < Limits::default().max_held
    }

    pub(crate) fn pending_output(&self) -> usize {
        self.checked.connection.pending_output()
    }
}

/// The socket takes up to `most` bytes of output. Returns how many.
pub(super) fn take_output(connection: &mut Connection, most: usize, got: &mut Vec<u8>) -> usize {
    let mut slices = [IoSlice::new(&[]); Connection::MAX_SLICES];
    let filled = connection.poll_output(&mut slices);
    let mut taken = 0;
    for slice in &slices[..filled] {
        assert!(!slice.is_empty(), "an empty slice");
        let part = &slice[..slice.len().min(most - taken)];
        got.extend_from_slice(part);
        taken += part.len();
    }
    assert_eq!(filled == 0, connection.pending_output() == 0);
    taken
}

fn seen(request: &mini_http::Request, left: usize) -> Seen {
    let fields = request.headers().iter();
    Seen {
        method: request.method().to_string(),
        target: request.uri().to_string(),
        is_http10: request.version() == mini_http::version::Version::HTTP_10,
        fields: fields
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
            .collect(),
        body: request.body().to_vec(),
        left,
    }
}
