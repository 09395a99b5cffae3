//! Encodes responses (RFC 9112 §4 and §6).
//!
//! The handler's fields are sent unchanged, except those that determine framing and persistence:
//! `Content-Length`, `Transfer-Encoding`, `Trailer` and `Connection` are written by this module. So
//! no handler can produce a response that two recipients frame differently. The types of the `http`
//! crate exclude CR and LF from all other fields.

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode, Version};
use httpdate::parse_http_date;

use super::date::Date;
use super::grammar::{is_token, trim_ows};
use super::head::{elements, has_token};

/// The properties of a request that its response depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RequestInfo {
    /// HEAD: the response has the fields of a response to GET, and no body (RFC 9110 §9.3.2).
    pub(super) is_head: bool,
    /// HTTP/1.0: the response must say if the connection persists (RFC 9112 §9.3).
    pub(super) is_http10: bool,
}

impl RequestInfo {
    pub(super) fn new(method: &Method, version: Version) -> Self {
        Self {
            is_head: method == Method::HEAD,
            is_http10: version < Version::HTTP_11,
        }
    }
}

/// The interim response to `Expect: 100-continue` (RFC 9110 §15.2.1).
pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The parts of a response's head.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResponseHead<'a> {
    pub(super) status: StatusCode,
    /// The handler's fields.
    pub(super) fields: &'a HeaderMap,
    /// How long the handler's body is, also if the body isn't sent (HEAD, 304).
    pub(super) framing: BodyFraming,
    /// Whether a trailer section may follow: then the handler's `Trailer` is sent.
    pub(super) has_trailers: bool,
    pub(super) request_info: RequestInfo,
    /// Whether the connection persists after it.
    pub(super) persists: bool,
}

/// How a client finds the end of a response's body (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFraming {
    /// `Content-Length`: a number of bytes.
    Length(u64),
    /// The chunked transfer coding.
    Chunked,
    /// It ends with the connection: for HTTP/1.0, if the length isn't known.
    UntilClose,
}

impl ResponseHead<'_> {
    /// Appends the head to `out`.
    ///
    /// Inlined, and fields are only handled if there are any, so that the compiler can drop that
    /// code (12 kB of a WASI module) if the handler never sets a field.
    #[inline]
    pub(super) fn write(&self, out: &mut Vec<u8>, date: &Date) {
        if let BodyFraming::Length(length) = self.framing
            && self.is_plain()
        {
            out.extend_from_slice(date.plain_response_start());
            decimal(out, length, b"\r\n\r\n");
            return;
        }
        status_line(out, self.status);
        let has_date = !self.fields.is_empty() && self.write_fields(out);
        if !has_date {
            out.extend_from_slice(date.line());
        }
        if let Some(length) = self.content_length() {
            content_length(out, length);
        } else if self.is_chunked() {
            field(out, b"transfer-encoding", b"chunked");
        }
        self.write_connection(out);
        out.extend_from_slice(b"\r\n");
    }

    /// Appends a head that changes the protocol: 101, or 2xx to CONNECT. It has no field about a body (RFC 9110 §8.6,
    /// RFC 9112 §6.1), and 101 has the connection option `upgrade` (RFC 9110 §7.8).
    pub(super) fn write_switch(&self, out: &mut Vec<u8>, date: &Date) {
        status_line(out, self.status);
        if !self.write_fields(out) {
            out.extend_from_slice(date.line());
        }
        let is_missing = self.status == StatusCode::SWITCHING_PROTOCOLS
            && !has_token(self.fields, &header::CONNECTION, "upgrade");
        merged_connection(out, self.fields, is_missing.then_some(b"upgrade"));
        out.extend_from_slice(b"\r\n");
    }

    /// Whether the head is just 200 with `Date` and `Content-Length`. This is the common case, for
    /// which `Date` holds a prepared text.
    fn is_plain(&self) -> bool {
        self.status == StatusCode::OK
            && self.fields.is_empty()
            && self.persists
            && !self.request_info.is_http10
    }

    /// The value of `Content-Length`; `None` if the field must not be sent.
    pub(super) fn content_length(&self) -> Option<u64> {
        match self.status {
            // 204 must not have the field (RFC 9110 §8.6). For 304 it would have to be the length of
            // the 200 response that was not sent (§15.4.5), which is unknown here.
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => None,
            StatusCode::RESET_CONTENT => Some(0),
            _ => match self.framing {
                // For HEAD, a handler may state the length without producing a body.
                BodyFraming::Length(0) if self.request_info.is_head => {
                    Some(announced_length(self.fields).unwrap_or(0))
                }
                BodyFraming::Length(length) => Some(length),
                BodyFraming::Chunked | BodyFraming::UntilClose => None,
            },
        }
    }

    /// Whether the response says that its body is chunked: not one that never has a body (RFC 9112
    /// §6.1).
    fn is_chunked(&self) -> bool {
        self.framing == BodyFraming::Chunked && !is_bare(self.status)
    }

    /// Writes the handler's fields, except those that this module writes itself. Returns whether a
    /// valid `Date` was among them: the first valid one is written (RFC 9110 §6.6.1).
    fn write_fields(&self, out: &mut Vec<u8>) -> bool {
        let mut has_date = false;
        for (name, value) in self.fields {
            match *name {
                header::CONNECTION | header::CONTENT_LENGTH | header::TRANSFER_ENCODING => {}
                header::TRAILER if !self.has_trailers => {}
                header::DATE => {
                    if !has_date && is_date(value) {
                        has_date = true;
                        field(out, b"date", value.as_bytes());
                    }
                }
                _ => field(out, name.as_str().as_bytes(), value.as_bytes()),
            }
        }
        has_date
    }

    /// Writes `Connection` if needed: the handler's own options, and `close` or `keep-alive` where
    /// that isn't the default of the client's version (RFC 9112 §9.3).
    fn write_connection(&self, out: &mut Vec<u8>) {
        let own = match (self.persists, self.request_info.is_http10) {
            (false, _) => Some(&b"close"[..]),
            (true, true) => Some(&b"keep-alive"[..]),
            (true, false) => None,
        };
        if !self.fields.is_empty() && self.fields.contains_key(header::CONNECTION) {
            merged_connection(out, self.fields, own);
        } else if let Some(own) = own {
            field(out, b"connection", own);
        }
    }
}

/// Writes a complete response that refuses a request, with `Connection: close`. `why` is its text body;
/// with `None` it has no body, whatever the method is.
pub(super) fn refusal(
    out: &mut Vec<u8>,
    status: StatusCode,
    why: Option<&str>,
    is_head: bool,
    date: &Date,
) {
    status_line(out, status);
    if why.is_some() {
        field(out, b"content-type", b"text/plain; charset=utf-8");
    }
    out.extend_from_slice(date.line());
    content_length(out, why.map_or(0, |why| why.len() as u64 + 1));
    out.extend_from_slice(b"connection: close\r\n\r\n");
    if let Some(why) = why
        && !is_head
    {
        out.extend_from_slice(why.as_bytes());
        out.push(b'\n');
    }
}

/// Why a handler can't respond with this interim status; for the log.
pub(super) fn why_not_final(status: StatusCode) -> &'static str {
    match status {
        StatusCode::SWITCHING_PROTOCOLS => "only `serve_async` can upgrade a connection",
        _ => "not a final status",
    }
}

/// Whether a body follows the head of the response (RFC 9110 §6.4.1). `is_head`: the method of the request is HEAD.
pub(crate) fn has_body(status: StatusCode, is_head: bool) -> bool {
    !is_bare(status) && !is_head
}

/// Whether responses with this status never have a body.
fn is_bare(status: StatusCode) -> bool {
    status.is_informational()
        || matches!(
            status,
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
        )
}

/// The handler's own `Content-Length`, if it is valid.
pub(crate) fn announced_length(fields: &HeaderMap) -> Option<u64> {
    let digits = trim_ows(fields.get(header::CONTENT_LENGTH)?.as_bytes());
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Whether a handler's `Date` is valid.
pub(super) fn is_date(value: &HeaderValue) -> bool {
    let text = value.to_str();
    text.is_ok_and(|text| parse_http_date(text).is_ok())
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
    // Not `as_str`: its table of all numbers would make a module 2.7 kB larger.
    decimal(out, u64::from(status.as_u16()), b" ");
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Writes the line before a chunk of `length` bytes (RFC 9112 §7.1).
pub(super) fn chunk_size(out: &mut Vec<u8>, length: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut shift = usize::BITS - (length | 1).leading_zeros().min(usize::BITS - 1);
    shift = shift.div_ceil(4) * 4;
    while shift > 0 {
        shift -= 4;
        out.push(DIGITS[length >> shift & 0xf]);
    }
    out.extend_from_slice(b"\r\n");
}

pub(super) fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    // By the byte: to append a slice takes longer in a module, where each one is a call.
    out.push(b':');
    out.push(b' ');
    out.extend_from_slice(value);
    out.push(b'\r');
    out.push(b'\n');
}

fn content_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"content-length: ");
    decimal(out, length, b"\r\n");
}

/// Writes `number` in decimal, followed by `end`.
pub(crate) fn decimal<const N: usize>(out: &mut Vec<u8>, number: u64, end: &[u8; N]) {
    // By hand: `write!` would take a tenth of the time of a small response.
    let mut text = [0; 24];
    let mut start = text.len() - N;
    text[start..].copy_from_slice(end);
    let mut rest = number;
    loop {
        start -= 1;
        text[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&text[start..]);
}

/// Writes `Connection` with the handler's options and the connection's own.
fn merged_connection(out: &mut Vec<u8>, fields: &HeaderMap, own: Option<&[u8]>) {
    let is_own = |option: &[u8]| {
        option.eq_ignore_ascii_case(b"close") || option.eq_ignore_ascii_case(b"keep-alive")
    };
    let options = elements(fields, &header::CONNECTION);
    // Proxies remove the fields that `Connection` names (RFC 9110 §7.6.1): a handler must not name
    // those that every response needs.
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

/// Whether the handler's fields ask to close the connection.
pub(super) fn asks_to_close(fields: &HeaderMap) -> bool {
    // Checked first: a look-up in an empty map would take a tenth of the time of a small response.
    !fields.is_empty() && has_token(fields, &header::CONNECTION, "close")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;
    use http::Response;
    use std::time::{Duration, UNIX_EPOCH};

    const GET: RequestInfo = RequestInfo {
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
        body_length: u64,
        request_info: RequestInfo,
        persists: bool,
    ) -> (String, bool) {
        let response = response.body(()).expect("a response");
        let (status, fields) = (response.status(), response.headers());
        let mut out = Vec::new();
        let head = ResponseHead {
            status,
            fields,
            framing: BodyFraming::Length(body_length),
            has_trailers: false,
            request_info,
            persists,
        };
        head.write(&mut out, &date());
        let follows = has_body(status, request_info.is_head);
        (String::from_utf8(out).expect("ASCII"), follows)
    }

    #[test]
    fn a_response_has_one_content_length_and_a_date() {
        let (text, follows) = encoded(Response::builder().header("X-A", "b"), 6, GET, true);
        assert_eq!(
            text,
            "HTTP/1.1 200 OK\r\nx-a: b\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
             content-length: 6\r\n\r\n"
        );
        assert!(follows);
    }

    #[test]
    fn the_handler_cannot_break_framing() {
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
    fn some_responses_have_no_body() {
        let head = RequestInfo {
            is_head: true,
            is_http10: false,
        };
        let (text, follows) = encoded(Response::builder(), 6, head, true);
        assert!(text.contains("content-length: 6\r\n") && !follows, "{text}");
        let response = || Response::builder().header("Content-Length", "42");
        let (text, _) = encoded(response(), 0, head, true);
        assert!(text.contains("content-length: 42\r\n"), "{text}");
        let (text, _) = encoded(Response::builder(), 0, head, true);
        assert!(text.contains("content-length: 0\r\n"), "{text}");
        for status in [204, 304] {
            let (text, follows) = encoded(response().status(status), 6, GET, true);
            assert!(!text.contains("content-length") && !follows, "{text}");
        }
        let (text, follows) = encoded(Response::builder().status(205), 6, GET, true);
        assert!(text.contains("content-length: 0\r\n") && !follows, "{text}");
    }

    #[test]
    fn a_response_to_http_1_0_says_if_the_connection_persists() {
        let http10 = RequestInfo {
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
    fn status_lines_have_the_number_and_its_reason() {
        for number in 100..=999 {
            let status = StatusCode::from_u16(number).expect("a status");
            let reason = status.canonical_reason().unwrap_or_default();
            let mut out = Vec::new();
            status_line(&mut out, status);
            let expected = format!("HTTP/1.1 {number} {reason}\r\n");
            assert_eq!(out, expected.as_bytes());
        }
    }

    #[test]
    fn a_refusal_has_its_text_as_body_if_the_method_allows_one() {
        let encoded = |why, is_head| {
            let mut out = Vec::new();
            refusal(&mut out, StatusCode::BAD_REQUEST, why, is_head, &date());
            String::from_utf8(out).expect("ASCII")
        };
        let text = encoded(Some("Host is missing"), false);
        assert!(text.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{text}");
        assert!(text.ends_with("content-length: 16\r\nconnection: close\r\n\r\nHost is missing\n"));
        let text = encoded(Some("Host is missing"), true);
        assert!(text.ends_with("content-length: 16\r\nconnection: close\r\n\r\n"));
        for is_head in [false, true] {
            let text = encoded(None, is_head);
            assert!(text.ends_with("content-length: 0\r\nconnection: close\r\n\r\n"));
            assert!(!text.contains("content-type"), "{text}");
        }
    }
}
