//! Checks the decoder of chunked bodies: the result must be the same for whole input and for pieces, and the same as
//! that of a simple implementation of RFC 9112 §7.1, which works on complete lines.

use super::choices::Choices;
use mini_http::Limits;
use mini_http::conn::{Chunk, ChunkedDecoder};

/// The result of decoding some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// The body, and how many bytes follow it.
    Whole(Vec<u8>, usize),
    /// The body has not ended.
    Unfinished(Vec<u8>),
    /// Refused, with this status.
    Refused(u16),
}

pub(crate) fn check(data: &[u8]) {
    let (bytes, mut choices) = Choices::split(data);
    let mut limits = Limits::default();
    limits.max_body = choices.one_of(&[1 << 40, 0, 5, 20, 300, u64::MAX]);
    limits.max_chunk_extensions = choices.one_of(&[4 << 10, 0, 3, 10]);
    limits.max_trailers = choices.one_of(&[8 << 10, 0, 8, 40]);
    limits.max_fields = choices.one_of(&[100, 1, 3]);

    let whole = decode(bytes, &limits, || usize::MAX);
    let bytewise = decode(bytes, &limits, || 1);
    assert_eq!(whole, bytewise, "whole and byte by byte");
    let pieces = decode(bytes, &limits, || usize::from(choices.next()) + 1);
    assert_eq!(whole, pieces, "whole and in pieces");
    compare(bytes, &limits, &whole);
}

/// The chunked body at the front of `bytes` by the reference, and how many bytes are left.
pub(crate) fn read(bytes: &[u8], limits: &Limits) -> Option<(Vec<u8>, usize)> {
    match Reference::new(limits).read(bytes) {
        Read::Whole(body, left) => Some((body, left)),
        Read::InData(_) | Read::InLine(..) | Read::Refused(_) => None,
    }
}

fn decode(bytes: &[u8], limits: &Limits, mut piece: impl FnMut() -> usize) -> Outcome {
    let mut decoder = ChunkedDecoder::new();
    let mut body = Vec::new();
    let mut left = bytes;
    while !left.is_empty() {
        let (piece, behind) = left.split_at(piece().min(left.len()));
        let mut rest = piece;
        loop {
            match decoder.decode(&mut rest, limits) {
                Ok(Chunk::Data(data)) => {
                    assert!(!data.is_empty(), "empty data");
                    body.extend_from_slice(data);
                    assert!(body.len() as u64 <= limits.max_body, "more than the limit");
                }
                Ok(Chunk::NeedInput) => break,
                Ok(Chunk::End) => return Outcome::Whole(body, rest.len() + behind.len()),
                Err(fault) => return Outcome::Refused(fault.status().as_u16()),
            }
        }
        assert!(rest.is_empty(), "asks for input and has some");
        left = behind;
    }
    Outcome::Unfinished(body)
}

/// Compares an outcome with the reference. The reference checks a line when it is complete, but the
/// decoder refuses at the first byte that can't be valid. So for an incomplete line, this checks whether any
/// ending would make it valid.
fn compare(bytes: &[u8], limits: &Limits, outcome: &Outcome) {
    let reference = Reference::new(limits);
    match reference.read(bytes) {
        Read::Whole(body, left) => assert_eq!(*outcome, Outcome::Whole(body, left)),
        Read::Refused(statuses) => match outcome {
            Outcome::Refused(status) => assert!(statuses.contains(status), "{status}"),
            other => panic!("should be refused: {other:?}"),
        },
        Read::InData(body) => assert_eq!(*outcome, Outcome::Unfinished(body)),
        Read::InLine(body, _) => {
            // With some slack, the bytes that the ending adds don't count towards the limits.
            let valid_end = |slack: usize| {
                let reference = Reference { slack, ..reference };
                ENDS.into_iter().find(|end| {
                    match reference.read(&[bytes, end.as_bytes()].concat()) {
                        Read::Whole(..) | Read::InData(_) | Read::InLine(_, 0) => true,
                        Read::InLine(..) | Read::Refused(_) => false,
                    }
                })
            };
            match outcome {
                Outcome::Refused(_) => {
                    assert_eq!(valid_end(0), None, "refused, but would be valid with this");
                }
                Outcome::Unfinished(so_far) => {
                    assert_eq!(*so_far, body);
                    assert_ne!(valid_end(8), None, "waits, but no ending makes it valid");
                }
                Outcome::Whole(..) => panic!("whole, but its last line has no end"),
            }
        }
    }
}

/// Endings of lines. For every valid beginning of a line, one of them makes it a valid line.
const ENDS: [&str; 12] = [
    "\n", "\r\n", "0\r\n", ";a\r\n", "a\r\n", "=a\r\n", "\"\r\n", "a\"\r\n", ":\r\n", "a:\r\n",
    "\"\"\r\n", "\n\r\n",
];

/// The simple implementation of RFC 9112 §7.1, line by line.
#[derive(Clone, Copy)]
struct Reference<'a> {
    limits: &'a Limits,
    /// How many bytes extensions and trailers may have beyond their limits.
    slack: usize,
    announced: u64,
    extensions: usize,
}

enum Read {
    Whole(Vec<u8>, usize),
    /// The input ends within data or the CRLF after it.
    InData(Vec<u8>),
    /// The input ends within a line, after this many bytes of it.
    InLine(Vec<u8>, usize),
    /// With one of these statuses.
    Refused(Vec<u16>),
}

impl<'a> Reference<'a> {
    fn new(limits: &'a Limits) -> Self {
        Self {
            limits,
            slack: 0,
            announced: 0,
            extensions: 0,
        }
    }

    fn read(mut self, bytes: &[u8]) -> Read {
        let mut body = Vec::new();
        let mut rest = bytes;
        loop {
            let (line, after) = match split_line(rest) {
                Some((line, after)) => (line, Some(after)),
                None => (rest, None),
            };
            let digits = line
                .iter()
                .position(|byte| !byte.is_ascii_hexdigit())
                .unwrap_or(line.len());
            let text = std::str::from_utf8(&line[..digits.min(16)]).unwrap_or_default();
            let size = u64::from_str_radix(text, 16).unwrap_or(0);
            if size > self.limits.max_body - self.announced {
                return Read::Refused(vec![413]);
            }
            if digits > 16 {
                return Read::Refused(vec![400]);
            }
            let Some(after) = after else {
                return Read::InLine(body, line.len());
            };
            self.announced += size;
            self.extensions += line.len() - digits;
            let are_too_long = self.extensions > self.limits.max_chunk_extensions + self.slack;
            if digits == 0 || are_too_long || !are_extensions(&line[digits..]) {
                return Read::Refused(vec![400]);
            }
            if size == 0 {
                return self.trailers(body, after);
            }
            let available = usize::try_from(size).map_or(after.len(), |size| size.min(after.len()));
            let (data, behind) = after.split_at(available);
            body.extend_from_slice(data);
            match behind {
                [] | [b'\r'] => return Read::InData(body),
                [b'\r', b'\n', next @ ..] => rest = next,
                _ => return Read::Refused(vec![400]),
            }
        }
    }

    fn trailers(&self, body: Vec<u8>, bytes: &[u8]) -> Read {
        let (mut rest, mut taken, mut fields) = (bytes, 0, 0);
        loop {
            let Some((line, after)) = split_line(rest) else {
                // The CR of the last, empty line doesn't count as a trailer.
                let length = taken + if rest == b"\r" { 0 } else { rest.len() };
                let begins = usize::from(rest != b"\r" && !rest.is_empty());
                if length > self.limits.max_trailers + self.slack {
                    return Read::Refused(vec![400, 431]);
                }
                if fields + begins > self.limits.max_fields {
                    return Read::Refused(vec![400, 431]);
                }
                return Read::InLine(body, rest.len());
            };
            if line.is_empty() {
                return Read::Whole(body, after.len());
            }
            taken += line.len() + 2;
            fields += 1;
            let mut statuses = Vec::new();
            if taken > self.limits.max_trailers + self.slack || fields > self.limits.max_fields {
                statuses.push(431);
            }
            if !is_field_line(line) {
                statuses.push(400);
            }
            if !statuses.is_empty() {
                return Read::Refused(statuses);
            }
            rest = after;
        }
    }
}

/// The bytes before the first CRLF, and those after it.
fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    Some((&bytes[..end], &bytes[end + 2..]))
}

/// `*( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )`
fn are_extensions(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while !rest.is_empty() {
        let Some(after) = skip_blanks(rest).strip_prefix(b";") else {
            return false;
        };
        let Some(after) = skip_token(skip_blanks(after)) else {
            return false;
        };
        rest = after;
        if let Some(value) = skip_blanks(after).strip_prefix(b"=") {
            let value = skip_blanks(value);
            match skip_token(value).or_else(|| skip_quoted(value)) {
                Some(after) => rest = after,
                None => return false,
            }
        }
    }
    true
}

fn skip_blanks(bytes: &[u8]) -> &[u8] {
    let end = bytes
        .iter()
        .position(|byte| *byte != b' ' && *byte != b'\t');
    &bytes[end.unwrap_or(bytes.len())..]
}

fn skip_token(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes
        .iter()
        .position(|byte| !is_tchar(*byte))
        .unwrap_or(bytes.len());
    (end > 0).then(|| &bytes[end..])
}

fn skip_quoted(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.strip_prefix(b"\"")?;
    loop {
        rest = match rest {
            [b'"', after @ ..] => return Some(after),
            [b'\\', escaped, after @ ..] if is_text(*escaped) => after,
            [b'\\', ..] => return None,
            [byte, after @ ..] if is_text(*byte) => after,
            _ => return None,
        }
    }
}

/// `field-name ":" OWS field-value OWS`
pub(crate) fn is_field_line(line: &[u8]) -> bool {
    skip_token(line)
        .and_then(|after| after.strip_prefix(b":"))
        .is_some_and(|value| value.iter().all(|byte| is_text(*byte)))
}

/// HTAB, SP, VCHAR or obs-text.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= 0x20 && byte != 0x7f)
}

pub(crate) fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
