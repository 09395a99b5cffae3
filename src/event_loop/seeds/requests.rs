//! The requests of clients, and what handlers do with them.

use std::sync::LazyLock;
use std::time::Duration;

use wasip1_poll::fake::Rng;

use super::streams::Script;
use crate::conn::CloseReason;

/// A request of one client, with what it must get.
#[derive(Debug)]
pub(super) struct Planned {
    /// No two requests of a world have the same number. The response repeats it.
    pub(super) number: u64,
    pub(super) wire: Vec<u8>,
    pub(super) body: Vec<u8>,
    pub(super) is_head: bool,
    pub(super) status: u16,
    pub(super) response: Vec<u8>,
    pub(super) act: Act,
    /// Why the connection ends after it.
    pub(super) last: Option<CloseReason>,
    /// Where handlers are futures: what this one does.
    pub(super) script: Option<Script>,
    /// The client doesn't send the body before `100 Continue`, or before it has waited long enough.
    pub(super) held_back: Option<HeldBack>,
}

/// A body that a client holds back.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeldBack {
    /// The length of the head.
    pub(super) head: usize,
    /// How long the client waits.
    pub(super) patience: Duration,
}

/// What the handler does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Respond,
    RespondAndClose,
    Panic,
    Stop,
    /// The handler isn't called: the request is refused.
    Nothing,
}

impl Planned {
    pub(super) fn random(rng: &mut Rng, number: u64, max_body: u64) -> Self {
        let small = rng.below(60) as usize;
        let large = rng.pick(&[20_000, 70_000, 150_000, 400_000]);
        let body = pattern(number, rng.pick(&[0, 1, 10, 300, 5_000, 40_000]));
        match rng.below(100) {
            0..42 => Self::get(number, small),
            42..50 => Self::get(number, large),
            50..65 => {
                let expect = rng.pick(&["", "", "", "Expect: 100-continue\r\n"]);
                let length = body.len();
                let fields = format!("{expect}Content-Length: {length}\r\n");
                let coded = body.clone();
                Self::post(number, &fields, body, &coded)
            }
            65..80 => {
                let coded = chunked(rng, &body);
                Self::post(number, "Transfer-Encoding: chunked\r\n", body, &coded)
            }
            80..84 => Self {
                is_head: true,
                wire: head("HEAD", number, "HTTP/1.1", ""),
                ..Self::get(number, small)
            },
            84..88 => Self {
                wire: head("GET", number, "HTTP/1.1", "Connection: close\r\n"),
                last: Some(CloseReason::ClientAskedClose),
                ..Self::get(number, small)
            },
            88..90 => Self {
                wire: head("GET", number, "HTTP/1.0", ""),
                last: Some(CloseReason::Http10),
                ..Self::get(number, large)
            },
            90..93 => Self {
                act: Act::RespondAndClose,
                last: Some(CloseReason::HandlerAskedClose),
                ..Self::get(number, large)
            },
            93..95 => Self {
                act: Act::Panic,
                status: 500,
                last: Some(CloseReason::HandlerFailed),
                ..Self::get(number, 0)
            },
            _ => Self::faulty(rng, number, max_body),
        }
    }

    /// The request whose handler stops the server.
    pub(super) fn stop(number: u64) -> Self {
        Self {
            act: Act::Stop,
            last: Some(CloseReason::Stopped),
            ..Self::get(number, 5)
        }
    }

    pub(super) fn get(number: u64, length: usize) -> Self {
        Self {
            number,
            wire: head("GET", number, "HTTP/1.1", ""),
            body: Vec::new(),
            is_head: false,
            status: 200,
            response: pattern(number, length),
            act: Act::Respond,
            last: None,
            script: None,
            held_back: None,
        }
    }

    /// Whether the handler is never to see it.
    pub(super) fn is_refused(&self) -> bool {
        self.act == Act::Nothing
    }

    /// Whether the response may have a body.
    pub(super) fn may_have_body(&self) -> bool {
        !self.is_head && !matches!(self.status, 204 | 205 | 304)
    }

    /// Whether it asks for `100 Continue`.
    pub(super) fn asks(&self) -> bool {
        let mut bytes = self.wire.windows(7);
        self.wire.starts_with(b"POST") && bytes.any(|bytes| bytes == b"Expect:")
    }

    /// Whether the length of its body is announced.
    pub(super) fn has_length(&self) -> bool {
        let mut bytes = self.wire.windows(15);
        bytes.any(|bytes| bytes == b"Content-Length:")
    }

    /// What an asynchronous handler does with it.
    pub(super) fn script(&self) -> &Script {
        self.script.as_ref().expect("a world with futures")
    }

    fn post(number: u64, fields: &str, body: Vec<u8>, coded: &[u8]) -> Self {
        let mut wire = head("POST", number, "HTTP/1.1", fields);
        wire.extend_from_slice(coded);
        Self {
            wire,
            response: body.clone(),
            body,
            ..Self::get(number, 0)
        }
    }

    fn faulty(rng: &mut Rng, number: u64, max_body: u64) -> Self {
        let both = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n";
        let huge = format!("Content-Length: {}\r\n", max_body + 1);
        let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(9_000));
        let mut bad_chunk = head("POST", number, "HTTP/1.1", "Transfer-Encoding: chunked\r\n");
        bad_chunk.extend_from_slice(b"3\r\nabc\r\nzz\r\n");
        let (wire, status, why) = match rng.below(7) {
            0 => (
                b"\x16\x03\x01\x02\x00\x01".to_vec(),
                400,
                CloseReason::BadRequest,
            ),
            1 => (
                b"GET / HTTP/1.1\r\n\r\n".to_vec(),
                400,
                CloseReason::BadRequest,
            ),
            2 => (
                head("POST", number, "HTTP/1.1", both),
                400,
                CloseReason::BadRequest,
            ),
            3 => (bad_chunk, 400, CloseReason::BadRequest),
            4 => (
                head("POST", number, "HTTP/1.1", &huge),
                413,
                CloseReason::TooLarge,
            ),
            5 => (long.into_bytes(), 414, CloseReason::TooLarge),
            _ => (
                head("GET", number, "HTTP/3.0", ""),
                505,
                CloseReason::BadRequest,
            ),
        };
        Self {
            wire,
            status,
            act: Act::Nothing,
            last: Some(why),
            ..Self::get(number, 0)
        }
    }
}

pub(super) fn head(method: &str, number: u64, version: &str, fields: &str) -> Vec<u8> {
    format!("{method} /{number} {version}\r\nHost: h\r\n{fields}\r\n").into_bytes()
}

pub(super) fn chunked(rng: &mut Rng, body: &[u8]) -> Vec<u8> {
    let mut coded = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(1 + rng.below(rest.len() as u64) as usize);
        coded.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        coded.extend_from_slice(chunk);
        coded.extend_from_slice(b"\r\n");
        rest = after;
    }
    coded.extend_from_slice(b"0\r\n\r\n");
    coded
}

/// The bytes of a body: a part of one long sequence, which begins at another index for each request. So two bodies
/// differ, and so do two parts of one body.
pub(super) fn pattern(number: u64, length: usize) -> Vec<u8> {
    const PLACES: usize = 4_099;
    static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut rng = Rng::new(0);
        let all = 0..PLACES + 400_000;
        all.map(|_| rng.next_u64() as u8).collect()
    });
    let from = number as usize * 31 % PLACES;
    BYTES[from..from + length].to_vec()
}
