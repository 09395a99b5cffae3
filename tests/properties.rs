//! Property tests: what must hold for the connection's state machine with any input, not only those of the cases.

#![cfg(not(target_os = "wasi"))]

mod common;
mod oracle;

use common::cases::{End, Handler};
use common::check::{self, Outcome, Setup, Subject};
use common::machine::Machine;
use common::notation::Step;
use common::responses;
use mini_http::conn::{Connection, Context, Shared};
use mini_http::{Instant, Limits, Response};
use oracle::choices::Choices;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Pieces of messages, valid and invalid, from which hostile inputs are made.
const WORDS: &[&str] = &[
    "GET ",
    "HEAD ",
    "POST ",
    "OPTIONS ",
    "CONNECT ",
    "get ",
    "/",
    "/a?b=c ",
    "* ",
    "a:80 ",
    "http://a/ ",
    "HTTP/1.1",
    "HTTP/1.0",
    "HTTP/1.2",
    "HTTP/2.0",
    "\r\n",
    "\r\n\r\n",
    "\r",
    "\n",
    " ",
    "\t",
    "\0",
    ":",
    ": ",
    ";",
    "=",
    "\"",
    ",",
    "\u{80}",
    "Host: a\r\n",
    "Host: b",
    "Host:",
    "Content-Length: 5\r\n",
    "Content-Length: 0\r\n",
    "Content-Length: ",
    "5",
    "05",
    "+5",
    "5, 5",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: ",
    "chunked",
    "gzip",
    "identity",
    "Connection: close\r\n",
    "Connection: keep-alive\r\n",
    "Expect: 100-continue\r\n",
    "Expect: x\r\n",
    "X-A: b\r\n",
    " folded\r\n",
    "hello",
    "5\r\nhello\r\n",
    "0\r\n\r\n",
    "0\r\n",
    "a",
    "A\r\n",
    "ffffffffffffffff\r\n",
    "1;a=b\r\nx\r\n",
    ";a=\"b\"",
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    // Bodies that look like requests.
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "1b\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
];

/// Input that is partly valid.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        20 => select(WORDS).prop_map(|word| word.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..6),
    ];
    vec(word, 0..24).prop_map(|words| words.concat())
}

/// A valid input that is damaged at one place, so that errors are found deep in a message.
fn spoilt() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), select(b"\r\n\t \0:;,\"0a\x7f\x80".as_slice()),];
    (requests(), any::<Index>(), vec(byte, 0..3), 0..3_usize).prop_map(
        |(requests, at, new, dropped)| {
            let mut bytes: Vec<u8> = requests.iter().flat_map(Request::encode).collect();
            let from = at.index(bytes.len());
            let to = bytes.len().min(from + dropped);
            bytes.splice(from..to, new);
            bytes
        },
    )
}

fn good() -> impl Strategy<Value = Vec<u8>> {
    requests().prop_map(|requests| requests.iter().flat_map(Request::encode).collect())
}

/// A valid request.
#[derive(Clone, Debug)]
struct Request {
    method: String,
    target: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
    framing: Framing,
}

/// How it sends the body.
#[derive(Clone, Debug)]
enum Framing {
    Length,
    /// In chunks of these sizes (the last one has the rest), with this extension after each size, and these trailers.
    Chunked(Vec<usize>, &'static str, &'static str),
}

impl Request {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\nHost: a\r\n", self.method, self.target);
        for (name, value) in &self.fields {
            bytes.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut bytes = bytes.into_bytes();
        match &self.framing {
            Framing::Length if self.body.is_empty() => bytes.extend(b"\r\n"),
            Framing::Length => {
                bytes.extend(format!("Content-Length: {}\r\n\r\n", self.body.len()).as_bytes());
                bytes.extend(&self.body);
            }
            Framing::Chunked(sizes, extension, trailers) => {
                bytes.extend(b"Transfer-Encoding: chunked\r\n\r\n");
                let mut rest = self.body.as_slice();
                let mut sizes = sizes.iter();
                while !rest.is_empty() {
                    let size = sizes
                        .next()
                        .map_or(rest.len(), |size| rest.len().min(*size));
                    let (chunk, after) = rest.split_at(size);
                    bytes.extend(format!("{size:x}{extension}\r\n").as_bytes());
                    bytes.extend(chunk);
                    bytes.extend(b"\r\n");
                    rest = after;
                }
                bytes.extend(format!("0{extension}\r\n{trailers}\r\n").as_bytes());
            }
        }
        bytes
    }
}

fn request() -> impl Strategy<Value = Request> {
    let method = prop_oneof![
        select(["GET", "HEAD", "POST", "PUT", "DELETE"].as_slice()).prop_map(str::to_owned),
        "[!#$%&'*+.^_`|~0-9a-zA-Z-]{1,12}",
    ];
    let target = "/([a-zA-Z0-9._~!$&'()*+,;=:@/-]|%[0-9a-fA-F]{2}){0,20}(\\?[a-z0-9=&/?]{0,10})?";
    let value = "([!-~]([ \t!-~]{0,20}[!-~])?)?";
    let fields = vec(("X-[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,8}", value), 0..5);
    let framing = prop_oneof![
        Just(Framing::Length),
        (
            vec(1..40_usize, 0..5),
            select(["", ";a", ";a=b", " ; a = \"b\\\"c\""].as_slice()),
            select(["", "X-T: 1\r\n", "X-T:\r\nContent-Length: 9\r\n"].as_slice()),
        )
            .prop_map(|(sizes, extension, trailers)| Framing::Chunked(sizes, extension, trailers)),
    ];
    let body = vec(any::<u8>(), 0..120);
    (method, target, fields, body, framing)
        .prop_filter("CONNECT has targets of its own", |request| {
            request.0 != "CONNECT"
        })
        .prop_map(|(method, target, fields, body, framing)| Request {
            method,
            target,
            fields,
            body,
            framing,
        })
}

fn requests() -> impl Strategy<Value = Vec<Request>> {
    vec(request(), 1..4)
}

/// Serves the bytes, in one piece or cut at `places`.
fn serve(bytes: &[u8], places: &[Index], eof: bool) -> Outcome {
    let mut steps = vec![Step::Bytes(bytes.to_vec())];
    if eof {
        steps.push(Step::Eof);
    }
    if !bytes.is_empty() {
        let mut places: Vec<usize> = places.iter().map(|at| at.index(bytes.len())).collect();
        places.sort_unstable();
        places.dedup();
        steps = check::cut(&steps, &places);
    }
    let setup = Setup {
        handler: Handler::Echo,
        settings: &[],
        end: End::Waiting,
        responses: 0,
    };
    Machine::default()
        .run(&steps, &setup)
        .expect("the machine keeps its own rules")
}

/// Reads the responses of an outcome. The requests say which of them are responses to HEAD. For a refusal this isn't
/// known, so its bytes must be a valid response in one of the two ways.
fn read(outcome: &Outcome) -> Vec<responses::Response> {
    let mut requests = outcome.seen.iter().flatten();
    let mut rest = outcome.responded.as_slice();
    let mut read = Vec::new();
    let mut to_head = requests.next().map(|request| request.method == "HEAD");
    while !rest.is_empty() {
        let attempt = responses::read(rest, to_head.unwrap_or(false));
        let attempt = match (attempt, to_head) {
            (Err(_), None) => responses::read(rest, true),
            (attempt, _) => attempt,
        };
        let (response, after) = attempt.expect("a well-formed response");
        if !response.is_interim() {
            to_head = requests.next().map(|request| request.method == "HEAD");
        }
        rest = after;
        read.push(response);
    }
    read
}

/// Checks what must be true of every outcome.
fn check_always(outcome: &Outcome) {
    let read = read(outcome);
    let seen = outcome.seen.as_deref().unwrap_or_default();
    let finals: Vec<_> = read
        .iter()
        .filter(|response| !response.is_interim())
        .collect();
    for (response, request) in finals.iter().zip(seen) {
        assert_eq!(response.status, 200);
        if request.method != "HEAD" {
            assert_eq!(response.body, check::echo(&request.body));
        }
    }
    let refusals = &finals[finals.len().min(seen.len())..];
    assert!(finals.len() >= seen.len(), "a request has no response");
    assert!(refusals.len() <= 1, "more than one refusal");
    assert!(
        refusals
            .iter()
            .all(|response| response.status >= 400 && response.says_close())
    );
    assert!(
        refusals.is_empty() || outcome.closed,
        "open after a refusal"
    );
    let closes = finals.iter().position(|response| response.says_close());
    assert!(
        closes.is_none_or(|at| at + 1 == finals.len()),
        "a response after the last"
    );
    assert!(
        closes.is_none() || outcome.closed,
        "open after saying close"
    );
    assert!(
        read.len() <= finals.len() * 2 + 1,
        "too many interim responses"
    );
}

proptest! {
    // `PROPTEST_CASES` says how many inputs; a failure prints the input, which should become a case.
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// For any input, the output is a sequence of well-formed responses, with nothing after one that says close.
    #[test]
    fn any_input_has_well_formed_responses(bytes in prop_oneof![input(), spoilt()], eof in any::<bool>()) {
        let outcome = serve(&bytes, &[], eof);
        check_always(&outcome);
        prop_assert!(outcome.closed || !eof, "open after the client's end");
    }

    /// The result doesn't depend on where the input is cut.
    #[test]
    fn whole_and_split_input_give_the_same_events(
        bytes in prop_oneof![input(), spoilt()],
        places in vec(any::<Index>(), 0..12),
        eof in any::<bool>(),
    ) {
        let (whole, split) = (serve(&bytes, &[], eof), serve(&bytes, &places, eof));
        prop_assert_eq!(&whole.seen, &split.seen);
        prop_assert_eq!(whole.closed, split.closed);
        let statuses = |outcome| -> Vec<u16> {
            read(outcome).into_iter().map(|response| response.status).collect()
        };
        prop_assert_eq!(statuses(&whole), statuses(&split));
    }

    /// The handler sees exactly what good clients send, in order.
    #[test]
    fn valid_requests_reach_the_handler_unchanged(
        requests in requests(),
        places in vec(any::<Index>(), 0..12),
    ) {
        let bytes: Vec<u8> = requests.iter().flat_map(Request::encode).collect();
        let outcome = serve(&bytes, &places, false);
        check_always(&outcome);
        prop_assert!(!outcome.closed, "closed: {:?}", String::from_utf8_lossy(&outcome.responded));
        let seen = outcome.seen.unwrap_or_default();
        prop_assert_eq!(seen.len(), requests.len());
        for (seen, meant) in seen.iter().zip(&requests) {
            prop_assert_eq!((&seen.method, &seen.target), (&meant.method, &meant.target));
            prop_assert_eq!(&seen.body, &meant.body);
            for (name, _) in &meant.fields {
                let same = |other: &str| other.eq_ignore_ascii_case(name);
                let meant = meant.fields.iter().filter(|(other, _)| same(other));
                let seen = seen.fields.iter().filter(|(other, _)| same(other));
                let meant: Vec<_> = meant.map(|(_, value)| value.as_bytes().to_vec()).collect();
                let seen: Vec<_> = seen.map(|(_, value)| value.clone()).collect();
                prop_assert_eq!(seen, meant);
            }
        }
    }

    /// In any pieces, at any pace of the client, and with any limits: the requests and responses are the same, there
    /// is always a deadline, and no memory is held after the end. The fuzzer runs the same check.
    #[test]
    fn the_invariants_hold_for_any_input_in_any_pieces(
        bytes in prop_oneof![input(), spoilt(), good()],
        choices in vec(any::<u8>(), 0..60),
    ) {
        oracle::connection::check(&Choices::join(&bytes, &choices));
    }

    /// The same with streamed bodies, for any behaviour of the handler. If it collects the body, the responses are the
    /// same as without streams.
    #[test]
    fn streams_keep_the_rules_and_collected_bodies_are_the_same(
        bytes in prop_oneof![input(), spoilt(), good()],
        choices in vec(any::<u8>(), 0..60),
    ) {
        oracle::streaming::check(&Choices::join(&bytes, &choices));
    }

    /// A head gets the same verdict whole and in pieces, and the same as by a simple implementation of the RFC.
    #[test]
    fn heads_are_parsed_as_the_rfc_says(
        bytes in prop_oneof![input(), spoilt()],
        choices in vec(any::<u8>(), 0..8),
    ) {
        oracle::head::check(&Choices::join(&bytes, &choices));
    }

    /// A strict client reads any response of a handler as it was meant.
    #[test]
    fn responses_are_received_as_they_were_made(
        method in select(["GET", "HEAD", "POST"].as_slice()),
        version in 0..=1_u8,
        status in 100..600_u16,
        fields in vec(field(), 0..6),
        body in vec(any::<u8>(), 0..200),
        large in prop_oneof![5 => Just(1_usize), 1 => Just(500)],
    ) {
        let body = body.repeat(large);
        let mut response = Response::builder().status(status);
        for (name, value) in &fields {
            response = response.header(name, value.as_slice());
        }
        let bytes = respond(method, version, response.body(body.clone()).expect("a response"));
        let (response, rest) = responses::read(&bytes, method == "HEAD").map_err(TestCaseError::fail)?;
        prop_assert!(rest.is_empty());
        if status < 200 {
            prop_assert_eq!(response.status, 500);
            return Ok(());
        }
        prop_assert_eq!(response.status, status);
        let bodiless = method == "HEAD" || [204, 205, 304].contains(&status);
        prop_assert_eq!(response.body.as_slice(), if bodiless { b"" } else { body.as_slice() });
        for (name, _) in fields.iter().filter(|(name, _)| name.starts_with("X-")) {
            let same = fields.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
            let meant: Vec<_> = same.map(|(_, value)| value.trim_ascii()).collect();
            let read: Vec<_> = response.values(name).collect();
            prop_assert_eq!(read, meant);
        }
    }
}

/// A field that a handler may set, including those that it should leave to the server.
fn field() -> impl Strategy<Value = (String, Vec<u8>)> {
    let byte = prop_oneof![Just(b'\t'), 0x20..=0x7e_u8, 0x80..=0xff_u8];
    let own = select(
        [
            "Content-Length",
            "Transfer-Encoding",
            "Connection",
            "Trailer",
        ]
        .as_slice(),
    );
    let said = [
        "0",
        "5",
        "x",
        "",
        "chunked",
        "close",
        "keep-alive",
        "close, X-A",
        "gzip, chunked",
    ];
    let said = proptest::sample::select(said.to_vec());
    prop_oneof![
        3 => ("X-[a-zA-Z0-9]{1,5}", vec(byte, 0..20)),
        1 => (own, said).prop_map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())),
    ]
}

/// The bytes that the state machine sends for a response.
fn respond(method: &str, version: u8, response: Response<Vec<u8>>) -> Vec<u8> {
    let (limits, mut shared) = (Limits::default(), Shared::new());
    let mut cx = Context {
        now: Instant::default(),
        limits: &limits,
        shared: &mut shared,
    };
    let mut connection = Connection::new(1, None, &mut cx);
    let request = format!("{method} / HTTP/1.{version}\r\nHost: a\r\n\r\n");
    let mut input = request.as_bytes();
    connection
        .handle_input(&mut cx, &mut input)
        .expect("a request");
    connection.respond(&mut cx, response);
    connection.take_output(&mut cx)
}
