//! Checks the parsing of heads: the two parsers (`httparse` for whole heads, the check of lines for pieces) must agree
//! with each other, and with a simple implementation of the RFC.

use super::choices::Choices;
use super::request::{Read, read_head};
use crate::common::responses;
use mini_http::conn::state::Reading;
use mini_http::conn::{Connection, Context, Shared};
use mini_http::{Instant, Limits, Request};

/// The result of parsing some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// The head is valid. The request, if it has no body.
    Accepted(Option<String>),
    /// The status and the text.
    Refused(u16, String),
    Waiting,
}

impl Outcome {
    /// Without the text of a refusal, which may depend on where the input was cut. Everything else may not.
    fn judged(&self) -> Self {
        match self {
            Self::Refused(status, _) => Self::Refused(*status, String::new()),
            Self::Accepted(_) | Self::Waiting => self.clone(),
        }
    }
}

pub(crate) fn check(data: &[u8]) {
    let (bytes, mut choices) = Choices::split(data);
    let mut limits = Limits::default();
    limits.max_request_line = choices.one_of(&[8 << 10, 16, 40]);
    limits.max_head = choices.one_of(&[64 << 10, 40, 100]);
    limits.max_fields = choices.one_of(&[100, 1, 3]);
    limits.max_body = choices.one_of(&[16 << 20, 0, 9]);

    let expected = read_head(bytes, &limits);
    // The bytes after a valid head are not part of this check.
    let bytes = match &expected {
        Read::Whole(_, length) => &bytes[..*length],
        Read::Refused(_) | Read::Unfinished => bytes,
    };
    // Whole heads are parsed by httparse, heads in pieces line by line.
    let whole = outcome(bytes, &limits, || usize::MAX);
    let bytewise = outcome(bytes, &limits, || 1);
    assert_eq!(whole.judged(), bytewise.judged(), "whole and byte by byte");
    let pieces = outcome(bytes, &limits, || usize::from(choices.next()) + 1);
    assert_eq!(whole.judged(), pieces.judged(), "whole and in pieces");

    match (&expected, &whole) {
        (Read::Whole(head, _), Outcome::Accepted(request)) => {
            assert_eq!(request.is_some(), !head.has_body());
            if let Some(request) = request {
                assert_eq!(*request, head.shown());
            }
        }
        (Read::Whole(head, _), Outcome::Refused(400, why)) => {
            assert!(head.may_be_refused, "{why}: {head:?}");
        }
        (Read::Refused(statuses), Outcome::Refused(status, why)) => {
            assert!(
                statuses.contains(status),
                "{status}, {why}: not {statuses:?}"
            );
        }
        (Read::Unfinished, Outcome::Waiting) => assert!(bytes.len() <= limits.max_head),
        (Read::Unfinished, Outcome::Refused(status, why)) => {
            let becomes_valid = |end: &str| {
                let more = [bytes, end.as_bytes()].concat();
                matches!(&read_head(&more, &limits), Read::Whole(head, _) if !head.may_be_refused)
            };
            if let Some(end) = ENDS.iter().copied().find(|end| becomes_valid(end)) {
                panic!("refused with {status}, {why}, but would be valid with {end:?}");
            }
        }
        (expected, outcome) => panic!("{outcome:?}, not {expected:?}"),
    }
}

/// Endings of heads. They make many incomplete heads valid.
const ENDS: [&str; 9] = [
    "\n",
    "\r\n",
    "\n\r\n",
    "\r\n\r\n",
    ":\r\n\r\n",
    "\r\nHost: a\r\n\r\n",
    "\nHost: a\r\n\r\n",
    " HTTP/1.1\r\nHost: a\r\n\r\n",
    " / HTTP/1.1\r\nHost: a\r\n\r\n",
];

fn outcome(bytes: &[u8], limits: &Limits, mut piece: impl FnMut() -> usize) -> Outcome {
    let mut shared = Shared::new();
    let mut cx = Context {
        now: Instant::default(),
        limits,
        shared: &mut shared,
    };
    let mut connection = Connection::new(1, None, &mut cx);
    let mut left = bytes;
    while !left.is_empty() {
        let (mut piece, behind) = left.split_at(piece().min(left.len()));
        left = behind;
        if let Some(request) = connection.handle_input(&mut cx, &mut piece) {
            return Outcome::Accepted(Some(shown(&request)));
        }
        match connection.state().reading() {
            Reading::Idle | Reading::Head => {}
            Reading::Body(()) => return Outcome::Accepted(None),
            Reading::Discarding => {
                let output = connection.take_output(&mut cx);
                let is_to_head = output.ends_with(b"\r\n\r\n");
                let (response, rest) = responses::read(&output, is_to_head).expect("a response");
                assert!(rest.is_empty() && response.says_close());
                let why = String::from_utf8(response.body).expect("words");
                // The library's text where no rule explains why `httparse` fails.
                assert_ne!(why, "the head can't be parsed\n");
                return Outcome::Refused(response.status, why);
            }
            Reading::ProxyHeader
            | Reading::Streaming
            | Reading::Responding
            | Reading::Upgraded
            | Reading::Ended => {
                panic!("{:?}", connection.state())
            }
        }
    }
    Outcome::Waiting
}

/// A request as [`Head::shown`](super::request::Head::shown) writes it.
fn shown(request: &Request) -> String {
    let fields = request.headers().iter();
    let fields = fields.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
    let is_http10 = request.version() == mini_http::version::Version::HTTP_10;
    super::request::show(
        request.method().as_str(),
        &request.uri().to_string(),
        is_http10,
        fields.collect(),
    )
}
