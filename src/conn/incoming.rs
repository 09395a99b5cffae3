//! A request whose body is coming.

use super::chunked::{Chunk, ChunkedDecoder};
use super::fault::Fault;
use super::framing::Framing;
use super::head::Head;
use super::shared::{BodyPool, Context};
use crate::request::Request;

/// A request whose head is whole, and as much of its body as has come.
#[derive(Debug)]
pub(super) struct Incoming {
    /// The request, with as much of its body as has come.
    pub(super) request: Request,
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
    /// The most memory that an announced length is believed for.
    const MAX_BELIEVED: usize = 64 << 10;

    /// The least that a body grows by, if there can be so much of it.
    const LEAST_GROWTH: usize = 4 << 10;

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
        self.head_size + http::Request::body(&self.request).capacity()
    }

    /// Takes the body's bytes from the front of `input`, and tells whether it is whole.
    /// `accounted` is what the connection has told the budget that it holds.
    pub(super) fn read(
        &mut self,
        cx: &mut Context<'_>,
        accounted: &mut usize,
        input: &mut &[u8],
    ) -> Result<bool, Fault> {
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
                Decoder::Chunked(decoder) => decoder.decode(input, cx.limits)?,
            };
            match chunk {
                Chunk::Data(data) => {
                    self.grow(cx, accounted, data.len())?;
                    self.request.body_mut().extend_from_slice(data);
                }
                Chunk::End => return Ok(true),
                Chunk::NeedInput => return Ok(false),
            }
        }
    }

    /// Makes room for `more` bytes within the budget.
    fn grow(
        &mut self,
        cx: &mut Context<'_>,
        accounted: &mut usize,
        more: usize,
    ) -> Result<(), Fault> {
        let body = self.request.body_mut();
        let (length, capacity) = (body.len(), body.capacity());
        let needed = length.saturating_add(more);
        if needed <= capacity {
            return Ok(());
        }
        if let Decoder::Length(missing) = &self.decoder
            && let Some(pooled) = pooled(cx, needed, *missing, capacity)
        {
            let grown = pooled.capacity() - capacity;
            let small = std::mem::replace(body, pooled);
            body.extend_from_slice(&small);
            cx.shared.budget.replace(0, grown);
            *accounted += grown;
            return Ok(());
        }
        let exact = needed - capacity;
        let generous = match &self.decoder {
            // `missing` has `more` subtracted already.
            Decoder::Length(missing) => {
                let missing = usize::try_from(*missing).unwrap_or(usize::MAX);
                needed.saturating_add(missing.min(length.max(Self::MAX_BELIEVED))) - capacity
            }
            Decoder::Chunked(_) => exact.max(capacity),
        };
        // Each step may copy the body, so there must be few of them however small the pieces are.
        let modest = generous.min(exact.max(capacity / 8).max(Self::LEAST_GROWTH));
        let budget = &mut cx.shared.budget;
        let granted = if budget.has_room(generous, cx.limits) {
            generous
        } else if budget.has_room(modest, cx.limits) {
            modest
        } else {
            return Err(Fault::overloaded());
        };
        body.try_reserve_exact(capacity - length + granted)
            .map_err(|_| Fault::overloaded())?;
        let grown = body.capacity() - capacity;
        budget.replace(0, grown);
        *accounted += grown;
        Ok(())
    }
}

/// The memory of a former body for a large one of this length and `missing` bytes, in place of the
/// `capacity` that it has, if it fits into the budget.
fn pooled(cx: &mut Context<'_>, length: usize, missing: u64, capacity: usize) -> Option<Vec<u8>> {
    let whole = length.checked_add(usize::try_from(missing).ok()?)?;
    if whole <= BodyPool::SMALL {
        return None;
    }
    let bodies = &mut cx.shared.buffers.bodies;
    let buffer = bodies.take(whole)?;
    if cx
        .shared
        .budget
        .has_room(buffer.capacity() - capacity, cx.limits)
    {
        return Some(buffer);
    }
    bodies.keep(buffer);
    None
}
