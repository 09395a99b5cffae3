//! A head in pieces, or with a fault, judged line by line (RFC 9112 §2.2, §3 and §5).
//!
//! A line is judged when its CRLF has come. A control character is judged at once, since no line may
//! have it. So the verdict depends on the lines, not on the pieces that they came in, and the client of
//! another protocol, whose first bytes are no text, is refused with them.

use std::ops::Range;

use crate::conn::field_lines::{bare_cr, bare_lf};
use crate::conn::grammar::{FIELD_VALUE, TOKEN, VISIBLE};
use crate::conn::refusal::Refusal;
use crate::limits::Limits;

/// Empty lines that may stand before a request line: some clients send one or two behind a body
/// (RFC 9112 §2.2).
pub(super) const MAX_EMPTY_LINES: usize = 2;

/// How far the head at the front of a connection's input is judged. Each byte is looked at once to
/// find its line's end, and once when the line is judged.
#[derive(Clone, Debug, Default)]
pub(in crate::conn) struct HeadLines {
    /// Bytes of the input that have been looked at.
    looked_at: usize,
    /// Where the first line begins that is not judged.
    line: usize,
    /// Up to here that line has no control character.
    clean: usize,
    empty_lines: usize,
    /// Where the request line is, once it is judged.
    request_line: Option<Range<usize>>,
    fields: usize,
}

/// How far a head has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::conn) enum Judged {
    /// What has come is right so far; the head goes on.
    NeedInput,
    /// The head is whole and without fault.
    Whole {
        /// Where its request line is: the head begins with it.
        request_line: Range<usize>,
        /// Where the head ends.
        end: usize,
    },
}

impl HeadLines {
    /// Bytes of the input that have been looked at.
    pub(in crate::conn) fn looked_at(&self) -> usize {
        self.looked_at
    }

    /// Whether the request line has begun.
    pub(in crate::conn) fn has_begun(&self, input: &[u8]) -> bool {
        self.request_line.is_some() || input.get(self.line).is_some_and(|&byte| byte != b'\r')
    }

    /// Whether the request is a HEAD, as far as it has come: the response to it has no body, even
    /// when it is a refusal.
    pub(in crate::conn) fn is_head_request(&self, input: &[u8]) -> bool {
        let start = self
            .request_line
            .as_ref()
            .map_or(self.line, |line| line.start);
        input
            .get(start..)
            .is_some_and(|line| line.starts_with(b"HEAD "))
    }

    /// Judges the lines of `input` that are whole. It is all that has come of the head, each time.
    ///
    /// Behind a fault, `looked_at` ends with the byte at fault.
    pub(in crate::conn) fn judge(
        &mut self,
        input: &[u8],
        limits: &Limits,
    ) -> Result<Judged, Refusal> {
        let judged = self.judge_lines(input, limits);
        self.looked_at = match &judged {
            Ok(Judged::NeedInput) => input.len(),
            Ok(Judged::Whole { end, .. }) => *end,
            Err((at, _)) => (at + 1).min(input.len()),
        };
        judged.map_err(|(_, fault)| fault)
    }

    fn judge_lines(&mut self, input: &[u8], limits: &Limits) -> Result<Judged, (usize, Refusal)> {
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
                    return Ok(Judged::Whole {
                        request_line: request_line.clone(),
                        end: self.line,
                    });
                }
            }
        }
        Ok(Judged::NeedInput)
    }

    /// Where the CRLF of the current line is, if it has come and the line is right.
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
            [b'\r', next, ..] => match self.judge_line(line, b'\r') {
                Ok(()) if *next == b'\n' => Ok(Some(end)),
                Ok(()) => Err((end + 1, bare_cr())),
                Err((at, refusal)) => Err((start + at, refusal)),
            },
            [control, ..] => match self.judge_line(line, *control) {
                Ok(()) => Err((end, Refusal::malformed("a line has a control character"))),
                Err((at, refusal)) => Err((start + at, refusal)),
            },
        }
    }

    /// The refusal of a head of which no more than `line` fits into the limit; or that of what is wrong
    /// in the line before that.
    fn over_limit(&self, line: &[u8], refusal: Refusal) -> (usize, Refusal) {
        match self.judge_line(line, b'\r') {
            Err((at, refusal)) if at < line.len() => (self.line + at, refusal),
            Ok(()) | Err(_) => (self.line + line.len(), refusal),
        }
    }

    /// Whether another empty line before the request line is one too many.
    fn has_enough_empty_lines(&self) -> bool {
        self.request_line.is_none() && self.empty_lines == MAX_EMPTY_LINES
    }

    /// Judges a line, which is followed by `next`: CR if it is whole, or else a control character.
    fn judge_line(&self, line: &[u8], next: u8) -> Result<(), (usize, Refusal)> {
        match self.request_line {
            None => judge_request_line(line, next),
            Some(_) => judge_field_line(line, next),
        }
    }
}

const CRLF: &[u8] = b"\r\n";

/// `method SP request-target SP HTTP-version` (RFC 9112 §3). A fault comes with the place of its byte.
fn judge_request_line(line: &[u8], next: u8) -> Result<(), (usize, Refusal)> {
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
    // `HTTP/1.1` and the like.
    let is_right = |at: usize| match (at, byte_at(version + at)) {
        (0..=4, byte) => byte == b"HTTP/"[at],
        (6, byte) => byte == b'.',
        (_, byte) => byte.is_ascii_digit(),
    };
    if let Some(wrong) = (0..8).find(|&at| !is_right(at)) {
        return malformed(version + wrong, MALFORMED_VERSION);
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

/// `field-name ":" OWS field-value OWS` (RFC 9112 §5): nothing stands between name and colon, and no
/// line begins with whitespace. A fault comes with the place of its byte.
fn judge_field_line(line: &[u8], next: u8) -> Result<(), (usize, Refusal)> {
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

/// How many bytes at the front of `bytes` are allowed.
fn allowed(bytes: &[u8], is_allowed: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|&&byte| is_allowed(byte)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(bytes: &[u8], piece: usize) -> Result<Judged, u16> {
        let mut lines = HeadLines::default();
        let mut end = 0;
        while end < bytes.len() {
            end = (end + piece).min(bytes.len());
            match lines.judge(&bytes[..end], &Limits::default()) {
                Ok(Judged::NeedInput) => {}
                Ok(whole) => return Ok(whole),
                Err(refusal) => return Err(refusal.status().as_u16()),
            }
        }
        Ok(Judged::NeedInput)
    }

    #[test]
    fn finds_the_end_in_pieces_of_any_size() {
        let head = b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET";
        for piece in 1..=head.len() {
            let whole = Judged::Whole {
                request_line: 4..18,
                end: head.len() - 3,
            };
            assert_eq!(judge(head, piece), Ok(whole));
        }
    }

    #[test]
    fn a_line_is_judged_when_its_crlf_is_there_and_a_control_at_once() {
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
                assert_eq!(judge(bytes, piece), Err(status), "{}", bytes.escape_ascii());
            }
            let before = &bytes[..bytes.len() - 1];
            assert_eq!(
                judge(before, 1),
                Ok(Judged::NeedInput),
                "{}",
                before.escape_ascii()
            );
        }
    }

    #[test]
    fn knows_a_head_request_when_its_method_has_come() {
        for (input, is_head) in [
            (&b"\r\nHEAD / HT"[..], true),
            (b"HEADS / HTTP/1.1\r\n", false),
            (b"HEAD", false),
            (b"", false),
            (b"HEAD / HTTP/1.1\r\nHost", true),
        ] {
            let mut lines = HeadLines::default();
            let _ = lines.judge(input, &Limits::default());
            assert_eq!(
                lines.is_head_request(input),
                is_head,
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
            |head: &str, piece| matches!(judge(head.as_bytes(), piece), Ok(Judged::Whole { .. }));
        assert!(is_whole(&line(8192), 1));
        assert_eq!(judge(line(8193).as_bytes(), 1), Err(414));
        let fields = |count| format!("GET / HTTP/1.1\r\n{}\r\n", "a:b\r\n".repeat(count));
        assert!(is_whole(&fields(100), 7));
        assert_eq!(judge(fields(101).as_bytes(), 7), Err(431));
        let head =
            |length: usize| format!("GET / HTTP/1.1\r\na:{}\r\n\r\n", "b".repeat(length - 22));
        assert!(is_whole(&head(65536), 99));
        assert_eq!(judge(head(65537).as_bytes(), 99), Err(431));
        assert_eq!(judge("a".repeat(8193).as_bytes(), 1), Err(414));
        // What is wrong before the limit comes first.
        let before = |wrong: &str| judge(format!("{wrong}{}", "1".repeat(9000)).as_bytes(), 1);
        assert_eq!(before("GET / HTTP/"), Err(400));
        assert_eq!(before("GET  /"), Err(400));
        for end in [8190, 8191, 8192] {
            let space = format!("{} ", "a".repeat(end));
            assert_eq!(judge(format!("{space}{space}").as_bytes(), 1), Err(414));
        }
    }
}
