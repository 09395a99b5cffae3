//! A request whose body is being received, to be handled when it is complete.

use super::body_decoder::{BodyDecoder, log_data};
use super::chunked::Chunk;
use super::head::Head;
use super::memory::{Account, GrowingBody};
use super::refusal::Refusal;
use super::shared::Context;
use crate::request::Request;

/// A request with a complete head, and the part of its body received so far.
#[derive(Debug)]
pub(super) struct PartialRequest {
    /// The request without its body.
    request: Request,
    /// The part of its body received so far.
    body: GrowingBody,
    /// Whether the connection persists after it.
    pub(super) persist: bool,
    decoder: BodyDecoder,
    /// Bytes of memory that the head takes.
    head_size: usize,
    /// Bytes of the body received in the current rate window.
    pub(super) in_window: u64,
}

impl PartialRequest {
    pub(super) fn new(mut head: Head) -> Self {
        Self {
            body: GrowingBody::new(std::mem::take(head.request.body_mut())),
            decoder: BodyDecoder::new(head.framing),
            head_size: head.size(),
            request: head.request,
            persist: head.persist,
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
        let max_body = cx.limits.max_body;
        loop {
            match self.decoder.next(id, input, cx.limits, max_body, None)? {
                Chunk::Data(data) => {
                    // After `data`.
                    let missing = self.decoder.missing();
                    self.body.append(data, missing, max_body, account, cx)?;
                    // Chunk headers don't count as progress: only data does.
                    self.in_window += data.len() as u64;
                    log_data(id, data, self.body.len() as u64);
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
        let is_announced = self.decoder.missing().is_some();
        *request.body_mut() = self.body.into_piece(is_announced)?;
        Ok(request)
    }
}
