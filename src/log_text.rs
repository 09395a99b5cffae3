//! A client's bytes, made fit for a log: escaped, cut, and without secrets.

use std::fmt;
use std::ops::Range;

/// The most bytes of a client's that one log line shows.
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

/// The head of a request, escaped and cut, with secrets masked: the values of fields that carry
/// them, and user information in the target.
///
/// It may end anywhere, but must not go beyond its first fault: what stands behind one can't be told
/// apart.
#[derive(Clone, Copy)]
pub(crate) struct MaskedHead<'a> {
    pub(crate) head: &'a [u8],
    /// It may also be the rest of a body that is longer than the request before it said. Then it is
    /// shown only if it has a request line.
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
            // There may be empty lines before the request line.
            is_request_line &= content.is_empty();
            is_behind_secret = secret.is_some();
            push_masked(&mut masked, content, secret);
            masked.extend_from_slice(end);
        }
        Escaped(&masked).fmt(f)
    }
}

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

/// Whether the values of this field are masked.
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

fn split_line_end(line: &[u8]) -> (&[u8], &[u8]) {
    let is_content = |byte: &u8| !matches!(byte, b'\r' | b'\n');
    let last = line.iter().rposition(is_content);
    line.split_at(last.map_or(0, |last| last + 1))
}

/// Whether a line can hardly be anything else than a request line, of which the end may be missing.
fn is_like_request_line(line: &[u8]) -> bool {
    const METHODS: [&[u8]; 9] = [
        b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"CONNECT", b"TRACE",
    ];
    let mut words = line.split(|&byte| byte == b' ');
    let is_method = words.next().is_some_and(|word| METHODS.contains(&word));
    (is_method && words.next().is_some()) || version_of(line).is_some()
}

/// Where the version of a request line is, with the space before it.
fn version_of(line: &[u8]) -> Option<usize> {
    line.windows(6).rposition(|six| six == b" HTTP/")
}

/// What is masked of a field line. A line without a colon behind a secret value may be the rest of
/// that: some clients wrap long values.
fn secret_value(line: &[u8], is_behind_secret: bool) -> Option<Range<usize>> {
    match line.iter().position(|&byte| byte == b':') {
        Some(colon) if is_secret(&line[..colon]) => Some(colon + 1..line.len()),
        None if is_behind_secret && !line.is_empty() => Some(0..line.len()),
        Some(_) | None => None,
    }
}

/// What is masked of a request line: what stands before an `@` in a target that has an authority. In
/// an unfinished target it can't be told from a host and its port.
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
    fn masks_secrets_whatever_their_case() {
        let head = b"GET / HTTP/1.1\r\nCOOKIE: a=b\r\nauthorization:Basic x\r\nHost: h\r\n\r\n";
        let text = shown(head, false);
        let masked = r#""GET / HTTP/1.1\r\nCOOKIE: ***\r\nauthorization: ***\r\nHost: h\r\n\r\n""#;
        assert_eq!(text, masked);
    }

    #[test]
    fn masks_what_is_unfinished_or_wrong() {
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
    fn masks_what_may_be_the_rest_of_a_body() {
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
