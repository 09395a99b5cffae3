//! Answers as bytes (RFC 9112 §4 and §6).
//!
//! The handler's fields are sent as they are, but for those that say where the answer ends or
//! whether the connection persists: `Content-Length`, `Transfer-Encoding`, `Trailer` and
//! `Connection` are this module's, so that no handler can make an answer that two clients read
//! differently. `http`'s types keep CR and LF out of everything else.

use http::header::{self, HeaderMap};
use http::{Method, StatusCode, Version};
use httpdate::parse_http_date;

use super::grammar::{is_token, trim_ows};
use super::head::has_token;
use super::shared::Date;

/// What an answer must know of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exchange {
    /// HEAD: the answer has the fields of a GET's and no body (RFC 9110 §9.3.2).
    pub(super) is_head: bool,
    /// The client speaks HTTP/1.0, and wants to be told if the connection persists.
    pub(super) is_http10: bool,
}

impl Exchange {
    pub(super) fn new(method: &Method, version: Version) -> Self {
        Self {
            is_head: method == Method::HEAD,
            is_http10: version < Version::HTTP_11,
        }
    }
}

/// The interim answer to `Expect: 100-continue` (RFC 9110 §15.2.1).
pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Writes the head of an answer.
pub(super) fn response_head(
    out: &mut Vec<u8>,
    status: StatusCode,
    fields: &HeaderMap,
    body_length: usize,
    exchange: Exchange,
    persists: bool,
    date: &Date,
) {
    let length = match status {
        // Not even a length of 0: 204 must not have one (RFC 9110 §8.6), and a 304's would have to
        // be that of the 200 it stands for (§15.4.5).
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => None,
        StatusCode::RESET_CONTENT => Some(0),
        // A handler may know the length that a GET's answer would have without making it.
        _ if exchange.is_head && body_length == 0 => Some(announced_length(fields).unwrap_or(0)),
        _ => Some(body_length as u64),
    };

    if let Some(length) = length
        && status == StatusCode::OK
        && fields.is_empty()
        && persists
        && !exchange.is_http10
    {
        out.extend_from_slice(date.plain_answer());
        decimal(out, length, b"\r\n\r\n");
        return;
    }
    status_line(out, status);
    let (mut has_date, mut has_connection) = (false, false);
    for (name, value) in fields {
        match *name {
            header::CONNECTION => has_connection = true,
            header::CONTENT_LENGTH | header::TRANSFER_ENCODING | header::TRAILER => {}
            header::DATE => {
                // Once, and only if it is one (RFC 9110 §6.6.1).
                let is_date = value
                    .to_str()
                    .is_ok_and(|text| parse_http_date(text).is_ok());
                if is_date && !has_date {
                    has_date = true;
                    field(out, b"date", value.as_bytes());
                }
            }
            _ => field(out, name.as_str().as_bytes(), value.as_bytes()),
        }
    }
    if !has_date {
        out.extend_from_slice(date.line());
    }
    if let Some(length) = length {
        content_length(out, length);
    }
    if !persists || exchange.is_http10 || has_connection {
        let own = match (persists, exchange.is_http10) {
            (false, _) => Some(&b"close"[..]),
            (true, true) => Some(&b"keep-alive"[..]),
            (true, false) => None,
        };
        match own {
            Some(own) if !has_connection => field(out, b"connection", own),
            Some(_) | None => merged_connection(out, fields, own),
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes a whole answer that says in words why the request is refused, and that the connection
/// closes.
pub(super) fn refusal(
    out: &mut Vec<u8>,
    status: StatusCode,
    why: &str,
    is_head: bool,
    date: &Date,
) {
    status_line(out, status);
    field(out, b"content-type", b"text/plain; charset=utf-8");
    out.extend_from_slice(date.line());
    content_length(out, why.len() as u64 + 1);
    out.extend_from_slice(b"connection: close\r\n\r\n");
    if !is_head {
        out.extend_from_slice(why.as_bytes());
        out.push(b'\n');
    }
}

/// Why a handler's response can't have this interim status, for the log.
pub(super) fn why_not_final(status: StatusCode) -> &'static str {
    match status {
        StatusCode::SWITCHING_PROTOCOLS => "this server doesn't support upgrades",
        _ => "not a final status",
    }
}

/// Whether a body follows the head of an answer (RFC 9110 §6.4.1).
pub(super) fn has_body(status: StatusCode, exchange: Exchange) -> bool {
    let is_bare = matches!(
        status,
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
    );
    !is_bare && !exchange.is_head
}

fn announced_length(fields: &HeaderMap) -> Option<u64> {
    let digits = trim_ows(fields.get(header::CONTENT_LENGTH)?.as_bytes());
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn status_line(out: &mut Vec<u8>, status: StatusCode) {
    if status == StatusCode::OK {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    other_status_line(out, status);
}

fn other_status_line(out: &mut Vec<u8>, status: StatusCode) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn content_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"content-length: ");
    decimal(out, length, b"\r\n");
}

/// Writes a number, and what follows it.
fn decimal<const N: usize>(out: &mut Vec<u8>, number: u64, end: &[u8; N]) {
    // By hand, because formatting costs a tenth of a small answer.
    let mut digits = [0; 20];
    let mut start = digits.len();
    let mut rest = number;
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
    out.extend_from_slice(end);
}

/// `Connection`: what the handler lists there besides the connection's own options, and whether
/// the connection persists where the client could not know (RFC 9112 §9.3).
fn merged_connection(out: &mut Vec<u8>, fields: &HeaderMap, own: Option<&[u8]>) {
    let is_own = |option: &[u8]| {
        option.eq_ignore_ascii_case(b"close") || option.eq_ignore_ascii_case(b"keep-alive")
    };
    let lines = fields.get_all(header::CONNECTION).iter();
    let options = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b',').map(trim_ows));
    // A field that an option names is taken out by proxies: not those that every answer has.
    let is_needed = |option: &[u8]| {
        let needed = ["content-length", "transfer-encoding", "date", "connection"];
        needed
            .iter()
            .any(|name| option.eq_ignore_ascii_case(name.as_bytes()))
    };
    let others = options.filter(|option| is_token(option) && !is_own(option) && !is_needed(option));
    let all: Vec<&[u8]> = others.chain(own).collect();
    if !all.is_empty() {
        field(out, b"connection", &all.join(&b", "[..]));
    }
}

/// Whether a handler's answer asks to close the connection.
pub(super) fn asks_to_close(fields: &HeaderMap) -> bool {
    // Looking up a name costs a tenth of a small answer, even where there are none.
    !fields.is_empty()
        && fields.contains_key(header::CONNECTION)
        && has_token(fields, &header::CONNECTION, "close")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;
    use http::Response;
    use std::time::{Duration, UNIX_EPOCH};

    const GET: Exchange = Exchange {
        is_head: false,
        is_http10: false,
    };

    fn date() -> Date {
        let mut date = Date::default();
        let wall_clock = UNIX_EPOCH + Duration::from_secs(784_111_777);
        date.set(Instant::default(), wall_clock);
        date
    }

    fn encoded(
        response: http::response::Builder,
        body_length: usize,
        exchange: Exchange,
        persists: bool,
    ) -> (String, bool) {
        let response = response.body(()).expect("a response");
        let (status, fields) = (response.status(), response.headers());
        let mut out = Vec::new();
        response_head(
            &mut out,
            status,
            fields,
            body_length,
            exchange,
            persists,
            &date(),
        );
        let follows = has_body(status, exchange);
        (String::from_utf8(out).expect("ASCII"), follows)
    }

    #[test]
    fn an_answer_has_one_length_and_a_date() {
        let (text, follows) = encoded(Response::builder().header("X-A", "b"), 6, GET, true);
        assert_eq!(
            text,
            "HTTP/1.1 200 OK\r\nx-a: b\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
             content-length: 6\r\n\r\n"
        );
        assert!(follows);
    }

    #[test]
    fn the_handler_can_not_break_framing() {
        let response = Response::builder()
            .header("Content-Length", "99")
            .header("Content-Length", "98")
            .header("Transfer-Encoding", "chunked")
            .header("Connection", "keep-alive, upgrade, content-length, a b")
            .header("Date", "mine")
            .header("Date", "Sun, 06 Nov 1994 08:49:38 GMT")
            .header("Date", "Sun, 06 Nov 1994 08:49:39 GMT");
        let (text, _) = encoded(response, 6, GET, false);
        let expected = "HTTP/1.1 200 OK\r\ndate: Sun, 06 Nov 1994 08:49:38 GMT\r\ncontent-length: 6\r\n\
                        connection: upgrade, close\r\n\r\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn some_answers_have_no_body() {
        let head = Exchange {
            is_head: true,
            is_http10: false,
        };
        let (text, follows) = encoded(Response::builder(), 6, head, true);
        assert!(text.contains("content-length: 6\r\n") && !follows, "{text}");
        let response = || Response::builder().header("Content-Length", "42");
        let (text, _) = encoded(response(), 0, head, true);
        assert!(text.contains("content-length: 42\r\n"), "{text}");
        for status in [204, 304] {
            let (text, follows) = encoded(response().status(status), 6, GET, true);
            assert!(!text.contains("content-length") && !follows, "{text}");
        }
        let (text, follows) = encoded(Response::builder().status(205), 6, GET, true);
        assert!(text.contains("content-length: 0\r\n") && !follows, "{text}");
    }

    #[test]
    fn a_1_0_client_is_told_that_the_connection_persists() {
        let http10 = Exchange {
            is_head: false,
            is_http10: true,
        };
        assert!(
            encoded(Response::builder(), 0, http10, true)
                .0
                .contains("connection: keep-alive")
        );
        assert!(
            encoded(Response::builder(), 0, http10, false)
                .0
                .contains("connection: close")
        );
        assert!(
            !encoded(Response::builder(), 0, GET, true)
                .0
                .contains("connection")
        );
    }

    #[test]
    fn a_refusal_says_why() {
        let mut out = Vec::new();
        refusal(
            &mut out,
            StatusCode::BAD_REQUEST,
            "Host is missing",
            false,
            &date(),
        );
        let text = String::from_utf8(out).expect("ASCII");
        assert!(text.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{text}");
        assert!(text.ends_with("content-length: 16\r\nconnection: close\r\n\r\nHost is missing\n"));
    }
}
