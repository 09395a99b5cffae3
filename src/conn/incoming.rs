//! A request whose body is being received.

use log::trace;

use super::chunked::{Chunk, ChunkedDecoder};
use super::framing::Framing;
use super::head::Head;
use super::memory::{Account, GrowingBody};
use super::refusal::Refusal;
use super::shared::Context;
use crate::log_text::Escaped;
use crate::request::Request;

/// A request with a complete head, and the part of its body received so far.
#[derive(Debug)]
pub(super) struct Incoming {
    /// The request without its body.
    request: Request,
    /// The part of its body received so far.
    body: GrowingBody,
    /// Whether the connection persists after it.
    pub(super) persist: bool,
    decoder: Decoder,
    /// Bytes of memory that the head takes.
    head_size: usize,
    /// Bytes of the body received in the current rate window.
    pub(super) in_window: u64,
}

/// How the end of the body is found.
#[derive(Debug)]
enum Decoder {
    /// `Content-Length`: the number of bytes still missing.
    Length(u64),
    Chunked(ChunkedDecoder),
}

impl Incoming {
    pub(super) fn new(mut head: Head) -> Self {
        let decoder = match head.framing {
            Framing::None => Decoder::Length(0),
            Framing::Length(length) => Decoder::Length(length),
            Framing::Chunked => Decoder::Chunked(ChunkedDecoder::new()),
        };
        Self {
            body: GrowingBody::new(std::mem::take(head.request.body_mut())),
            request: head.request,
            persist: head.persist,
            decoder,
            head_size: head.size,
            in_window: 0,
        }
    }

    /// Bytes of memory that the request holds.
    pub(super) fn held(&self) -> usize {
        self.head_size + self.body.capacity()
    }

    /// Consumes bytes of the body from the front of `input`, and returns whether the body is
    /// complete. `id` and `account` are the connection's.
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
                        // Not counting `data`.
                        Decoder::Length(missing) => Some(*missing),
                        Decoder::Chunked(_) => None,
                    };
                    self.body.append(data, missing, account, cx)?;
                    // Chunk headers don't count as progress: only data does.
                    self.in_window += data.len() as u64;
                    // Not at `debug`: bodies of forms may contain passwords.
                    trace!(
                        target: "mini_http::conn",
                        "conn {id}: body bytes: {}, {} in all: {}",
                        data.len(), self.body.len(), Escaped(data)
                    );
                }
                Chunk::End => return Ok(true),
                Chunk::NeedInput => return Ok(false),
            }
        }
    }

    /// The request with its complete body.
    pub(super) fn into_request(self) -> Result<Request, Refusal> {
        let mut request = self.request;
        // Of an announced body, the memory is as long as the body: there is nothing to trim.
        let is_announced = matches!(self.decoder, Decoder::Length(_));
        *request.body_mut() = self.body.into_piece(is_announced)?;
        Ok(request)
    }
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
