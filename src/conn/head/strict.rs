//! A whole head, parsed by `httparse`; and what that lets through but is refused here.
//!
//! | `httparse` lets through | refused by |
//! |---|---|
//! | lines that end with LF alone (RFC 9112 §2.2 leaves it to the recipient) | [`Parsed::is_strict`] |
//! | empty lines before the request line: any number, and by LF alone | [`Parsed::is_strict`] |
//! | a request line or a head of any length | [`Parsed::is_strict`]; the caller bounds the head |
//! | any visible byte in the target, and any UTF-8 | `target.rs`, by the target's form (RFC 9112 §3.2) |
//!
//! Whatever else RFC 9112 §3 and §5 forbid it refuses itself: whitespace before a colon, `obs-fold`,
//! empty names, control characters, a second space in the request line. It also refuses one thing that
//! is right, a higher minor version of HTTP/1: see [`with_known_version`].

use std::borrow::Cow;
use std::mem::MaybeUninit;
use std::ops::Range;

use http::Version;
use httparse::{Header, Request, Status};

use super::lines::MAX_EMPTY_LINES;
use crate::limits::Limits;

/// A whole head.
#[derive(Debug)]
pub(super) struct Parsed<'h, 'b> {
    bytes: &'b [u8],
    pub(super) method: Range<usize>,
    pub(super) target: Range<usize>,
    pub(super) version: Version,
    fields: &'h [Header<'b>],
}

/// Where the fields of a head are put while it is parsed. (They are not written to before.)
pub(super) type Fields<'b> = [MaybeUninit<Header<'b>>; Limits::MAX_FIELDS];

/// Parses the head at the front of `window`.
///
/// `None` if the head is not whole, or not right: what is wrong with it is for `lines.rs` to say.
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
        method: place(bytes, request.method?.as_bytes()),
        target: place(bytes, request.path?.as_bytes()),
        version: match request.version? {
            0 => Version::HTTP_10,
            _ => Version::HTTP_11,
        },
        fields: request.headers,
    };
    head.is_strict(limits).then_some(head)
}

impl Parsed<'_, '_> {
    /// All bytes of the head.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes
    }

    /// How many fields there are.
    pub(super) fn field_count(&self) -> usize {
        self.fields.len()
    }

    /// Where each field has its name, and its value without the whitespace around it.
    pub(super) fn fields(&self) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        self.fields.iter().map(|field| {
            let name = place(self.bytes, field.name.as_bytes());
            // An empty value may be any empty slice.
            let value = match field.value {
                [] => name.end..name.end,
                value => place(self.bytes, value),
            };
            (name, value)
        })
    }

    /// Refuses what `httparse` lets through: see the table above.
    fn is_strict(&self, limits: &Limits) -> bool {
        let (bytes, end) = (self.bytes, self.bytes.len());
        let empty_lines = || bytes[..self.method.start].chunks(CRLF.len());
        let line_end = self.target.end + VERSION.len();
        // A line before a field's, or before the empty one at the end, ends just before the next begins.
        let mut fields = self.fields.iter();
        line_end - self.method.start <= limits.max_request_line
            && (self.method.start == 0
                || empty_lines().len() <= MAX_EMPTY_LINES && empty_lines().all(|line| line == CRLF))
            && is_crlf_before(bytes, line_end + CRLF.len())
            && fields.all(|field| is_crlf_before(bytes, place(bytes, field.name.as_bytes()).start))
            && is_crlf_before(bytes, end - CRLF.len())
            && is_crlf_before(bytes, end)
    }
}

/// A head that is right by `lines.rs`, with its minor version as one that `httparse` knows: 1.2 to
/// 1.9 are read as 1.1 (RFC 9110 §2.5). The version ends at `version_end`.
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

/// What stands behind a target, as long as any version is.
const VERSION: &[u8] = b" HTTP/1.1";

fn is_crlf_before(bytes: &[u8], at: usize) -> bool {
    bytes.get(at - CRLF.len()..at) == Some(CRLF)
}

/// Where in `head` a part of it lies.
fn place(head: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr().addr() - head.as_ptr().addr();
    start..start + part.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: Fields<'_> = [const { MaybeUninit::uninit() }; Limits::MAX_FIELDS];

    fn shown(head: &str) -> Option<String> {
        let mut fields = EMPTY;
        let parsed = parse(head.as_bytes(), &Limits::default(), &mut fields)?;
        let (method, target) = (parsed.method.clone(), parsed.target.clone());
        let mut shown = format!("{}|{}|{:?}", &head[method], &head[target], parsed.version);
        for (name, value) in parsed.fields() {
            shown += &format!("|{}={}", &head[name], &head[value]);
        }
        Some(format!("{shown}|{}", &head[parsed.bytes().len()..]))
    }

    #[test]
    fn takes_a_head_apart() {
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
    fn an_unfinished_head_is_none() {
        let head = "GET / HTTP/1.1\r\na: b\r\nc: d\r\n\r\n";
        for end in 0..head.len() {
            assert_eq!(shown(&head[..end]), None, "{end}");
        }
    }

    #[test]
    fn refuses_what_httparse_lets_through() {
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
        for wrong in [
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
        let is_parsed = |head: &str| parse(head.as_bytes(), &limits, &mut { EMPTY }).is_some();
        assert!(is_parsed("\r\nGET / HTTP/1.1\r\na:\r\nb:\r\n\r\n"));
        assert!(!is_parsed("GET / HTTP/1.1\r\na:\r\nb:\r\nc:\r\n\r\n"));
        assert!(!is_parsed("GET /a HTTP/1.1\r\n\r\n"));
    }

    #[test]
    fn a_later_minor_version_is_read_as_1_1() {
        let head = b"GET / HTTP/1.7\r\n\r\n";
        assert_eq!(&*with_known_version(head, 14), b"GET / HTTP/1.1\r\n\r\n");
        let head = b"GET / HTTP/1.0\r\n\r\n";
        assert_eq!(&*with_known_version(head, 14), head);
    }
}
