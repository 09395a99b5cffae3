//! The strict grammar of a request's head (RFC 9112 §2.2, §3 and §5), byte by byte.

use crate::conn::field_lines::{FieldLines, Scanned, bare_cr, bare_lf};
use crate::conn::grammar::{TOKEN, VISIBLE};
use crate::conn::refusal::Refusal;
use crate::limits::Limits;

/// Finds the end of a head whose bytes come in pieces, and its first fault, looking at each byte
/// once: a client that sends byte by byte costs no more than one that sends at once, and gets its
/// refusal with the byte that earns it.
#[derive(Clone, Debug)]
pub(in crate::conn) struct HeadScanner {
    at: At,
    /// Empty lines before the request line.
    empty_lines: u8,
    /// Bytes seen.
    seen: u32,
    /// Where the request line begins.
    start: u32,
    fields: u16,
}

/// What the scanner has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::conn) enum Scan {
    /// All bytes are looked at and the head goes on.
    NeedInput,
    /// The head is whole: it lies between these two places, counted from its first byte.
    Whole { start: usize, end: usize },
}

/// Where in a head the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Before the request line.
    Start,
    /// Behind the CR of an empty line before it.
    EmptyLf,
    Method,
    TargetStart,
    Target,
    /// In `HTTP/`, behind so many of its letters.
    VersionName(u8),
    Major,
    Dot {
        major: u8,
    },
    Minor {
        major: u8,
    },
    VersionEnd {
        major: u8,
    },
    RequestLineLf,
    Fields(FieldLines),
}

impl HeadScanner {
    /// A client may send an empty line or two behind a previous body (RFC 9112 §2.2).
    const MAX_EMPTY_LINES: u8 = 2;

    pub(in crate::conn) const fn new() -> Self {
        Self {
            at: At::Start,
            empty_lines: 0,
            seen: 0,
            start: 0,
            fields: 0,
        }
    }

    /// Bytes looked at so far, from the first.
    pub(in crate::conn) const fn seen(&self) -> usize {
        self.seen as usize
    }

    /// Whether the request line has begun.
    pub(in crate::conn) fn has_request(&self) -> bool {
        !matches!(self.at, At::Start | At::EmptyLf)
    }

    /// Looks at the bytes that follow those seen.
    pub(in crate::conn) fn scan(&mut self, more: &[u8], limits: &Limits) -> Result<Scan, Refusal> {
        for &byte in more {
            self.seen += 1;
            if self.seen as usize > limits.max_head {
                return Err(Refusal::headers_too_large(
                    "the head is larger than this server accepts",
                ));
            }
            match &mut self.at {
                At::Fields(lines) => match lines.scan(byte)? {
                    Scanned::More => {}
                    Scanned::FieldBegan => {
                        self.fields += 1;
                        if usize::from(self.fields) > limits.max_fields {
                            return Err(Refusal::headers_too_large("there are too many fields"));
                        }
                    }
                    Scanned::End => {
                        let (start, end) = (self.start as usize, self.seen as usize);
                        return Ok(Scan::Whole { start, end });
                    }
                },
                at => {
                    *at = at.next(byte)?;
                    match *at {
                        At::EmptyLf => {
                            self.empty_lines += 1;
                            if self.empty_lines > Self::MAX_EMPTY_LINES {
                                return Err(Refusal::malformed("too many empty lines"));
                            }
                        }
                        At::Start => self.start = self.seen,
                        At::RequestLineLf | At::Fields(_) => {}
                        At::Method
                        | At::TargetStart
                        | At::Target
                        | At::VersionName(_)
                        | At::Major
                        | At::Dot { .. }
                        | At::Minor { .. }
                        | At::VersionEnd { .. } => {
                            if (self.seen - self.start) as usize > limits.max_request_line {
                                return Err(Refusal::uri_too_long());
                            }
                        }
                    }
                }
            }
        }
        Ok(Scan::NeedInput)
    }
}

impl At {
    const VERSION_NAME: &'static [u8; 5] = b"HTTP/";

    /// The place behind `byte`.
    fn next(self, byte: u8) -> Result<Self, Refusal> {
        match self {
            Self::Start => match byte {
                b'\r' => Ok(Self::EmptyLf),
                b'\n' => Err(bare_lf()),
                _ if TOKEN.contains(byte) => Ok(Self::Method),
                _ => Err(Refusal::malformed("the method is not a token")),
            },
            Self::EmptyLf => match byte {
                b'\n' => Ok(Self::Start),
                _ => Err(bare_cr()),
            },
            Self::Method => match byte {
                b' ' => Ok(Self::TargetStart),
                _ if TOKEN.contains(byte) => Ok(Self::Method),
                _ => Err(Refusal::malformed("the method is not a token")),
            },
            Self::TargetStart => match byte {
                _ if VISIBLE.contains(byte) => Ok(Self::Target),
                _ => Err(Refusal::malformed("the request target is missing")),
            },
            Self::Target => match byte {
                b' ' => Ok(Self::VersionName(0)),
                b'\r' | b'\n' => Err(Refusal::malformed("the request line has no version")),
                _ if VISIBLE.contains(byte) => Ok(Self::Target),
                _ => Err(Refusal::malformed(
                    "the request target has a forbidden byte",
                )),
            },
            Self::VersionName(seen) => {
                if byte != Self::VERSION_NAME[usize::from(seen)] {
                    return Err(malformed_version());
                }
                Ok(match seen + 1 {
                    5 => Self::Major,
                    seen => Self::VersionName(seen),
                })
            }
            Self::Major if byte.is_ascii_digit() => Ok(Self::Dot { major: byte }),
            Self::Dot { major } if byte == b'.' => Ok(Self::Minor { major }),
            Self::Minor { major } if byte.is_ascii_digit() => Ok(Self::VersionEnd { major }),
            Self::Major | Self::Dot { .. } | Self::Minor { .. } => Err(malformed_version()),
            Self::VersionEnd { major } => match byte {
                b'\r' if major == b'1' => Ok(Self::RequestLineLf),
                b'\r' => Err(Refusal::version()),
                b'\n' => Err(bare_lf()),
                _ => Err(malformed_version()),
            },
            Self::RequestLineLf => match byte {
                b'\n' => Ok(Self::Fields(FieldLines::LineStart)),
                _ => Err(bare_cr()),
            },
            Self::Fields(_) => Ok(self),
        }
    }
}

const fn malformed_version() -> Refusal {
    Refusal::malformed("the version is not HTTP/1.1 or HTTP/1.0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(bytes: &[u8], piece: usize) -> Result<Scan, u16> {
        let mut scanner = HeadScanner::new();
        for piece in bytes.chunks(piece) {
            match scanner.scan(piece, &Limits::default()) {
                Ok(Scan::NeedInput) => {}
                Ok(whole) => return Ok(whole),
                Err(refusal) => return Err(refusal.status().as_u16()),
            }
        }
        Ok(Scan::NeedInput)
    }

    #[test]
    fn finds_the_end_in_pieces_of_any_size() {
        let head = b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET";
        for piece in 1..=head.len() {
            let whole = Scan::Whole {
                start: 4,
                end: head.len() - 3,
            };
            assert_eq!(scan(head, piece), Ok(whole));
        }
    }

    #[test]
    fn judges_with_the_byte_that_earns_it() {
        let cases: [(&[u8], u16); 22] = [
            (b"\x16\x03\x01", 400),
            (b"\r\n\r\n\r", 400),
            (b"\n", 400),
            (b"\rG", 400),
            (b" ", 400),
            (b"GET\r", 400),
            (b"GET  ", 400),
            (b"GET /\r", 400),
            (b"GET /\xC3", 400),
            (b"GET /\t", 400),
            (b"GET / http", 400),
            (b"GET / HTTP/1.1 ", 400),
            (b"GET / HTTP/1.1\n", 400),
            (b"GET / HTTP/1.1\rX", 400),
            (b"GET / HTTP/11", 400),
            (b"GET / HTTP/1.10", 400),
            (b"PRI * HTTP/2.0\r", 505),
            (b"GET / HTTP/0.9\r", 505),
            (b"GET / HTTP/3.1\r", 505),
            (b"GET / HTTP/1.1\r\n ", 400),
            (b"GET / HTTP/1.1\r\na\r", 400),
            (b"GET / HTTP/1.1\r\n\n", 400),
        ];
        for (bytes, status) in cases {
            assert_eq!(scan(bytes, 1), Err(status), "{bytes:?}");
            let before = &bytes[..bytes.len() - 1];
            // The TLS hello is refused with its first byte, `http` with its `h`.
            if !before.starts_with(b"\x16") && !before.ends_with(b"htt") && !before.is_empty() {
                assert_eq!(scan(before, 1), Ok(Scan::NeedInput), "{before:?}");
            }
        }
    }

    #[test]
    fn bounds_are_inclusive() {
        let line = |length: usize| {
            format!(
                "GET /{} HTTP/1.1\r\n\r\n",
                "a".repeat(length - "GET / HTTP/1.1".len())
            )
        };
        assert!(matches!(
            scan(line(8192).as_bytes(), 1),
            Ok(Scan::Whole { .. })
        ));
        assert_eq!(scan(line(8193).as_bytes(), 1), Err(414));
        let fields = |count| format!("GET / HTTP/1.1\r\n{}\r\n", "a:b\r\n".repeat(count));
        assert!(matches!(
            scan(fields(100).as_bytes(), 7),
            Ok(Scan::Whole { .. })
        ));
        assert_eq!(scan(fields(101).as_bytes(), 7), Err(431));
        let head =
            |length: usize| format!("GET / HTTP/1.1\r\na:{}\r\n\r\n", "b".repeat(length - 22));
        assert!(matches!(
            scan(head(65536).as_bytes(), 99),
            Ok(Scan::Whole { .. })
        ));
        assert_eq!(scan(head(65537).as_bytes(), 99), Err(431));
    }
}
