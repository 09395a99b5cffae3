//! Parses a complete head with `httparse`, and refuses what `httparse` accepts but this server doesn't.
//!
//! | accepted by `httparse` | refused by |
//! |---|---|
//! | lines that end with a bare LF (which RFC 9112 §2.2 allows) | [`Parsed::line`], [`Parsed::is_strict`] |
//! | empty lines before the request line: any number, also with a bare LF | [`Parsed::is_strict`] |
//! | a request line or a head of any length | [`Parsed::is_strict`]; the caller limits the head |
//! | any visible byte and any UTF-8 in the target | `target.rs`, by the target's form (RFC 9112 §3.2) |
//!
//! `httparse` itself refuses everything else that RFC 9112 §3 and §5 forbid: whitespace before a colon,
//! `obs-fold`, empty names, control characters, a second space in the request line. It also refuses
//! something valid, a higher minor version of HTTP/1; see [`with_known_version`].

use std::borrow::Cow;
use std::mem::MaybeUninit;
use std::ops::Range;

use http::Version;
use httparse::{Header, Request, Status};

use super::lines::MAX_EMPTY_LINES;
use crate::limits::Limits;

/// A complete head, split into its parts.
#[derive(Debug)]
pub(super) struct Parsed<'h, 'b> {
    /// All bytes of the head.
    pub(super) bytes: &'b [u8],
    pub(super) method: &'b [u8],
    pub(super) target: &'b [u8],
    pub(super) version: Version,
    /// The field lines; values are without the whitespace around them.
    pub(super) fields: &'h [Header<'b>],
}

/// Memory for the field lines of a head while it is parsed. Uninitialised, because writing to all of it
/// would cost time in each request.
pub(super) type Fields<'b> = [MaybeUninit<Header<'b>>; Limits::MAX_FIELDS];

/// Parses the head at the front of `window`.
///
/// `None` if the head is incomplete or malformed; `lines.rs` finds out which.
pub(super) fn parse<'h, 'b>(
    window: &'b [u8],
    limits: &Limits,
    fields: &'h mut Fields<'b>,
) -> Option<Parsed<'h, 'b>> {
    let mut request = Request::new(&mut []);
    let fields = fields.get_mut(..limits.max_fields)?;
    let parsed = request.parse_with_uninit_headers(window, fields).ok()?;
    let Status::Complete(length) = parsed else {
        return None;
    };
    let bytes = &window[..length];
    let head = Parsed {
        bytes,
        method: request.method?.as_bytes(),
        target: request.path?.as_bytes(),
        version: match request.version? {
            0 => Version::HTTP_10,
            _ => Version::HTTP_11,
        },
        fields: request.headers,
    };
    head.is_strict(limits).then_some(head)
}

impl Parsed<'_, '_> {
    /// Where one of the parts is in the head. It must not be empty: `httparse` doesn't promise where
    /// an empty value is.
    pub(super) fn range_of(&self, part: &[u8]) -> Range<usize> {
        let start = part.as_ptr().addr() - self.bytes.as_ptr().addr();
        start..start + part.len()
    }

    /// All bytes from the start of a field's line. `None` if the line before it ends with a bare LF.
    pub(super) fn line(&self, field: &Header<'_>) -> Option<&[u8]> {
        let start = self.range_of(field.name.as_bytes()).start;
        let before = self.bytes.get(start - CRLF.len()..start);
        (before == Some(CRLF)).then(|| &self.bytes[start..])
    }

    /// Whether the head is free of what `httparse` wrongly accepts; see the table above. Lines that a
    /// field follows are left to [`line`](Self::line).
    fn is_strict(&self, limits: &Limits) -> bool {
        let start = self.range_of(self.method).start;
        let empty_lines = || self.bytes[..start].chunks(CRLF.len());
        let line_end = self.range_of(self.target).end + VERSION.len();
        line_end - start <= limits.max_request_line
            && (start == 0
                || empty_lines().len() <= MAX_EMPTY_LINES && empty_lines().all(|line| line == CRLF))
            && self.bytes.ends_with(b"\r\n\r\n")
    }
}

/// Replaces the minor version by one that `httparse` knows: 1.2 to 1.9 are treated as 1.1 (RFC 9110
/// §2.5). `lines.rs` has checked the head; its version ends at `version_end`.
pub(super) fn with_known_version(head: &[u8], version_end: usize) -> Cow<'_, [u8]> {
    let minor = version_end - 1;
    match head[minor] {
        b'0' | b'1' => Cow::Borrowed(head),
        _ => {
            let mut head = head.to_vec();
            head[minor] = b'1';
            Cow::Owned(head)
        }
    }
}

const CRLF: &[u8] = b"\r\n";

/// The end of a request line. All versions have the same length.
const VERSION: &[u8] = b" HTTP/1.1";

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: Fields<'_> = [const { MaybeUninit::uninit() }; Limits::MAX_FIELDS];

    fn shown(head: &str) -> Option<String> {
        let mut fields = EMPTY;
        let parsed = parse(head.as_bytes(), &Limits::default(), &mut fields)?;
        let (method, target) = (parsed.method.escape_ascii(), parsed.target.escape_ascii());
        let mut shown = format!("{method}|{target}|{:?}", parsed.version);
        for field in parsed.fields {
            let line = parsed.line(field)?;
            assert!(line.starts_with(field.name.as_bytes()));
            shown += &format!("|{}={}", field.name, field.value.escape_ascii());
        }
        Some(format!("{shown}|{}", &head[parsed.bytes.len()..]))
    }

    #[test]
    fn splits_a_head_into_its_parts() {
        for (head, expected) in [
            ("GET / HTTP/1.1\r\n\r\n", "GET|/|HTTP/1.1|"),
            ("\r\n\r\na b HTTP/1.0\r\n\r\nGET", "a|b|HTTP/1.0|GET"),
            (
                "GET / HTTP/1.1\r\na: \t b c\t \r\nlonger-name:d:e\r\nf: \t\r\ng:\r\n\r\n",
                "GET|/|HTTP/1.1|a=b c|longer-name=d:e|f=|g=|",
            ),
        ] {
            assert_eq!(shown(head).as_deref(), Some(expected), "{head:?}");
        }
    }

    #[test]
    fn an_incomplete_head_is_none() {
        let head = "GET / HTTP/1.1\r\na: b\r\nc: d\r\n\r\n";
        for end in 0..head.len() {
            assert_eq!(shown(&head[..end]), None, "{end}");
        }
    }

    #[test]
    fn refuses_what_httparse_wrongly_accepts() {
        for lenient in [
            "GET / HTTP/1.1\nHost: h\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\n\n",
            "GET / HTTP/1.1\r\nHost: h \t\n\r\n",
            "GET / HTTP/1.1\r\nA: b\nHost: h\r\n\r\n",
            "GET / HTTP/1.1\r\nA:\nHost: h\r\n\r\n",
            "GET / HTTP/1.0\n\r\n",
            "GET / HTTP/1.0\r\n\n",
            "GET / HTTP/1.0\n\n",
            "\nGET / HTTP/1.0\r\n\r\n",
            "\r\n\nGET / HTTP/1.0\r\n\r\n",
            "\n\nGET / HTTP/1.0\r\n\r\n",
            "\r\n\r\n\r\nGET / HTTP/1.0\r\n\r\n",
        ] {
            let mut headers = [httparse::EMPTY_HEADER; 4];
            let parsed = httparse::Request::new(&mut headers).parse(lenient.as_bytes());
            assert!(
                parsed.is_ok_and(|status| status.is_complete()),
                "{lenient:?}"
            );
            assert_eq!(shown(lenient), None, "{lenient:?}");
        }
    }

    #[test]
    fn leaves_the_rest_of_the_grammar_to_httparse() {
        for invalid in [
            "GET /\r\n\r\n",
            "GET  / HTTP/1.1\r\n\r\n",
            "GET /  HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1 \r\n\r\n",
            "GET / HTTP/2.1\r\n\r\n",
            "GET / HTTP/1.a\r\n\r\n",
            "GET / http/1.1\r\n\r\n",
            " GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\na: b\rc\r\n\r\n",
            "GET / HTTP/1.1\r\na : b\r\n\r\n",
            "GET / HTTP/1.1\r\na: b\r\n c\r\n\r\n",
            "GET / HTTP/1.1\r\n a: b\r\n\r\n",
            "GET / HTTP/1.1\r\n: b\r\n\r\n",
            "GET / HTTP/1.1\r\na: \0\r\n\r\n",
            "GET / HTTP/1.1\r\na: \x7F\r\n\r\n",
            "GET / HTTP/1.1\r\n\u{e9}: b\r\n\r\n",
            "GET / HTTP/1.1\r\na\r\n\r\n",
        ] {
            assert_eq!(shown(invalid), None, "{invalid:?}");
        }
    }

    #[test]
    fn bounds_are_inclusive() {
        let limits = Limits {
            max_fields: 2,
            max_request_line: "GET / HTTP/1.1".len(),
            ..Limits::default()
        };
        let is_parsed = |head: &str| parse(head.as_bytes(), &limits, &mut { EMPTY }).is_some();
        assert!(is_parsed("\r\nGET / HTTP/1.1\r\na:\r\nb:\r\n\r\n"));
        assert!(!is_parsed("GET / HTTP/1.1\r\na:\r\nb:\r\nc:\r\n\r\n"));
        assert!(!is_parsed("GET /a HTTP/1.1\r\n\r\n"));
    }

    #[test]
    fn a_later_minor_version_is_treated_as_1_1() {
        let head = b"GET / HTTP/1.7\r\n\r\n";
        assert_eq!(&*with_known_version(head, 14), b"GET / HTTP/1.1\r\n\r\n");
        let head = b"GET / HTTP/1.0\r\n\r\n";
        assert_eq!(&*with_known_version(head, 14), head);
    }
}
