//! Decodes the chunked transfer coding (RFC 9112 §7.1) from pieces of any size.

use super::field_lines::{FieldLines, Scanned, bare_cr, bare_lf};
use super::grammar::{QUOTED, TOKEN};
use super::refusal::Refusal;
use crate::limits::Limits;

/// A decoder for one chunked body.
#[derive(Clone, Debug)]
pub struct ChunkedDecoder {
    state: ChunkState,
    /// The sum of the chunk sizes so far, in bytes.
    announced: u64,
    /// Bytes of chunk extensions so far.
    extensions: usize,
    /// Bytes of the trailer section so far.
    trailers: usize,
    /// Field lines of the trailer section so far.
    trailer_fields: usize,
}

/// The position of the next byte in a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChunkState {
    /// In a chunk size, after this many digits.
    Size { size: u64, digits: u8 },
    /// In a chunk's extensions.
    Extension { size: u64, at: Extension },
    /// After the CR of a chunk header.
    HeaderLf { size: u64 },
    /// In chunk data, of which this many bytes are left.
    Data { left: u64 },
    /// After chunk data.
    DataCr,
    /// After the CR that follows chunk data.
    DataLf,
    /// In the trailer section, after the last chunk.
    Trailers(FieldLines),
    /// After the end of the body.
    Done,
}

/// The position of the next byte in `chunk-ext` (RFC 9112 §7.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extension {
    /// After whitespace that follows the size or a value: only `;` is allowed.
    BeforeSemicolon,
    /// After `;`.
    NameStart,
    Name,
    /// After whitespace that follows a name: only `=` or `;` is allowed.
    AfterName,
    /// After `=`.
    ValueStart,
    Token,
    Quoted,
    /// After the backslash of a `quoted-pair`.
    QuotedPair,
    /// After the closing quote.
    AfterQuoted,
}

/// What [`ChunkedDecoder::decode`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk<'a> {
    /// Bytes of the body.
    Data(&'a [u8]),
    /// The end of the body and its trailers. The rest of the input belongs to the next request.
    End,
    /// All input is consumed, and the body is incomplete.
    NeedInput,
}

impl ChunkedDecoder {
    /// The most digits of a chunk size, leading zeros included: as many as fit in 64 bits.
    const MAX_SIZE_DIGITS: u8 = 16;

    /// A decoder before the first chunk.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: ChunkState::Size { size: 0, digits: 0 },
            announced: 0,
            extensions: 0,
            trailers: 0,
            trailer_fields: 0,
        }
    }

    /// Consumes bytes from the front of `input` and returns the next part of the body. Call it until
    /// it returns [`Chunk::NeedInput`] or [`Chunk::End`].
    ///
    /// # Errors
    /// A [`Refusal`] with status 400 for invalid syntax or more than `limits.max_chunk_extensions`
    /// bytes of extensions, 413 as soon as the chunk sizes exceed `limits.max_body`, 431 if the
    /// trailer section exceeds `limits.max_trailers` bytes or `limits.max_fields` field lines.
    pub fn decode<'a>(
        &mut self,
        input: &mut &'a [u8],
        limits: &Limits,
    ) -> Result<Chunk<'a>, Refusal> {
        self.decode_into(input, limits, limits.max_body, None)
    }

    /// [`decode`](Self::decode) with another limit on the body's length. The bytes of the trailer section are appended
    /// to `trailers`, with the empty line that ends it. They have been checked once this returns [`Chunk::End`].
    pub(super) fn decode_into<'a>(
        &mut self,
        input: &mut &'a [u8],
        limits: &Limits,
        max_body: u64,
        mut trailers: Option<&mut Vec<u8>>,
    ) -> Result<Chunk<'a>, Refusal> {
        loop {
            if let ChunkState::Data { left } = self.state {
                let available = u64::try_from(input.len()).unwrap_or(u64::MAX);
                // No loss: it is at most the length of a slice.
                let (data, rest) = input.split_at(left.min(available) as usize);
                *input = rest;
                self.state = match left - data.len() as u64 {
                    0 => ChunkState::DataCr,
                    left => ChunkState::Data { left },
                };
                return Ok(if data.is_empty() {
                    Chunk::NeedInput
                } else {
                    Chunk::Data(data)
                });
            }
            if self.is_done() {
                return Ok(Chunk::End);
            }
            let Some((&byte, rest)) = input.split_first() else {
                return Ok(Chunk::NeedInput);
            };
            *input = rest;
            if self.is_in_trailers()
                && let Some(trailers) = &mut trailers
            {
                trailers.push(byte);
            }
            self.state = self.step(byte, limits, max_body)?;
        }
    }

    /// Whether the next byte is in the trailer section.
    pub(super) fn is_in_trailers(&self) -> bool {
        matches!(self.state, ChunkState::Trailers(_))
    }

    /// Whether the end of the body has been consumed.
    pub(super) fn is_done(&self) -> bool {
        self.state == ChunkState::Done
    }

    /// The state after `byte`, which is not chunk data.
    fn step(&mut self, byte: u8, limits: &Limits, max_body: u64) -> Result<ChunkState, Refusal> {
        match self.state {
            ChunkState::Size { size, digits } => self.in_size(size, digits, byte, max_body),
            ChunkState::Extension { size, at } => {
                self.extensions += 1;
                if self.extensions > limits.max_chunk_extensions {
                    return Err(Refusal::malformed("the chunk extensions are too long"));
                }
                Ok(match at.next(byte)? {
                    Some(at) => ChunkState::Extension { size, at },
                    None => ChunkState::HeaderLf { size },
                })
            }
            ChunkState::HeaderLf { size } => match (byte, size) {
                (b'\n', 0) => Ok(ChunkState::Trailers(FieldLines::LineStart)),
                (b'\n', left) => Ok(ChunkState::Data { left }),
                _ => Err(bare_cr()),
            },
            ChunkState::DataCr => match byte {
                b'\r' => Ok(ChunkState::DataLf),
                _ => Err(Refusal::malformed("a chunk is longer than its size")),
            },
            ChunkState::DataLf => match byte {
                b'\n' => Ok(ChunkState::Size { size: 0, digits: 0 }),
                _ => Err(bare_cr()),
            },
            ChunkState::Trailers(lines) => self.in_trailers(lines, byte, limits),
            ChunkState::Data { .. } | ChunkState::Done => Ok(self.state),
        }
    }

    fn in_size(
        &mut self,
        size: u64,
        digits: u8,
        byte: u8,
        max_body: u64,
    ) -> Result<ChunkState, Refusal> {
        if let Some(digit) = char::from(byte).to_digit(16) {
            if digits == Self::MAX_SIZE_DIGITS {
                return Err(Refusal::malformed("a chunk size has too many digits"));
            }
            let size = size << 4 | u64::from(digit);
            if size > max_body.saturating_sub(self.announced) {
                return Err(Refusal::body_too_large());
            }
            return Ok(ChunkState::Size {
                size,
                digits: digits + 1,
            });
        }
        if digits == 0 {
            return Err(Refusal::malformed(
                "a chunk size is not a hexadecimal number",
            ));
        }
        // Can't overflow: each digit was checked to keep this sum within `max_body`.
        self.announced += size;
        match byte {
            b'\r' => Ok(ChunkState::HeaderLf { size }),
            b'\n' => Err(bare_lf()),
            b';' => Ok(ChunkState::Extension {
                size,
                at: Extension::NameStart,
            }),
            b' ' | b'\t' => Ok(ChunkState::Extension {
                size,
                at: Extension::BeforeSemicolon,
            }),
            _ => Err(Refusal::malformed(
                "a chunk size is not a hexadecimal number",
            )),
        }
    }

    fn in_trailers(
        &mut self,
        mut lines: FieldLines,
        byte: u8,
        limits: &Limits,
    ) -> Result<ChunkState, Refusal> {
        // The final CRLF, which every chunked body has, doesn't count as trailers.
        if !matches!(
            (lines, byte),
            (FieldLines::LineStart, b'\r') | (FieldLines::EndLf, _)
        ) {
            self.trailers += 1;
        }
        if self.trailers > limits.max_trailers {
            return Err(Refusal::headers_too_large(
                "the trailer section is too long",
            ));
        }
        match lines.scan(byte)? {
            Scanned::More => Ok(ChunkState::Trailers(lines)),
            Scanned::FieldBegan => {
                self.trailer_fields += 1;
                if self.trailer_fields > limits.max_fields {
                    return Err(Refusal::headers_too_large(
                        "there are too many trailer fields",
                    ));
                }
                Ok(ChunkState::Trailers(lines))
            }
            Scanned::End => Ok(ChunkState::Done),
        }
    }
}

impl Default for ChunkedDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Extension {
    /// The position after `byte`; `None` after the CR that ends the chunk header.
    fn next(self, byte: u8) -> Result<Option<Self>, Refusal> {
        if byte == b'\n' {
            return Err(bare_lf());
        }
        let is_ows = matches!(byte, b' ' | b'\t');
        let is_token = TOKEN.contains(byte);
        let next = match self {
            Self::BeforeSemicolon if byte == b';' => Self::NameStart,
            Self::BeforeSemicolon if is_ows => Self::BeforeSemicolon,
            Self::NameStart if is_ows => Self::NameStart,
            Self::NameStart | Self::Name if is_token => Self::Name,
            Self::Name | Self::AfterName if byte == b';' => Self::NameStart,
            Self::Name | Self::AfterName if byte == b'=' => Self::ValueStart,
            Self::Name | Self::AfterName if is_ows => Self::AfterName,
            Self::Name | Self::Token | Self::AfterQuoted if byte == b'\r' => return Ok(None),
            Self::ValueStart if is_ows => Self::ValueStart,
            Self::ValueStart if byte == b'"' => Self::Quoted,
            Self::ValueStart | Self::Token if is_token => Self::Token,
            Self::Token | Self::AfterQuoted if byte == b';' => Self::NameStart,
            Self::Token | Self::AfterQuoted if is_ows => Self::BeforeSemicolon,
            Self::Quoted if byte == b'"' => Self::AfterQuoted,
            Self::Quoted if byte == b'\\' => Self::QuotedPair,
            Self::Quoted if QUOTED.contains(byte) => Self::Quoted,
            // quoted-pair = "\" ( HTAB / SP / VCHAR / obs-text )
            Self::QuotedPair if QUOTED.contains(byte) || matches!(byte, b'"' | b'\\') => {
                Self::Quoted
            }
            Self::BeforeSemicolon
            | Self::NameStart
            | Self::Name
            | Self::AfterName
            | Self::ValueStart
            | Self::Token
            | Self::Quoted
            | Self::QuotedPair
            | Self::AfterQuoted => {
                return Err(Refusal::malformed("a chunk extension is malformed"));
            }
        };
        Ok(Some(next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body, and the number of bytes left after it; `None` if the body is incomplete.
    fn decode(input: &str, piece: usize) -> Result<Option<(Vec<u8>, usize)>, Refusal> {
        let limits = Limits {
            max_body: 100,
            ..Limits::default()
        };
        let mut decoder = ChunkedDecoder::new();
        let mut body = Vec::new();
        let mut taken = 0;
        for piece in input.as_bytes().chunks(piece) {
            let mut rest = piece;
            loop {
                match decoder.decode(&mut rest, &limits)? {
                    Chunk::Data(data) => body.extend_from_slice(data),
                    Chunk::NeedInput => break,
                    Chunk::End => {
                        taken += piece.len() - rest.len();
                        return Ok(Some((body, input.len() - taken)));
                    }
                }
            }
            taken += piece.len();
        }
        Ok(None)
    }

    #[test]
    fn decodes_in_pieces_of_any_size() {
        let input = "4\r\nwiki\r\n00A;a;b=c; d = \"x\\\"y\";e=\"\" ;f\r\npedia \r\nin\r\n0;z\r\nT: x\r\n\r\nGET";
        for piece in 1..=input.len() {
            assert_eq!(
                decode(input, piece),
                Ok(Some((b"wikipedia \r\nin".to_vec(), 3)))
            );
        }
    }

    #[test]
    fn refuses_broken_chunks() {
        for bad in [
            "x\r\n",
            "\r\n",
            ";a\r\n",
            "-1\r\n",
            "+1\r\n",
            "0x1\r\n",
            "1 \r\n",
            " 1\r\n",
            "1\n",
            "1\ra",
            "1;\r\n",
            "1;=a\r\n",
            "1;a=\r\n",
            "1;a \r\n",
            "1;a=\"b\r\n",
            "1;a=\"b\"c\r\n",
            "1;a\n",
            "1;a\0\r\n",
            "1\r\nab\r\n",
            "1\r\na\n",
            "1\r\na\rb",
            "1\r\n\r\n0",
            "00000000000000001\r\n",
            "0\r\nA : b\r\n",
            "0\r\n A: b\r\n",
            "0\r\nA: b\n",
            "0\r\n\n",
        ] {
            for piece in 1..=bad.len() {
                let fault = decode(bad, piece).expect_err(bad);
                assert_eq!(fault.status(), 400, "{bad:?}");
            }
        }
    }

    #[test]
    fn bounds_the_body_by_its_chunk_sizes() {
        assert_eq!(decode("65\r\n", 1).expect_err("101 bytes").status(), 413);
        assert_eq!(
            decode("1\r\na\r\n64\r\n", 1)
                .expect_err("101 bytes")
                .status(),
            413
        );
        assert_eq!(
            decode("FFFFFFFFFFFFFFFF\r\n", 3)
                .expect_err("2^64 bytes")
                .status(),
            413
        );
        assert_eq!(decode("64\r\n", 1), Ok(None));
    }

    #[test]
    fn bounds_extensions_and_trailers() {
        let extension = format!("1;{}", "a".repeat(4097));
        assert_eq!(decode(&extension, 99).expect_err("extension").status(), 400);
        let trailer = format!("0\r\na:{}", "b".repeat(8191));
        assert_eq!(decode(&trailer, 99).expect_err("trailer").status(), 431);
        let trailers = format!("0\r\n{}", "a:\r\n".repeat(101));
        assert_eq!(decode(&trailers, 99).expect_err("trailers").status(), 431);
    }
}
