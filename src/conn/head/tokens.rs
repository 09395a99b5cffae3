//! A whole head, taken apart at its delimiters.

use std::ops::Range;

use http::Version;

use crate::conn::grammar::{find, is_ows};
use crate::limits::Limits;

/// The request line of a whole head.
#[derive(Debug)]
pub(super) struct RequestLine<'a> {
    pub(super) method: &'a [u8],
    pub(super) target: &'a [u8],
    pub(super) version: Version,
}

/// Where the parts of a field line are in its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::conn) struct FieldLine {
    name: u32,
    colon: u32,
    value: u32,
    value_end: u32,
}

/// Takes the head at the front of `window` apart, and gives its request line and its length in
/// bytes; `lines` becomes its fields.
///
/// `None` if the head is not whole, or a delimiter is not where the grammar wants it. What stands
/// between the delimiters is not looked at, and may be anything, line ends too: the types that are
/// made of it refuse what they can't be.
#[inline(never)]
pub(super) fn split<'a>(
    window: &'a [u8],
    limits: &Limits,
    lines: &mut Vec<FieldLine>,
) -> Option<(RequestLine<'a>, usize)> {
    let (method, rest) = split_once(window, b' ')?;
    let (target, rest) = split_once(rest, b' ')?;
    let (version, mut rest) = split_version(rest)?;
    // Limits bound a head to far less than 4 GiB.
    let offset = |rest: &[u8]| (window.len() - rest.len()) as u32;
    if offset(rest) as usize > limits.max_request_line + CRLF.len() {
        return None;
    }
    lines.clear();
    loop {
        if let Some(behind) = rest.strip_prefix(CRLF) {
            let line = RequestLine {
                method,
                target,
                version,
            };
            return Some((line, offset(behind) as usize));
        }
        if lines.len() == limits.max_fields {
            return None;
        }
        let name = offset(rest);
        let (_, mut value) = split_once(rest, b':')?;
        let colon = offset(value) - 1;
        while let [b' ' | b'\t', behind @ ..] = value {
            value = behind;
        }
        let length = find(b'\r', value)?;
        let (content, end) = value.split_at(length);
        rest = end.strip_prefix(CRLF)?;
        lines.push(FieldLine {
            name,
            colon,
            value: offset(value),
            value_end: offset(end) - trailing_ows(content),
        });
    }
}

const CRLF: &[u8] = b"\r\n";

/// What stands before the first `delimiter` and behind it.
fn split_once(bytes: &[u8], delimiter: u8) -> Option<(&[u8], &[u8])> {
    let at = find(delimiter, bytes)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

/// The version at the end of the request line, and what follows the line. A higher minor version of
/// 1 is read as 1.1 (RFC 9110 §2.5).
fn split_version(bytes: &[u8]) -> Option<(Version, &[u8])> {
    let (version, behind) = bytes.split_first_chunk::<10>()?;
    let version = match version {
        _ if version == b"HTTP/1.1\r\n" => Version::HTTP_11,
        b"HTTP/1.0\r\n" => Version::HTTP_10,
        [
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            b'1',
            b'.',
            b'2'..=b'9',
            b'\r',
            b'\n',
        ] => Version::HTTP_11,
        _ => return None,
    };
    Some((version, behind))
}

fn trailing_ows(value: &[u8]) -> u32 {
    value.iter().rev().take_while(|byte| is_ows(**byte)).count() as u32
}

impl FieldLine {
    /// The name, in the head that the line is of.
    pub(super) fn name(self) -> Range<usize> {
        self.name as usize..self.colon as usize
    }

    /// The value without the whitespace around it, in the head that the line is of.
    pub(super) fn value(self) -> Range<usize> {
        self.value as usize..self.value_end as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(head: &str) -> Option<String> {
        let mut lines = Vec::new();
        let limits = Limits::default();
        let (line, length) = split(head.as_bytes(), &limits, &mut lines)?;
        let (method, target) = (line.method.escape_ascii(), line.target.escape_ascii());
        let mut shown = format!("{method}|{target}|{:?}", line.version);
        for line in lines {
            shown += &format!("|{}={}", &head[line.name()], &head[line.value()]);
        }
        Some(format!("{shown}|{}", &head[length..]))
    }

    #[test]
    fn takes_a_head_apart() {
        for (head, expected) in [
            ("GET / HTTP/1.1\r\n\r\n", "GET|/|HTTP/1.1|"),
            ("a b HTTP/1.0\r\n\r\nGET", "a|b|HTTP/1.0|GET"),
            ("GET / HTTP/1.9\r\na:b\r\n\r\n\r", "GET|/|HTTP/1.1|a=b|\r"),
            (
                "GET / HTTP/1.1\r\na: \t b c\t \r\nlonger-name:d:e\r\nf: \t\r\ng:\r\n\r\n",
                "GET|/|HTTP/1.1|a=b c|longer-name=d:e|f=|g=|",
            ),
        ] {
            assert_eq!(shown(head).as_deref(), Some(expected), "{head:?}");
        }
    }

    #[test]
    fn needs_each_delimiter() {
        let head = "GET / HTTP/1.1\r\na: b\r\nc: d\r\n\r\n";
        for end in 0..head.len() {
            assert_eq!(shown(&head[..end]), None, "{end}");
        }
        for wrong in [
            "GET /\r\n\r\n",
            "GET / HTTP/1.1\n\r\n",
            "GET / HTTP/1.1 \r\n\r\n",
            "GET / HTTP/2.1\r\n\r\n",
            "GET / HTTP/1.a\r\n\r\n",
            "GET / http/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\na: b\n\r\n",
            "GET / HTTP/1.1\r\na: b\rc\r\n\r\n",
            "GET / HTTP/1.1\r\na: b\r\n\n",
            "GET / HTTP/1.1\r\na\r\n\r\n",
        ] {
            assert_eq!(shown(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn bounds_are_inclusive() {
        let limits = Limits {
            max_fields: 2,
            max_request_line: "GET / HTTP/1.1".len(),
            ..Limits::default()
        };
        let is_split = |head: &str| split(head.as_bytes(), &limits, &mut Vec::new()).is_some();
        assert!(is_split("GET / HTTP/1.1\r\na:\r\nb:\r\n\r\n"));
        assert!(!is_split("GET / HTTP/1.1\r\na:\r\nb:\r\nc:\r\n\r\n"));
        assert!(!is_split("GET /a HTTP/1.1\r\n\r\n"));
    }
}
