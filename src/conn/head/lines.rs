//! Checks a head line by line, if it arrives in pieces or is malformed (RFC 9112 §2.2, §3 and §5).
//!
//! A line is checked once its CRLF has arrived. A control character is refused at once, because no
//! line may contain one. So the result depends on the lines, not on the pieces they arrive in, and a
//! client of a binary protocol is refused at its first bytes.

use std::ops::Range;

use crate::conn::field_lines::{bare_cr, bare_lf};
use crate::conn::grammar::{FIELD_VALUE, TOKEN, VISIBLE};
use crate::conn::refusal::Refusal;
use crate::limits::Limits;

/// The most empty lines accepted before a request line: some clients send one or two after a body
/// (RFC 9112 §2.2).
pub(super) const MAX_EMPTY_LINES: usize = 2;

/// How far the head at the front of a connection's input has been checked. Each byte is read once to
/// find the end of its line, and once when the line is checked.
#[derive(Clone, Debug, Default)]
pub(in crate::conn) struct HeadLines {
    /// Bytes of the input that have been scanned.
    scanned: usize,
    /// The start of the first line that is not checked yet.
    line: usize,
    /// Up to this index that line has no control character.
    clean: usize,
    empty_lines: usize,
    /// The range of the request line, once it is checked.
    request_line: Option<Range<usize>>,
    fields: usize,
}

/// The result of checking the input so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::conn) enum Checked {
    /// Valid so far, and incomplete.
    NeedInput,
    /// The head is complete and grammatical.
    Whole {
        /// The range of the request line, with which the head begins.
        request_line: Range<usize>,
        /// The end of the head.
        end: usize,
    },
}

impl HeadLines {
    /// Bytes of the input that have been scanned. After a fault they end with the byte at fault.
    pub(in crate::conn) fn scanned(&self) -> usize {
        self.scanned
    }

    /// Whether the request line has begun; empty lines may precede it.
    pub(in crate::conn) fn has_begun(&self, input: &[u8]) -> bool {
        self.request_line.is_some() || input.get(self.line).is_some_and(|&byte| byte != b'\r')
    }

    /// Whether the method is known to be HEAD: then the response has no body, even if it is a
    /// refusal.
    pub(in crate::conn) fn is_head_request(&self, input: &[u8]) -> bool {
        self.request_line(input).starts_with(HEAD)
    }

    /// Whether so little of the request line has arrived that the method may become HEAD.
    pub(in crate::conn) fn may_become_head_request(&self, input: &[u8]) -> bool {
        let line = self.request_line(input);
        // A CR may be half of an empty line.
        line == b"\r" || line.len() < HEAD.len() && HEAD.starts_with(line)
    }

    /// What has arrived from the request line on.
    fn request_line<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        let line = self.request_line.as_ref();
        let start = line.map_or(self.line, |line| line.start);
        input.get(start..).unwrap_or_default()
    }

    /// Checks the complete lines of `input`, which is everything received of the head so far. Call it
    /// again with more.
    pub(in crate::conn) fn check(
        &mut self,
        input: &[u8],
        limits: &Limits,
    ) -> Result<Checked, Refusal> {
        let checked = self.check_lines(input, limits);
        self.scanned = match &checked {
            Ok(Checked::NeedInput) => input.len(),
            Ok(Checked::Whole { end, .. }) => *end,
            Err((at, _)) => (at + 1).min(input.len()),
        };
        checked.map_err(|(_, fault)| fault)
    }

    fn check_lines(&mut self, input: &[u8], limits: &Limits) -> Result<Checked, (usize, Refusal)> {
        while let Some(end) = self.line_end(input, limits)? {
            let line = self.line..end;
            self.line = end + CRLF.len();
            self.clean = self.line;
            match (&self.request_line, line.is_empty()) {
                (None, true) => self.empty_lines += 1,
                (None, false) => self.request_line = Some(line),
                (Some(_), false) => {
                    self.fields += 1;
                    if self.fields > limits.max_fields {
                        let refusal = Refusal::headers_too_large("there are too many fields");
                        return Err((line.start, refusal));
                    }
                }
                (Some(request_line), true) => {
                    return Ok(Checked::Whole {
                        request_line: request_line.clone(),
                        end: self.line,
                    });
                }
            }
        }
        Ok(Checked::NeedInput)
    }

    /// The index of the current line's CRLF; `None` if it has not arrived. Errors carry the index of
    /// the byte at fault.
    fn line_end(
        &mut self,
        input: &[u8],
        limits: &Limits,
    ) -> Result<Option<usize>, (usize, Refusal)> {
        let bytes = &input[..input.len().min(limits.max_head)];
        let is_control = |&byte: &u8| byte.is_ascii_control() && byte != b'\t';
        let ahead = bytes[self.clean..].iter().position(is_control);
        self.clean = ahead.map_or(bytes.len(), |ahead| self.clean + ahead);
        let (start, end) = (self.line, self.clean);
        let most = start + limits.max_request_line;
        if self.request_line.is_none() && end > most {
            return Err(self.over_limit(&bytes[start..most], Refusal::uri_too_long()));
        }
        let line = &bytes[start..end];
        match &bytes[end..] {
            [b'\r', ..] if line.is_empty() && self.has_enough_empty_lines() => {
                Err((end, Refusal::malformed("too many empty lines")))
            }
            [] | [b'\r'] if input.len() > limits.max_head => {
                let refusal =
                    Refusal::headers_too_large("the head is larger than this server accepts");
                Err(self.over_limit(line, refusal))
            }
            [] | [b'\r'] => Ok(None),
            [b'\r', b'\n', ..] if line.is_empty() => Ok(Some(end)),
            [b'\r', _, ..] if line.is_empty() => Err((end + 1, bare_cr())),
            [b'\r', next, ..] => match self.check_line(line, b'\r') {
                Ok(()) if *next == b'\n' => Ok(Some(end)),
                Ok(()) => Err((end + 1, bare_cr())),
                Err((at, refusal)) => Err((start + at, refusal)),
            },
            [control, ..] => match self.check_line(line, *control) {
                Ok(()) => Err((end, Refusal::malformed("a line has a control character"))),
                Err((at, refusal)) => Err((start + at, refusal)),
            },
        }
    }

    /// The refusal of a head that exceeds a limit, of which `line` is within the limit. A fault within
    /// `line` comes first.
    fn over_limit(&self, line: &[u8], refusal: Refusal) -> (usize, Refusal) {
        match self.check_line(line, b'\r') {
            Err((at, refusal)) if at < line.len() => (self.line + at, refusal),
            Ok(()) | Err(_) => (self.line + line.len(), refusal),
        }
    }

    /// Whether no further empty line is accepted before the request line.
    fn has_enough_empty_lines(&self) -> bool {
        self.request_line.is_none() && self.empty_lines == MAX_EMPTY_LINES
    }

    /// Checks a line followed by `next`: CR if the line is complete, otherwise a control character.
    fn check_line(&self, line: &[u8], next: u8) -> Result<(), (usize, Refusal)> {
        match self.request_line {
            None => check_request_line(line, next),
            Some(_) => check_field_line(line, next),
        }
    }
}

const CRLF: &[u8] = b"\r\n";

/// The method and the space that ends it. Methods are case-sensitive (RFC 9110 §9.1).
const HEAD: &[u8] = b"HEAD ";

/// Checks `method SP request-target SP HTTP-version` (RFC 9112 §3). Errors carry the index of the byte
/// at fault in the line.
fn check_request_line(line: &[u8], next: u8) -> Result<(), (usize, Refusal)> {
    let byte_at = |at: usize| line.get(at).copied().unwrap_or(next);
    let malformed = |at, why| Err((at, Refusal::malformed(why)));

    let method = allowed(line, |byte| TOKEN.contains(byte));
    match (method, byte_at(method)) {
        (0, b'\n') => return Err((0, bare_lf())),
        (1.., b' ') => {}
        _ => return malformed(method, "the method is not a token"),
    }
    let target = method + 1;
    let target_end = target + allowed(&line[target..], |byte| VISIBLE.contains(byte));
    match byte_at(target_end) {
        _ if target_end == target => return malformed(target, "the request target is missing"),
        b' ' => {}
        b'\r' | b'\n' => return malformed(target_end, "the request line has no version"),
        _ => return malformed(target_end, "the request target has a forbidden byte"),
    }
    let version = target_end + 1;
    // The form `HTTP/d.d`.
    let is_valid = |at: usize| match (at, byte_at(version + at)) {
        (0..=4, byte) => byte == b"HTTP/"[at],
        (6, byte) => byte == b'.',
        (_, byte) => byte.is_ascii_digit(),
    };
    if let Some(at) = (0..8).find(|&at| !is_valid(at)) {
        return malformed(version + at, MALFORMED_VERSION);
    }
    let end = version + 8;
    match (line[version + 5], byte_at(end)) {
        (b'1', b'\r') => Ok(()),
        (_, b'\r') => Err((end, Refusal::version())),
        (_, b'\n') => Err((end, bare_lf())),
        _ => malformed(end, MALFORMED_VERSION),
    }
}

const MALFORMED_VERSION: &str = "the version is not HTTP/1.1 or HTTP/1.0";

/// Checks `field-name ":" OWS field-value OWS` (RFC 9112 §5). No whitespace is allowed before the colon
/// or at the start of a line. Errors carry the index of the byte at fault in the line.
fn check_field_line(line: &[u8], next: u8) -> Result<(), (usize, Refusal)> {
    let byte_at = |at: usize| line.get(at).copied().unwrap_or(next);
    let malformed = |at, why| Err((at, Refusal::malformed(why)));

    let name = allowed(line, |byte| TOKEN.contains(byte));
    match (name, byte_at(name)) {
        (0, b' ' | b'\t') => return malformed(0, "a line begins with whitespace (obs-fold)"),
        (0, b':') => return malformed(0, "a field name is empty"),
        (0, b'\n') => return Err((0, bare_lf())),
        (1.., b':') => {}
        (1.., b' ' | b'\t') => return malformed(name, "whitespace stands before a field's colon"),
        (1.., b'\r' | b'\n') => return malformed(name, "a field line has no colon"),
        _ => return malformed(name, "a field name is not a token"),
    }
    let value = name + 1;
    let end = value + allowed(&line[value..], |byte| FIELD_VALUE.contains(byte));
    match byte_at(end) {
        b'\r' => Ok(()),
        b'\n' => Err((end, bare_lf())),
        _ => malformed(end, "a field value has a control character"),
    }
}

/// The number of allowed bytes at the front of `bytes`.
fn allowed(bytes: &[u8], is_allowed: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|&&byte| is_allowed(byte)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], piece: usize) -> Result<Checked, u16> {
        let mut lines = HeadLines::default();
        let mut end = 0;
        while end < bytes.len() {
            end = (end + piece).min(bytes.len());
            match lines.check(&bytes[..end], &Limits::default()) {
                Ok(Checked::NeedInput) => {}
                Ok(whole) => return Ok(whole),
                Err(refusal) => return Err(refusal.status().as_u16()),
            }
        }
        Ok(Checked::NeedInput)
    }

    #[test]
    fn finds_the_end_in_pieces_of_any_size() {
        let head = b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET";
        for piece in 1..=head.len() {
            let whole = Checked::Whole {
                request_line: 4..18,
                end: head.len() - 3,
            };
            assert_eq!(check(head, piece), Ok(whole));
        }
    }

    #[test]
    fn a_line_is_checked_at_its_crlf_and_a_control_character_at_once() {
        let lines: [(&[u8], u16); 14] = [
            (b" \r\n", 400),
            (b"GET\r\n", 400),
            (b"GET  /\r\n", 400),
            (b"GET /\r\n", 400),
            (b"GET /\xC3 HTTP/1.1\r\n", 400),
            (b"GET /\tHTTP/1.1\r\n", 400),
            (b"GET / http/1.1\r\n", 400),
            (b"GET / HTTP/1.1 \r\n", 400),
            (b"GET / HTTP/11\r\n", 400),
            (b"GET / HTTP/1.10\r\n", 400),
            (b"PRI * HTTP/2.0\r\n", 505),
            (b"GET / HTTP/0.9\r\n", 505),
            (b"GET / HTTP/1.1\r\n a\r\n", 400),
            (b"GET / HTTP/1.1\r\na\r\n", 400),
        ];
        let controls: [(&[u8], u16); 8] = [
            (b"\x16", 400),
            (b"\r\n\r\n\r", 400),
            (b"\n", 400),
            (b"\rG", 400),
            (b"GET / HTTP/1.1\n", 400),
            (b"GET / HTTP/1.1\rX", 400),
            (b"GET / HTTP/1.1\r\na: \0", 400),
            (b"GET / HTTP/1.1\r\n\n", 400),
        ];
        for (bytes, status) in lines.into_iter().chain(controls) {
            for piece in [1, 2, bytes.len()] {
                assert_eq!(check(bytes, piece), Err(status), "{}", bytes.escape_ascii());
            }
            let before = &bytes[..bytes.len() - 1];
            assert_eq!(
                check(before, 1),
                Ok(Checked::NeedInput),
                "{}",
                before.escape_ascii()
            );
        }
    }

    #[test]
    fn recognises_a_head_request_once_its_method_has_arrived() {
        for (input, is_head, may_become) in [
            (&b"\r\nHEAD / HT"[..], true, false),
            (b"HEAD / HTTP/1.1\r\nHost", true, false),
            (b"HEAD ", true, false),
            (b"HEADS / HTTP/1.1\r\n", false, false),
            (b"HEAd", false, false),
            (b"G", false, false),
            (b"GET / HTTP/1.1\r\n", false, false),
            (b"HEAD", false, true),
            (b"\r\nH", false, true),
            (b"\r\n", false, true),
            (b"\r", false, true),
            (b"", false, true),
        ] {
            let mut lines = HeadLines::default();
            let _ = lines.check(input, &Limits::default());
            assert_eq!(
                (
                    lines.is_head_request(input),
                    lines.may_become_head_request(input)
                ),
                (is_head, may_become),
                "{}",
                input.escape_ascii()
            );
        }
    }

    #[test]
    fn bounds_are_inclusive() {
        let line = |length: usize| {
            let target = "a".repeat(length - "GET / HTTP/1.1".len());
            format!("GET /{target} HTTP/1.1\r\n\r\n")
        };
        let is_whole =
            |head: &str, piece| matches!(check(head.as_bytes(), piece), Ok(Checked::Whole { .. }));
        assert!(is_whole(&line(8192), 1));
        assert_eq!(check(line(8193).as_bytes(), 1), Err(414));
        let fields = |count| format!("GET / HTTP/1.1\r\n{}\r\n", "a:b\r\n".repeat(count));
        assert!(is_whole(&fields(100), 7));
        assert_eq!(check(fields(101).as_bytes(), 7), Err(431));
        let head =
            |length: usize| format!("GET / HTTP/1.1\r\na:{}\r\n\r\n", "b".repeat(length - 22));
        assert!(is_whole(&head(65536), 99));
        assert_eq!(check(head(65537).as_bytes(), 99), Err(431));
        assert_eq!(check("a".repeat(8193).as_bytes(), 1), Err(414));
        // A fault before the limit comes first.
        let before = |wrong: &str| check(format!("{wrong}{}", "1".repeat(9000)).as_bytes(), 1);
        assert_eq!(before("GET / HTTP/"), Err(400));
        assert_eq!(before("GET  /"), Err(400));
        for end in [8190, 8191, 8192] {
            let space = format!("{} ", "a".repeat(end));
            assert_eq!(check(format!("{space}{space}").as_bytes(), 1), Err(414));
        }
    }
}
