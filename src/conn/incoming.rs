//! A request whose body is coming.

use log::trace;

use super::chunked::{Chunk, ChunkedDecoder};
use super::framing::Framing;
use super::head::Head;
use super::memory::{Account, append, trim};
use super::refusal::Refusal;
use super::shared::Context;
use crate::log_text::Escaped;
use crate::request::Request;

/// A request whose head is whole, and as much of its body as has come.
#[derive(Debug)]
pub(super) struct Incoming {
    /// The request with as much of its body as has come.
    request: Request,
    /// Whether the connection persists behind it.
    pub(super) persist: bool,
    decoder: Decoder,
    /// Bytes that the head takes.
    head_size: usize,
    /// Bytes that came in the current window of the rate.
    pub(super) in_window: u64,
}

/// How the body's bytes are told from what follows them.
#[derive(Debug)]
enum Decoder {
    /// So many bytes are missing.
    Length(u64),
    Chunked(ChunkedDecoder),
}

impl Incoming {
    pub(super) fn new(head: Head) -> Self {
        let decoder = match head.framing {
            Framing::None => Decoder::Length(0),
            Framing::Length(length) => Decoder::Length(length),
            Framing::Chunked => Decoder::Chunked(ChunkedDecoder::new()),
        };
        Self {
            request: head.request,
            persist: head.persist,
            decoder,
            head_size: head.size,
            in_window: 0,
        }
    }

    /// Bytes of memory that the request holds.
    pub(super) fn held(&self) -> usize {
        self.head_size + (*self.request).body().capacity()
    }

    /// Takes the body's bytes from the front of `input`, and tells whether it is whole.
    /// `id` and `account` are the connection's.
    pub(super) fn read(
        &mut self,
        cx: &mut Context<'_>,
        id: u64,
        account: &mut Account,
        input: &mut &[u8],
    ) -> Result<bool, Refusal> {
        loop {
            let chunk = match &mut self.decoder {
                Decoder::Length(0) => Chunk::End,
                Decoder::Length(missing) => {
                    let available = u64::try_from(input.len()).unwrap_or(u64::MAX);
                    // No loss: the smaller of the two is the length of a slice.
                    let (data, rest) = input.split_at(available.min(*missing) as usize);
                    *input = rest;
                    *missing -= data.len() as u64;
                    if data.is_empty() {
                        Chunk::NeedInput
                    } else {
                        Chunk::Data(data)
                    }
                }
                Decoder::Chunked(decoder) => {
                    let before = *input;
                    let decoded = decoder.decode(input, cx.limits);
                    let taken = before.len() - input.len();
                    decoded.inspect_err(|_| log_refused_chunk(id, decoder, &before[..taken]))?
                }
            };
            match chunk {
                Chunk::Data(data) => {
                    let missing = match &self.decoder {
                        // Without `data`.
                        Decoder::Length(missing) => Some(*missing),
                        Decoder::Chunked(_) => None,
                    };
                    append(self.request.body_mut(), data, missing, account, cx)?;
                    // What chunks cost beside their data is no progress.
                    self.in_window += data.len() as u64;
                    // Not at `debug`: bodies of forms have passwords.
                    trace!(
                        target: "mini_http::conn",
                        "conn {id}: body bytes: {}, {} in all: {}",
                        data.len(), self.request.body().len(), Escaped(data)
                    );
                }
                Chunk::End => return Ok(true),
                Chunk::NeedInput => return Ok(false),
            }
        }
    }

    /// The request with its body, which is whole.
    pub(super) fn into_request(mut self) -> Request {
        match self.decoder {
            // It has the memory that was announced.
            Decoder::Length(_) => {}
            Decoder::Chunked(_) => trim(self.request.body_mut()),
        }
        self.request
    }
}

/// Logs the bytes of a chunked body that end with its fault. A trailer may be a secret, and its name
/// may have come in an earlier piece: trailers are not shown.
#[cold]
fn log_refused_chunk(id: u64, decoder: &ChunkedDecoder, taken: &[u8]) {
    if !decoder.is_in_trailers() {
        trace!(
            target: "mini_http::conn",
            "conn {id}: refused chunk: {}, {}", taken.len(), Escaped(taken)
        );
    }
}
