//! Formats bytes from clients for the log: escaped, cut to a length, and with secrets masked.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use http::Version;

use crate::conn::is_token;

/// The most bytes from a client that one log line shows: a usual head. At half, the fields of a browser are cut; at
/// double, a client that sends nonsense fills the log twice as fast.
const MAX_SHOWN: usize = 1 << 10;

/// Bytes escaped like a Rust string literal, and cut at 1 KiB.
#[derive(Clone, Copy)]
pub(crate) struct Escaped<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(MAX_SHOWN)];
        write!(f, "\"{}\"", shown.escape_ascii())?;
        match self.0.len() - shown.len() {
            0 => Ok(()),
            more => write!(f, "... and {more} bytes more"),
        }
    }
}

/// The head of a request, escaped and cut, with secrets masked: the values of [secret](is_secret)
/// fields, and user information in the target.
///
/// The head may be incomplete, but must not continue after its first fault: after that, field lines
/// can't be recognised.
#[derive(Clone, Copy)]
pub(crate) struct MaskedHead<'a> {
    pub(crate) head: &'a [u8],
    /// The bytes may also be the rest of a body that is longer than its `Content-Length`. Then the
    /// first line is only shown if it looks like a request line.
    pub(crate) may_be_body: bool,
}

impl fmt::Display for MaskedHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut masked = Vec::with_capacity(self.head.len().min(MAX_SHOWN));
        let (mut is_request_line, mut is_behind_secret) = (true, false);
        for line in self.head.split_inclusive(|&byte| byte == b'\n') {
            let (content, end) = split_line_end(line);
            let secret = if !is_request_line {
                secret_value(content, is_behind_secret)
            } else if self.may_be_body && !is_like_request_line(content) {
                Some(0..content.len()).filter(|all| !all.is_empty())
            } else {
                user_information(content)
            };
            // Empty lines may precede the request line.
            is_request_line &= content.is_empty();
            is_behind_secret = secret.is_some();
            push_masked(&mut masked, content, secret);
            masked.extend_from_slice(end);
        }
        Escaped(&masked).fmt(f)
    }
}

/// What can be recognised in the first line of a head that is refused.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestLine<'a> {
    /// Empty if the line doesn't begin with a token.
    pub(crate) method: &'a [u8],
    /// With user information masked. Without a method it is the whole line.
    pub(crate) target: Cow<'a, [u8]>,
    pub(crate) version: Option<Version>,
}

impl<'a> RequestLine<'a> {
    /// The line of a head of which the bytes up to its fault are known. It is empty if the bytes may be the rest of a
    /// body and don't look like a request line.
    pub(crate) fn of_refused(head: &'a [u8], may_be_body: bool) -> Self {
        let mut lines = head.split_inclusive(|&byte| byte == b'\n');
        let line = lines.find_map(|line| match split_line_end(line) {
            ([], _) => None,
            (content, _) => Some(content),
        });
        let line = line.unwrap_or_default();
        if may_be_body && !is_like_request_line(line) {
            return Self::default();
        }
        let (method, rest) = match line.iter().position(|&byte| byte == b' ') {
            Some(space) => (&line[..space], space + 1),
            None => (line, line.len()),
        };
        let (method, rest) = match is_token(method) {
            true => (method, rest),
            false => (&line[..0], 0),
        };
        let end = version_of(line).filter(|end| *end >= rest);
        let target = rest..end.unwrap_or(line.len());
        Self {
            method,
            target: masked(line, target, user_information(line)),
            version: end.and_then(|end| known_version(&line[end + 1..])),
        }
    }
}

/// A range of a line, with the range `secret` replaced by `***`.
fn masked(line: &[u8], shown: Range<usize>, secret: Option<Range<usize>>) -> Cow<'_, [u8]> {
    let Some(secret) = secret else {
        return Cow::Borrowed(&line[shown]);
    };
    let before = line.get(shown.start..secret.start).unwrap_or_default();
    let after = line.get(secret.end..shown.end).unwrap_or_default();
    Cow::Owned([before, b"***", after].concat())
}

fn known_version(text: &[u8]) -> Option<Version> {
    match text {
        b"HTTP/0.9" => Some(Version::HTTP_09),
        b"HTTP/1.0" => Some(Version::HTTP_10),
        b"HTTP/1.1" => Some(Version::HTTP_11),
        b"HTTP/2.0" => Some(Version::HTTP_2),
        _ => None,
    }
}

/// Appends `content` with the range `secret` replaced by `***`.
fn push_masked(masked: &mut Vec<u8>, content: &[u8], secret: Option<Range<usize>>) {
    let Some(secret) = secret else {
        return masked.extend_from_slice(content);
    };
    masked.extend_from_slice(&content[..secret.start]);
    if masked.ends_with(b":") {
        masked.push(b' ');
    }
    masked.extend_from_slice(b"***");
    masked.extend_from_slice(&content[secret.end..]);
}

/// Whether the values of the field `name` are masked.
pub(crate) fn is_secret(name: &[u8]) -> bool {
    const SECRETS: [&str; 4] = [
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
    ];
    let is_name = |secret: &&str| name.eq_ignore_ascii_case(secret.as_bytes());
    SECRETS.iter().any(is_name)
}

/// Splits a line into its content and its line end.
fn split_line_end(line: &[u8]) -> (&[u8], &[u8]) {
    let is_content = |byte: &u8| !matches!(byte, b'\r' | b'\n');
    let last = line.iter().rposition(is_content);
    line.split_at(last.map_or(0, |last| last + 1))
}

/// Whether a line, of which the end may be missing, is very likely a request line: it begins with a
/// common method, or contains a version.
fn is_like_request_line(line: &[u8]) -> bool {
    const METHODS: [&[u8]; 9] = [
        b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"CONNECT", b"TRACE",
    ];
    let mut words = line.split(|&byte| byte == b' ');
    let is_method = words.next().is_some_and(|word| METHODS.contains(&word));
    (is_method && words.next().is_some()) || version_of(line).is_some()
}

/// The index of the space before the version of a request line.
fn version_of(line: &[u8]) -> Option<usize> {
    line.windows(6).rposition(|six| six == b" HTTP/")
}

/// The range to mask in a field line. A line without a colon after a secret field may continue its
/// value, because some clients wrap long values (`obs-fold`).
fn secret_value(line: &[u8], is_behind_secret: bool) -> Option<Range<usize>> {
    match line.iter().position(|&byte| byte == b':') {
        Some(colon) if is_secret(&line[..colon]) => Some(colon + 1..line.len()),
        None if is_behind_secret && !line.is_empty() => Some(0..line.len()),
        Some(_) | None => None,
    }
}

/// The range to mask in a request line: the text before `@` in a target with an authority. In an
/// incomplete target that text looks like a host with a port, so both are masked.
fn user_information(line: &[u8]) -> Option<Range<usize>> {
    let start = line.iter().position(|&byte| byte == b' ')? + 1;
    let target = &line[start..];
    if target.starts_with(b"/") {
        return None;
    }
    let scheme = target.windows(3).position(|three| three == b"://");
    let authority = start + scheme.map_or(0, |at| at + 3);
    let end = version_of(line);
    let at_sign = |end: usize| line[authority..end].iter().rposition(|&byte| byte == b'@');
    match end.filter(|end| *end >= authority) {
        Some(end) => at_sign(end).map(|at| authority..authority + at),
        None => target.contains(&b':').then_some(authority..line.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(head: &[u8], may_be_body: bool) -> String {
        MaskedHead { head, may_be_body }.to_string()
    }

    #[test]
    fn escapes_and_cuts() {
        assert_eq!(
            Escaped(b"a\r\n\"\x1b[31m\xff").to_string(),
            r#""a\r\n\"\x1b[31m\xff""#
        );
        let text = Escaped(&[b'a'; 1030]).to_string();
        assert!(text.ends_with("a\"... and 6 bytes more"), "{text}");
    }

    #[test]
    fn masks_secret_fields_in_any_case() {
        let head = b"GET / HTTP/1.1\r\nCOOKIE: a=b\r\nauthorization:Basic x\r\nHost: h\r\n\r\n";
        let text = shown(head, false);
        let masked = r#""GET / HTTP/1.1\r\nCOOKIE: ***\r\nauthorization: ***\r\nHost: h\r\n\r\n""#;
        assert_eq!(text, masked);
    }

    #[test]
    fn masks_secrets_in_incomplete_and_malformed_heads() {
        let line = "GET / HTTP/1.1\r\n";
        for (head, expected) in [
            ("Cookie: a", "Cookie: ***"),
            ("Cookie: a\r", r"Cookie: ***\r"),
            ("Cookie: a\n", r"Cookie: ***\n"),
            ("Cookie: a\rb", "Cookie: ***"),
            ("Cookie:", "Cookie: ***"),
            ("Cookie", "Cookie"),
            ("Cookie: a\r\nb\r", r"Cookie: ***\r\n***\r"),
            ("Cookie: a\r\nb: c\r\nd", r"Cookie: ***\r\nb: c\r\nd"),
            ("a: b\r\nc ", r"a: b\r\nc "),
        ] {
            let text = shown(format!("{line}{head}").as_bytes(), false);
            assert_eq!(text, format!(r#""GET / HTTP/1.1\r\n{expected}""#));
        }
    }

    #[test]
    fn masks_user_information() {
        for (line, expected) in [
            ("GET http://u:p@a/b HTTP/1.1", "GET http://***@a/b HTTP/1.1"),
            ("GET http://u:p/@a/ HTTP/1.1", "GET http://***@a/ HTTP/1.1"),
            ("CONNECT u:p@a:443 HTTP/1.1", "CONNECT ***@a:443 HTTP/1.1"),
            ("GET http://u:", "GET http://***"),
            ("GET http://u:p w", "GET http://***"),
            ("CONNECT u:p", "CONNECT ***"),
            ("GET http://a:80/b HTTP/1.1", "GET http://a:80/b HTTP/1.1"),
            ("GET /a:b@c", "GET /a:b@c"),
            ("GET * HTTP/1.1", "GET * HTTP/1.1"),
            ("EHLO a.b", "EHLO a.b"),
            ("GET", "GET"),
        ] {
            for before in ["", "\r\n"] {
                let text = shown(format!("{before}{line}").as_bytes(), false);
                assert_eq!(text, format!("\"{}{expected}\"", before.escape_default()));
            }
        }
    }

    #[test]
    fn a_refused_request_line_is_taken_apart_as_far_as_it_can_be() {
        let http11 = Some(Version::HTTP_11);
        for (head, method, target, version) in [
            ("GET /a HTTP/1.1\r\nBad", "GET", "/a", http11),
            ("\r\n\r\nGET /a HTTP/1.1\r\n", "GET", "/a", http11),
            ("GET /a b HTTP/1.1\n", "GET", "/a b", http11),
            ("GET /a", "GET", "/a", None),
            ("GET ", "GET", "", None),
            ("GE", "GE", "", None),
            ("GET /a HTTP/1.x\r", "GET", "/a", None),
            ("PRI * HTTP/2.0\r\n", "PRI", "*", Some(Version::HTTP_2)),
            ("\x16\x03\x01 \"", "", "\x16\x03\x01 \"", None),
            (" HTTP/1.1", "", "", http11),
            ("GET  HTTP/1.1", "GET", "", http11),
            ("", "", "", None),
            ("GET http://u:p@h/ HTTP/1.1", "GET", "http://***@h/", http11),
            ("GET http://u:p", "GET", "http://***", None),
            ("CONNECT u:p@h:1", "CONNECT", "***", None),
        ] {
            let line = RequestLine::of_refused(head.as_bytes(), false);
            let expected = RequestLine {
                method: method.as_bytes(),
                target: Cow::Borrowed(target.as_bytes()),
                version,
            };
            assert_eq!(line, expected, "{head:?}");
        }
        let rest_of_a_body = RequestLine::of_refused(b"word=x&y=z HTTP", true);
        assert_eq!(rest_of_a_body, RequestLine::default());
        assert_eq!(RequestLine::of_refused(b"GET /a b", true).method, b"GET");
    }

    #[test]
    fn masks_a_line_that_may_be_the_rest_of_a_body() {
        for (line, expected) in [
            ("word=x", "***"),
            ("word is s", "***"),
            ("GE", "***"),
            ("GET", "***"),
            ("GET /a b", "GET /a b"),
            ("OTHER /a HTTP/1.x", "OTHER /a HTTP/1.x"),
        ] {
            for (before, after) in [("", ""), ("\r\n", "\r\n")] {
                let text = shown(format!("{before}{line}{after}").as_bytes(), true);
                let (before, after) = (before.escape_default(), after.escape_default());
                assert_eq!(text, format!("\"{before}{expected}{after}\""));
            }
        }
    }
}
