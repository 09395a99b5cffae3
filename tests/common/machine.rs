//! The connection's state machine by itself as a subject: without a socket, and with a clock that the cases control.

use super::cases::Handler;
use super::check::{self, Outcome, Seen, Setup, Subject};
use super::notation;
use mini_http::conn::{BodyLength, Connection, Context, Received, ResponseLength, Shared, Step};
use mini_http::http::Method;
use mini_http::{Instant, Limits, Request, Response};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

/// The state machine. Runs share what the connections of a server share, so each run also tests what the last one left.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    shared: Shared,
    /// Whether its connections begin with a header of the PROXY protocol.
    is_behind_proxy: bool,
    now: Instant,
    /// Whether bodies stream. The handlers collect them.
    pub(crate) streams: bool,
}

impl Machine {
    /// One whose bodies stream.
    pub(crate) fn streaming() -> Self {
        Self {
            streams: true,
            ..Self::default()
        }
    }
}

impl Subject for Machine {
    fn run(&mut self, steps: &[notation::Step], setup: &Setup<'_>) -> Result<Outcome, String> {
        let limits = limits(setup.settings)?;
        let is_behind_proxy = wants_proxy_header(setup.settings);
        if self.is_behind_proxy != is_behind_proxy {
            self.is_behind_proxy = is_behind_proxy;
            self.shared = match is_behind_proxy {
                true => Shared::with_proxy_protocol(),
                false => Shared::new(),
            };
        }
        let mut run = Run::new(self, &limits, setup.handler);
        for step in steps {
            match step {
                notation::Step::Bytes(bytes) => run.take(bytes)?,
                notation::Step::Wait(time) => run.wait(*time)?,
                notation::Step::Eof => run.end()?,
            }
        }
        Ok(run.finish())
    }
}

/// Whether connections begin with a header of the PROXY protocol.
pub(crate) fn wants_proxy_header(settings: &[(String, u64)]) -> bool {
    settings
        .iter()
        .any(|(name, value)| name == "proxy" && *value == 1)
}

/// The default limits, but for those of a case.
pub(crate) fn limits(settings: &[(String, u64)]) -> Result<Limits, String> {
    let mut limits = Limits::default();
    for (name, value) in settings {
        let size = usize::try_from(*value).map_err(|_| format!("{name} is too large"))?;
        match name.as_str() {
            "request_line" => limits.max_request_line = size,
            "head" => limits.max_head = size,
            "fields" => limits.max_fields = size,
            "body" => limits.max_body = *value,
            "chunk_extensions" => limits.max_chunk_extensions = size,
            "trailers" => limits.max_trailers = size,
            "memory" => limits.max_held = size,
            // No limit: see `wants_proxy_header`.
            "proxy" => {}
            _ => return Err(format!("no such setting: {name}")),
        }
    }
    Ok(limits)
}

/// One connection, served as the event loop would.
struct Run<'a> {
    machine: &'a mut Machine,
    limits: &'a Limits,
    handler: Handler,
    connection: Connection,
    responded: Vec<u8>,
    seen: Vec<Seen>,
    /// The head of the request whose body is collected.
    head: Option<mini_http::Request>,
    /// What the connection carries after an upgrade is sent back.
    echoes: bool,
    /// The writing side is shut.
    shut: bool,
    closed: bool,
}

impl<'a> Run<'a> {
    fn new(machine: &'a mut Machine, limits: &'a Limits, handler: Handler) -> Self {
        machine.shared.set_date(machine.now, SystemTime::now());
        let (now, shared) = (machine.now, &mut machine.shared);
        let connection = Connection::new(
            1,
            None,
            &mut Context {
                now,
                limits,
                shared,
            },
        );
        Self {
            machine,
            limits,
            handler,
            connection,
            responded: Vec::new(),
            seen: Vec::new(),
            head: None,
            echoes: false,
            shut: false,
            closed: false,
        }
    }

    fn call<T>(&mut self, call: impl FnOnce(&mut Connection, &mut Context<'_>) -> T) -> T {
        let (now, shared) = (self.machine.now, &mut self.machine.shared);
        let mut cx = Context {
            now,
            limits: self.limits,
            shared,
        };
        call(&mut self.connection, &mut cx)
    }

    fn take(&mut self, mut input: &[u8]) -> Result<(), String> {
        if self.closed {
            return Ok(());
        }
        if self.machine.streams {
            self.take_streams(&mut input)?;
            return self.take_all_output();
        }
        while let Some(request) =
            self.call(|connection, cx| connection.handle_input(cx, &mut input))
        {
            self.seen.push(seen(&request));
            let query = request.uri().query().unwrap_or_default();
            if self.handler == Handler::Respond && panics(query) {
                self.call(Connection::respond_to_panic);
                continue;
            }
            let response = response(self.handler, query, request.body(), request.peer_addr())?;
            self.call(|connection, cx| connection.respond(cx, response));
        }
        if !input.is_empty() {
            return Err("the machine left input".to_owned());
        }
        self.take_all_output()
    }

    /// The same where bodies stream.
    fn take_streams(&mut self, input: &mut &[u8]) -> Result<(), String> {
        while let Some(received) =
            self.call(|connection, cx| connection.handle_input_streaming(cx, input))
        {
            match received {
                Received::Head(head, BodyLength::None) => {
                    self.respond_to(head.into_inner())?;
                }
                Received::Head(head, _) if leaves_body(self.handler, &head) => {
                    self.respond_to(head.into_inner())?;
                }
                Received::Head(head, BodyLength::Exact(_) | BodyLength::Chunked) => {
                    self.head = Some(head);
                    let limit = self.limits.max_body;
                    self.call(|connection, cx| connection.gather_body(cx, limit));
                }
                Received::Whole(body) => {
                    let head = self.head.take().ok_or("a body without a head")?;
                    let mut request = head.into_inner();
                    *request.body_mut() = body.to_vec();
                    self.respond_to(request)?;
                }
                Received::Failed(refusal) => {
                    self.call(|connection, cx| connection.respond_to_refusal(cx, refusal));
                }
                Received::Data(data) if self.echoes => self.send_back(&data),
                Received::End(_) if self.echoes => self.end_upgraded(),
                Received::Data(_) | Received::End(_) => {
                    return Err("a part of a body that is collected".to_owned());
                }
            }
        }
        if !input.is_empty() {
            return Err("the machine left input".to_owned());
        }
        Ok(())
    }

    fn respond_to(&mut self, request: mini_http::http::Request<Vec<u8>>) -> Result<(), String> {
        let request = Request::from(request);
        if is_handled(self.handler, request.method()) {
            self.seen.push(seen(&request));
        }
        let query = query(self.handler, &request);
        if self.handler == Handler::Respond && panics(query) {
            self.call(Connection::respond_to_error);
            return Ok(());
        }
        if takes_upgrade(self.handler, query) {
            self.call(|connection, _| connection.set_upgrade_taken(true));
        }
        let peer = self.connection.peer();
        let (head, body) = response(self.handler, query, request.body(), peer)?.into_parts();
        let head = Response::from_parts(head, ());
        let length = ResponseLength::Exact(body.len() as u64);
        self.call(|connection, cx| {
            if connection.begin_response(cx, &head, length) {
                connection.send_data(cx, body.into());
                connection.end_response(cx);
            }
        });
        self.echoes = self.connection.is_upgraded();
        Ok(())
    }

    /// The handler `upgrade`, after an upgrade.
    fn send_back(&mut self, data: &[u8]) {
        let (data, is_last) = until_end(data);
        self.call(|connection, cx| {
            connection.send_upgraded(cx, &mut data.to_vec());
            connection.set_upgraded_queue(cx, 0);
        });
        if is_last {
            self.end_upgraded();
        }
    }

    fn end_upgraded(&mut self) {
        self.echoes = false;
        self.call(Connection::drop_upgraded);
    }

    fn end(&mut self) -> Result<(), String> {
        if !self.closed {
            self.call(Connection::handle_end_of_input);
        }
        if self.machine.streams {
            self.take_streams(&mut &[][..])?;
        }
        self.take_all_output()
    }

    fn wait(&mut self, time: Duration) -> Result<(), String> {
        let until = self.machine.now + time;
        while let Some(next) = self.connection.poll_timeout().filter(|next| *next <= until) {
            if self.closed {
                break;
            }
            self.machine.now = next.max(self.machine.now);
            self.call(Connection::handle_timeout);
            if self.machine.streams {
                self.take_streams(&mut &[][..])?;
            }
            self.take_all_output()?;
            if self
                .connection
                .poll_timeout()
                .is_some_and(|again| again <= next)
            {
                return Err("an expired deadline was not removed".to_owned());
            }
        }
        self.machine.now = until;
        Ok(())
    }

    /// Takes all output, does what the state machine asks for, and lets it go on with the input that it has kept.
    fn take_all_output(&mut self) -> Result<(), String> {
        loop {
            let output = self.call(Connection::take_output);
            if self.shut && !output.is_empty() {
                return Err(format!("output after the end: {}", notation::show(&output)));
            }
            self.responded.extend(output);
            match self.call(|connection, cx| connection.poll_step(cx)) {
                Step::Wait => {}
                Step::ShutdownWrite => self.shut = true,
                Step::Close(_) => {
                    (self.shut, self.closed) = (true, true);
                    return Ok(());
                }
            }
            if !self.call(|connection, cx| connection.has_usable_input(cx)) {
                let deadline = self.connection.poll_timeout();
                let state = self.connection.state();
                if self.echoes {
                    // An upgraded connection may be silent for any time.
                    return Ok(());
                }
                return deadline
                    .map(|_| ())
                    .ok_or_else(|| format!("no deadline in {state:?}"));
            }
            self.take(&[])?;
        }
    }

    fn finish(mut self) -> Outcome {
        // The memory that the connection held must be returned to the shared budget.
        if !self.closed {
            let reason = mini_http::CloseReason::ClientClosed;
            self.call(|connection, cx| connection.abandon(cx, reason));
        }
        Outcome {
            responded: self.responded,
            seen: Some(self.seen),
            closed: self.shut,
        }
    }
}

fn seen(request: &Request) -> Seen {
    let fields = request.headers().iter();
    let fields = fields.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
    Seen {
        method: request.method().to_string(),
        target: request.uri().to_string(),
        fields: fields.collect(),
        body: request.body().to_vec(),
    }
}

/// Whether the handler sees such a request. All but *upgrade* know nothing of CONNECT: their 2xx becomes 501, as if it
/// had been refused before.
fn is_handled(handler: Handler, method: &Method) -> bool {
    handler == Handler::Upgrade || method != Method::CONNECT
}

/// The text that says how to respond: the query of the target, or the field `Respond`.
pub(crate) fn query<B>(handler: Handler, request: &mini_http::http::Request<B>) -> &str {
    match handler {
        Handler::Echo | Handler::Respond | Handler::Complete => {
            request.uri().query().unwrap_or_default()
        }
        Handler::Upgrade => {
            let value = request.headers().get("respond");
            value.map_or("", |value| value.to_str().unwrap_or_default())
        }
    }
}

fn has(query: &str, wanted: &str) -> bool {
    query.split('&').any(|pair| pair == wanted)
}

/// Whether the handler takes the upgrade.
pub(crate) fn takes_upgrade(handler: Handler, query: &str) -> bool {
    handler == Handler::Upgrade && !has(query, "take=no")
}

/// Whether the handler responds without reading the body.
pub(crate) fn leaves_body<B>(handler: Handler, request: &mini_http::http::Request<B>) -> bool {
    handler == Handler::Upgrade && has(query(handler, request), "read=no")
}

/// What is sent back of these bytes, and whether the connection ends with them.
pub(crate) fn until_end(data: &[u8]) -> (&[u8], bool) {
    match data.iter().position(|&byte| byte == b'!') {
        Some(end) => (&data[..=end], true),
        None => (data, false),
    }
}

fn panics(query: &str) -> bool {
    query.split('&').any(|pair| pair == "panic=now")
}

/// The response of a handler to a request with this query and body, from this peer.
pub(crate) fn response(
    handler: Handler,
    query: &str,
    body: &[u8],
    peer: Option<SocketAddr>,
) -> Result<Response<Vec<u8>>, String> {
    match handler {
        Handler::Echo | Handler::Complete => Ok(Response::new(check::echo(body).to_vec())),
        Handler::Respond if panics(query) => panic!("as the request says"),
        Handler::Respond | Handler::Upgrade => respond(query, peer),
    }
}

/// The response of the handler `respond`: the query says what it is.
fn respond(query: &str, peer: Option<SocketAddr>) -> Result<Response<Vec<u8>>, String> {
    let mut response = Response::builder();
    let mut body = b"hello!".to_vec();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| format!("no value: {pair}"))?;
        let value = decode(value)?;
        let number = || -> Result<usize, String> {
            let text = String::from_utf8_lossy(&value);
            text.parse().map_err(|_| format!("not a number: {text}"))
        };
        match name {
            "status" => {
                let status = u16::try_from(number()?).map_err(|error| error.to_string())?;
                response = response.status(status);
            }
            "body" => body = value,
            "peer" => body = peer.map_or("none".into(), |peer| peer.to_string()).into(),
            "length" => body = vec![b'a'; number()?],
            "take" | "read" => {}
            _ => response = response.header(name, value),
        }
    }
    response.body(body).map_err(|error| error.to_string())
}

/// Decodes percent-encoding.
fn decode(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2).ok_or("a cut encoding")?;
        let digits = String::from_utf8_lossy(digits);
        bytes.push(u8::from_str_radix(&digits, 16).map_err(|error| error.to_string())?);
        rest = after;
    }
    Ok(bytes)
}
