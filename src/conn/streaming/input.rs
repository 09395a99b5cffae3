//! Input with streamed bodies: heads, parts of bodies, and the end of the client's stream.

use bytes::Bytes;

use super::body::Sink;
use super::timers::Timers;
use super::upgrade::Wish;
use super::{Received, Streaming, trailers};
use crate::conn::body_decoder::log_data;
use crate::conn::chunked::Chunk;
use crate::conn::head::Head;
use crate::conn::memory::{Account, GrowingBody};
use crate::conn::state::Reading;
use crate::conn::{Connection, Context, Framing, Refusal};

/// Events where bodies stream.
impl Connection {
    /// Consumes received bytes from the front of `input`, up to the first head or part of a body, and returns
    /// that. Call it until it returns `None`: all input is consumed then, or kept. With an empty `input` it continues
    /// with the bytes kept from earlier calls.
    #[must_use = "the handler needs what was received"]
    pub fn handle_input_streaming(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut &[u8],
    ) -> Option<Received> {
        let mut received = self.consume(cx, input, Self::advance_streaming);
        if received.is_none() && self.is_end_due() {
            self.end_input(cx);
            // The end may be a fault of the body.
            received = self.take_due();
        }
        // If something was received, the caller calls again.
        if received.is_none() || self.is_closed() {
            self.update_timers_and_budget(cx);
        }
        received
    }

    /// Records that the handler has to go on first. Call it if no call of
    /// [`handle_input_streaming`](Self::handle_input_streaming) follows although the last one has returned something.
    pub fn wait_for_handler(&mut self, cx: &mut Context<'_>) {
        self.end_input_if_due(cx);
        self.update_timers_and_budget(cx);
    }
}

impl Connection {
    /// Consumes `input` up to the first thing to return, or as far as it can be used now.
    fn advance_streaming(&mut self, cx: &mut Context<'_>, input: &mut &[u8]) -> Option<Received> {
        loop {
            if let Some(due) = self.take_due() {
                return Some(due);
            }
            match self.state.reading() {
                Reading::ProxyHeader => {
                    if !self.take_proxy_header(cx, input) {
                        return None;
                    }
                }
                Reading::Idle | Reading::Head => {
                    let head = self.next_head(cx, input)?;
                    return Some(self.pass_head(head));
                }
                Reading::Streaming => {
                    let received = self.read_streamed_body(cx, input);
                    if received.is_some() || self.state.reading() == Reading::Streaming {
                        return received;
                    }
                }
                Reading::Body(()) => {
                    debug_assert!(false, "bodies are gathered on this connection");
                    return None;
                }
                Reading::Responding => return None,
                Reading::Upgraded => return self.read_upgraded(input),
                Reading::Discarding | Reading::Ended => {
                    self.drop_input(cx, std::mem::take(input));
                    return None;
                }
            }
        }
    }

    /// What is to be returned before more of the input is used.
    fn take_due(&mut self) -> Option<Received> {
        let request = &mut self.streaming.as_mut()?.request;
        if std::mem::take(&mut request.upgraded_end) {
            return Some(Received::End(None));
        }
        request.fault.take().map(Received::Failed)
    }

    /// The next complete head, or `None` if it is not there yet, or is refused.
    fn next_head(&mut self, cx: &mut Context<'_>, input: &mut &[u8]) -> Option<Head> {
        if input.is_empty() || !self.has_room_for_responses(cx) {
            return None;
        }
        let may_tunnel = !cx.shared.refuses_connect;
        match self.read_head(cx, input, may_tunnel) {
            Ok(head) => head,
            Err(refusal) => {
                self.refuse(cx, refusal);
                self.drop_input(cx, std::mem::take(input));
                None
            }
        }
    }

    /// Passes the head of a request to the handler.
    fn pass_head(&mut self, head: Head) -> Received {
        self.record_head(&head);
        self.state.head_passed(head.framing != Framing::None);
        match &mut self.streaming {
            Some(streaming) => streaming.begin_request(&head),
            None => self.streaming = Some(Box::new(Streaming::new(&head))),
        }
        let length = head.framing.into();
        Received::Head(self.prepare_request(head.request, head.persist), length)
    }

    /// Consumes bytes of a body. Returns what the handler is to receive of them.
    fn read_streamed_body(&mut self, cx: &mut Context<'_>, input: &mut &[u8]) -> Option<Received> {
        let streaming = self.streaming.as_mut()?;
        if streaming.request.is_continue_due() {
            return None;
        }
        let before = input.len();
        let result = match &mut streaming.request.sink {
            Sink::Handler => streaming.read_part(self.id, cx, input),
            Sink::Gather { .. } => streaming.read_gathered(self.id, cx, &mut self.account, input),
            Sink::Drain { .. } => streaming.drain(self.id, cx, input),
        };
        self.received += (before - input.len()) as u64;
        match result {
            Ok(Progress::More(received)) => {
                if let Some(refusal) = streaming.request.fault {
                    self.end_faulty_body(&refusal);
                }
                received
            }
            Ok(Progress::Ended(received)) => {
                streaming.request.is_whole = true;
                streaming.request.finish();
                self.state.streamed_body_ended();
                received
            }
            Err(refusal) => {
                self.fault_found(cx, refusal);
                None
            }
        }
    }

    /// Whether the client's stream has ended, and all input from before that has been used.
    fn is_end_due(&self) -> bool {
        let left = self.kept.len() - self.kept_used;
        let is_used = match self.state.reading() {
            Reading::Ended => false,
            // What is left of a head is not a complete one.
            Reading::ProxyHeader | Reading::Idle | Reading::Head | Reading::Body(()) => {
                left <= self.scanned()
            }
            Reading::Streaming | Reading::Responding | Reading::Upgraded => left == 0,
            Reading::Discarding => true,
        };
        is_used && self.input_has_ended()
    }

    pub(super) fn end_input_if_due(&mut self, cx: &mut Context<'_>) {
        if self.is_end_due() {
            self.end_input(cx);
        }
    }

    /// [`handle_end_of_input`](Connection::handle_end_of_input) where bodies stream. Kept input is used
    /// first.
    pub(in crate::conn) fn handle_end_of_streaming(&mut self, cx: &mut Context<'_>) {
        if let Some(streaming) = &mut self.streaming {
            streaming.input_has_ended = true;
        }
        self.end_input_if_due(cx);
        self.update_timers_and_budget(cx);
    }

    /// All input has been used, and the client's stream has ended.
    fn end_input(&mut self, cx: &mut Context<'_>) {
        match self.state.reading() {
            Reading::Head => self.refuse_unfinished(cx, Refusal::incomplete()),
            Reading::Streaming if self.is_body_received() => return,
            Reading::Streaming => self.fault_found(cx, Refusal::incomplete()),
            Reading::Upgraded => {
                if let Some(streaming) = &mut self.streaming {
                    streaming.request.upgraded_end = true;
                }
            }
            _ => {}
        }
        self.state.input_ended();
        self.drop_kept(cx);
    }
}

impl Connection {
    /// Whether the current request's body is complete, but its end was not returned.
    fn is_body_received(&self) -> bool {
        self.streaming
            .as_ref()
            .is_some_and(|streaming| streaming.request.is_received())
    }
}

/// Whether a body has ended, with what was received of it.
enum Progress {
    /// It has not ended.
    More(Option<Received>),
    Ended(Option<Received>),
}

impl Streaming {
    /// Begins with the next request.
    fn begin_request(&mut self, head: &Head) {
        self.request.begin(head);
        self.response.begin(head);
        self.timers = Timers::default();
        self.wish = Wish::new(head);
        self.wants_reset = false;
    }

    /// Consumes bytes of the body for the handler, as far as its queue has room.
    fn read_part(
        &mut self,
        id: u64,
        cx: &Context<'_>,
        input: &mut &[u8],
    ) -> Result<Progress, Refusal> {
        let mut part = Part::default();
        let is_over = loop {
            // Without its transfer coding, a body isn't longer: so the data of this much input has room.
            let room = self.request.room - part.len();
            let (mut front, _) = input.split_at(room.min(input.len()));
            let before = front.len();
            let chunk = self.next_chunk(id, cx, &mut front);
            *input = &input[before - front.len()..];
            match chunk {
                Ok(Chunk::Data(data)) => part.push(data),
                Ok(Chunk::End) => break Ok(true),
                Ok(Chunk::NeedInput) if input.is_empty() || room == 0 => break Ok(false),
                Ok(Chunk::NeedInput) => {}
                Err(refusal) => break Err(refusal),
            }
        };
        if part.len() > 0 {
            self.request.room -= part.len();
            self.request.queued += part.len();
            // The end is returned by the next call, and so is a fault.
            self.request.fault = is_over.err();
            return Ok(Progress::More(Some(Received::Data(part.into_bytes()))));
        }
        Ok(if is_over? {
            let trailers = trailers::parse(&self.request.trailers);
            Progress::Ended(Some(Received::End(trailers)))
        } else {
            Progress::More(None)
        })
    }

    /// Consumes bytes of a body that is collected.
    fn read_gathered(
        &mut self,
        id: u64,
        cx: &mut Context<'_>,
        account: &mut Account,
        input: &mut &[u8],
    ) -> Result<Progress, Refusal> {
        loop {
            let chunk = self.next_chunk(id, cx, input)?;
            let missing = self.request.decoder.missing();
            let Sink::Gather { body, left } = &mut self.request.sink else {
                return Ok(Progress::More(None));
            };
            match chunk {
                Chunk::Data(data) => {
                    let most = left.saturating_add(body.len() as u64);
                    *left = left
                        .checked_sub(data.len() as u64)
                        .ok_or(Refusal::body_too_large())?;
                    body.append(data, missing, most, account, cx)?;
                }
                Chunk::End => {
                    let body = std::mem::replace(body, GrowingBody::new(Vec::new()));
                    let body = Bytes::from(body.into_piece(missing.is_some())?);
                    self.request.queued += body.len();
                    return Ok(Progress::Ended(Some(Received::Whole(body))));
                }
                Chunk::NeedInput => return Ok(Progress::More(None)),
            }
        }
    }

    /// Drops bytes of an unwanted body.
    fn drain(&mut self, id: u64, cx: &Context<'_>, input: &mut &[u8]) -> Result<Progress, Refusal> {
        loop {
            let before = input.len();
            let chunk = self.next_chunk(id, cx, input)?;
            let taken = before - input.len();
            match chunk {
                Chunk::End => return Ok(Progress::Ended(None)),
                Chunk::NeedInput if taken == 0 => return Ok(Progress::More(None)),
                Chunk::Data(_) | Chunk::NeedInput => {}
            }
            if let Sink::Drain { left } = &mut self.request.sink {
                *left = left.checked_sub(taken).ok_or(Refusal::unread())?;
            }
        }
    }

    /// The next part of the body. Its length is limited here only if it is collected: otherwise
    /// `Incoming` checks the limit.
    fn next_chunk<'a>(
        &mut self,
        id: u64,
        cx: &Context<'_>,
        input: &mut &'a [u8],
    ) -> Result<Chunk<'a>, Refusal> {
        let request = &mut self.request;
        let max_body = match request.sink {
            Sink::Gather { left, .. } => request.received.saturating_add(left),
            Sink::Handler | Sink::Drain { .. } => u64::MAX,
        };
        let trailers = Some(&mut request.trailers);
        let chunk = request
            .decoder
            .next(id, input, cx.limits, max_body, trailers)?;
        if let Chunk::Data(data) = chunk {
            request.in_window += data.len() as u64;
            request.received += data.len() as u64;
            log_data(id, data, request.received);
        }
        Ok(chunk)
    }
}

/// Bytes of a body for the handler. Several chunks in one read make one part.
#[derive(Debug, Default)]
struct Part<'a> {
    /// The first chunk.
    first: &'a [u8],
    /// All chunks, once there are two.
    all: Vec<u8>,
}

impl<'a> Part<'a> {
    fn len(&self) -> usize {
        self.first.len().max(self.all.len())
    }

    fn push(&mut self, data: &'a [u8]) {
        if self.len() == 0 {
            self.first = data;
            return;
        }
        if self.all.is_empty() {
            self.all.extend_from_slice(self.first);
        }
        self.all.extend_from_slice(data);
    }

    fn into_bytes(self) -> Bytes {
        if self.all.is_empty() {
            Bytes::copy_from_slice(self.first)
        } else {
            Bytes::from(self.all)
        }
    }
}
