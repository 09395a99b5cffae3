//! The lines of a header or trailer section, scanned byte by byte (RFC 9112 §5).
//!
//! Strict where the RFC lets a recipient choose: lines end with CRLF, nothing stands between name
//! and colon, a line that begins with whitespace (`obs-fold`) is refused.

use super::grammar::{FIELD_VALUE, TOKEN};
use super::refusal::Refusal;

/// Where in a section of field lines the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldLines {
    /// At the start of a line: of a field, or of the empty line that ends the section.
    LineStart,
    /// Within a field's name.
    Name,
    /// Behind a field's colon.
    Value,
    /// Behind a field's CR.
    LineLf,
    /// Behind the CR of the empty line.
    EndLf,
}

/// What a byte meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scanned {
    /// It belongs to a line.
    More,
    /// It is the first of another field's name.
    FieldBegan,
    /// It ends the section.
    End,
}

impl FieldLines {
    /// Takes the next byte.
    pub(super) fn scan(&mut self, byte: u8) -> Result<Scanned, Refusal> {
        let next = match *self {
            Self::LineStart => match byte {
                b'\r' => Self::EndLf,
                b' ' | b'\t' => {
                    return Err(Refusal::malformed(
                        "a line begins with whitespace (obs-fold)",
                    ));
                }
                b':' => return Err(Refusal::malformed("a field name is empty")),
                b'\n' => return Err(bare_lf()),
                _ if TOKEN.contains(byte) => {
                    *self = Self::Name;
                    return Ok(Scanned::FieldBegan);
                }
                _ => return Err(Refusal::malformed("a field name is not a token")),
            },
            Self::Name => match byte {
                b':' => Self::Value,
                b' ' | b'\t' => {
                    return Err(Refusal::malformed(
                        "whitespace stands before a field's colon",
                    ));
                }
                b'\r' | b'\n' => return Err(Refusal::malformed("a field line has no colon")),
                _ if TOKEN.contains(byte) => Self::Name,
                _ => return Err(Refusal::malformed("a field name is not a token")),
            },
            Self::Value => match byte {
                b'\r' => Self::LineLf,
                b'\n' => return Err(bare_lf()),
                _ if FIELD_VALUE.contains(byte) => Self::Value,
                _ => return Err(Refusal::malformed("a field value has a control character")),
            },
            Self::LineLf => match byte {
                b'\n' => Self::LineStart,
                _ => return Err(bare_cr()),
            },
            Self::EndLf => match byte {
                b'\n' => return Ok(Scanned::End),
                _ => return Err(bare_cr()),
            },
        };
        *self = next;
        Ok(Scanned::More)
    }
}

pub(super) const fn bare_cr() -> Refusal {
    Refusal::malformed("a CR is not followed by LF")
}

pub(super) const fn bare_lf() -> Refusal {
    Refusal::malformed("a line ends with LF alone, not CRLF")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(bytes: &[u8]) -> Result<(usize, bool), Refusal> {
        let mut lines = FieldLines::LineStart;
        let mut fields = 0;
        for &byte in bytes {
            match lines.scan(byte)? {
                Scanned::More => {}
                Scanned::FieldBegan => fields += 1,
                Scanned::End => return Ok((fields, true)),
            }
        }
        Ok((fields, false))
    }

    #[test]
    fn counts_the_fields_of_a_section() {
        assert_eq!(scan(b"\r\n"), Ok((0, true)));
        assert_eq!(scan(b"a: b\r\nc:\r\nd:\t\xFFe \r\n\r\n"), Ok((3, true)));
        assert_eq!(scan(b"a: b\r\nc"), Ok((2, false)));
    }

    #[test]
    fn refuses_what_smuggling_is_made_of() {
        for bad in [
            "a: b\n",
            "a: b\r\n\n",
            "a: b\rc\r\n",
            "a : b\r\n",
            " a: b\r\n",
            "a: b\r\n c\r\n",
            ": b\r\n",
            "a\r\n",
            "a\n",
            "a: \0\r\n",
            "a: \x7F\r\n",
            "a(: b\r\n",
            "\rX",
            "\u{e9}: b",
        ] {
            assert!(scan(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }
}
