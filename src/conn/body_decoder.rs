//! Finds the parts and the end of a request's body in its input. The caller decides what to do with the bytes: to
//! collect them, or to pass them on in parts.

use crate::log::trace;

use super::chunked::{Chunk, ChunkedDecoder};
use super::framing::Framing;
use super::refusal::Refusal;
use crate::limits::Limits;
use crate::log_text::Escaped;

/// How the end of a body is found.
#[derive(Debug)]
pub(super) enum BodyDecoder {
    /// `Content-Length`: the number of bytes still missing.
    Length(u64),
    Chunked(ChunkedDecoder),
}

impl BodyDecoder {
    pub(super) fn new(framing: Framing) -> Self {
        match framing {
            Framing::None => Self::Length(0),
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(ChunkedDecoder::new()),
        }
    }

    /// The number of bytes that are missing, if the length was announced.
    pub(super) fn missing(&self) -> Option<u64> {
        match self {
            Self::Length(missing) => Some(*missing),
            Self::Chunked(_) => None,
        }
    }

    /// Whether the end of the body has been consumed.
    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Length(missing) => *missing == 0,
            Self::Chunked(decoder) => decoder.is_done(),
        }
    }

    /// Consumes bytes from the front of `input`, and returns the next part of the body: see
    /// [`ChunkedDecoder::decode`]. A chunked body of more than `max_body` bytes is refused. `id` is the
    /// connection's number.
    pub(super) fn next<'a>(
        &mut self,
        id: u64,
        input: &mut &'a [u8],
        limits: &Limits,
        max_body: u64,
        trailers: Option<&mut Vec<u8>>,
    ) -> Result<Chunk<'a>, Refusal> {
        match self {
            Self::Length(0) => Ok(Chunk::End),
            Self::Length(missing) => {
                let available = u64::try_from(input.len()).unwrap_or(u64::MAX);
                // No loss: it is at most the length of a slice.
                let (data, rest) = input.split_at(available.min(*missing) as usize);
                *input = rest;
                *missing -= data.len() as u64;
                Ok(if data.is_empty() {
                    Chunk::NeedInput
                } else {
                    Chunk::Data(data)
                })
            }
            Self::Chunked(decoder) => {
                let before = *input;
                let decoded = decoder.decode_into(input, limits, max_body, trailers);
                let taken = before.len() - input.len();
                decoded.inspect_err(|_| log_refused_chunk(id, decoder, &before[..taken]))
            }
        }
    }
}

/// Logs bytes of a body; `total` have arrived with them. Not at `debug`: bodies of forms may contain
/// passwords.
pub(super) fn log_data(id: u64, data: &[u8], total: u64) {
    trace!(
        target: "mini_http::conn",
        "conn {id}: body bytes: {}, {total} in all: {}", data.len(), Escaped(data)
    );
}

/// Logs the bytes of a malformed chunked body, up to the fault. Trailers are not logged: they may be
/// secret, and can't be masked because the field's name may have arrived in an earlier piece.
#[cold]
fn log_refused_chunk(id: u64, decoder: &ChunkedDecoder, taken: &[u8]) {
    if !decoder.is_in_trailers() {
        trace!(
            target: "mini_http::conn",
            "conn {id}: refused chunk: {}, {}", taken.len(), Escaped(taken)
        );
    }
}
