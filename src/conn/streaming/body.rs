//! The streamed body of a request: what to do with its bytes, and how many to read.

use crate::log::debug;

use super::Streaming;
use crate::conn::body_decoder::BodyDecoder;
use crate::conn::encode;
use crate::conn::head::Head;
use crate::conn::memory::GrowingBody;
use crate::conn::state::Reading;
use crate::conn::{CloseReason, Connection, Context, Framing, Refusal};

/// The body of the current request.
#[derive(Debug)]
pub(super) struct RequestBody {
    pub(super) decoder: BodyDecoder,
    pub(super) sink: Sink,
    /// The bytes that the handler's queue has room for.
    pub(super) room: usize,
    /// The bytes that wait in the handler's queue.
    pub(super) queued: usize,
    /// The handler waits for a part.
    is_awaited: bool,
    expectation: Expectation,
    /// The handler's own minimum rate, in bytes per second.
    own_rate: Option<u32>,
    /// Bytes received in the current rate window.
    pub(super) in_window: u64,
    /// Bytes received in all.
    pub(super) received: u64,
    /// The trailer section, as far as it has been received.
    pub(super) trailers: Vec<u8>,
    /// Why the body can't be received, until that is returned.
    pub(super) fault: Option<Refusal>,
    /// The input of an upgraded connection has ended, until that is returned.
    pub(super) upgraded_end: bool,
    /// All of it was received, also if it was dropped.
    pub(super) is_whole: bool,
}

/// Whether the client waits for `100 Continue` (RFC 9110 §10.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expectation {
    /// It doesn't, or it was sent.
    None,
    /// It is sent when the body is first awaited. Until then the body isn't read, even if it has arrived. So
    /// the response doesn't depend on when the bytes of the body arrive.
    Due,
    /// The response began before that. A body that comes nevertheless is read.
    TooLate,
}

impl Expectation {
    fn of(head: &Head) -> Self {
        match head.expects_continue {
            true => Self::Due,
            false => Self::None,
        }
    }
}

/// What is done with the bytes of a body.
#[derive(Debug)]
pub(super) enum Sink {
    /// The handler gets them in parts.
    Handler,
    /// They are collected in one piece: at most `left` more.
    Gather { body: GrowingBody, left: u64 },
    /// They are dropped. The connection goes on if the body ends within `left` bytes of input.
    Drain { left: usize },
}

impl RequestBody {
    pub(super) fn new(head: &Head) -> Self {
        Self {
            decoder: BodyDecoder::new(head.framing),
            sink: Sink::Handler,
            room: Streaming::MAX_WAITING,
            queued: 0,
            is_awaited: false,
            expectation: Expectation::of(head),
            own_rate: None,
            in_window: 0,
            received: 0,
            trailers: Vec::new(),
            fault: None,
            upgraded_end: false,
            is_whole: head.framing == Framing::None,
        }
    }

    /// Begins with the next body. In place, because to make a new value and move it costs time in each small request.
    pub(super) fn begin(&mut self, head: &Head) {
        let Self {
            decoder,
            sink,
            room,
            queued,
            is_awaited,
            expectation,
            own_rate,
            in_window,
            received,
            trailers,
            fault,
            upgraded_end,
            is_whole,
        } = self;
        *decoder = BodyDecoder::new(head.framing);
        *sink = Sink::Handler;
        *room = Streaming::MAX_WAITING;
        *queued = 0;
        *is_awaited = false;
        *expectation = Expectation::of(head);
        *own_rate = None;
        (*in_window, *received) = (0, 0);
        *trailers = Vec::new();
        *fault = None;
        *upgraded_end = false;
        *is_whole = head.framing == Framing::None;
    }

    /// From now on, the input is that of an upgraded connection, unless it has ended.
    pub(super) fn begin_upgraded(&mut self, has_ended: bool) {
        self.finish();
        self.queued = 0;
        self.room = Streaming::MAX_WAITING;
        self.upgraded_end = has_ended;
    }

    /// Bytes of memory held.
    pub(super) fn held(&self) -> usize {
        let gathered = match &self.sink {
            Sink::Gather { body, .. } => body.capacity(),
            Sink::Handler | Sink::Drain { .. } => 0,
        };
        self.queued + gathered + self.trailers.capacity()
    }

    /// Forgets a body of which nothing more is received.
    pub(super) fn finish(&mut self) {
        self.decoder = BodyDecoder::new(Framing::None);
        self.sink = Sink::Handler;
        self.is_awaited = false;
        self.expectation = Expectation::None;
        self.trailers = Vec::new();
    }

    /// Whether all bytes of the body have been received.
    pub(super) fn is_received(&self) -> bool {
        self.decoder.is_done()
    }

    /// Records that the response begins.
    pub(super) fn response_began(&mut self) {
        if self.expectation == Expectation::Due {
            self.expectation = Expectation::TooLate;
        }
    }

    /// Whether `100 Continue` is to be sent before the body is read.
    pub(super) fn is_continue_due(&self) -> bool {
        self.expectation == Expectation::Due && matches!(self.sink, Sink::Handler)
    }

    /// Whether further bytes can be used now.
    pub(super) fn can_take(&self) -> bool {
        match self.sink {
            Sink::Handler => self.room > 0 && !self.is_continue_due(),
            Sink::Gather { .. } | Sink::Drain { .. } => true,
        }
    }

    /// How many bytes to read in addition to those that are kept, and how many wait already.
    pub(super) fn wanted(&self, kept: usize) -> (usize, usize) {
        match self.sink {
            Sink::Handler => (self.room.saturating_sub(kept), self.queued + kept),
            Sink::Gather { .. } | Sink::Drain { .. } => (Streaming::MAX_WAITING, 0),
        }
    }

    /// Whether the handler waits for the client to send more.
    pub(super) fn waits_for_client(&self) -> bool {
        match self.sink {
            Sink::Handler => self.is_awaited,
            Sink::Gather { .. } => true,
            Sink::Drain { .. } => false,
        }
    }

    /// The minimum rate in bytes per second.
    pub(super) fn rate(&self, limits: &crate::limits::Limits) -> u32 {
        match self.sink {
            Sink::Handler | Sink::Gather { .. } => self.own_rate.unwrap_or(limits.min_rate),
            // The handler has nothing to do with it any more.
            Sink::Drain { .. } => limits.min_rate,
        }
    }
}

/// Actions on the body of the request that is with the handler. After each, ask
/// [`has_usable_input`](Connection::has_usable_input). They do nothing once the body has ended.
impl Connection {
    /// Sets how many bytes the handler's queue has room for.
    pub fn set_body_room(&mut self, cx: &mut Context<'_>, room: usize) {
        if let Some(streaming) = &mut self.streaming {
            streaming.request.room = room;
        }
        self.update_timers_and_budget(cx);
    }

    /// Sets how many bytes wait in the handler's queue. They count in the memory budget.
    pub fn set_queued(&mut self, cx: &mut Context<'_>, bytes: usize) {
        if let Some(streaming) = &mut self.streaming {
            streaming.request.queued = bytes;
        }
        self.update_timers_and_budget(cx);
    }

    /// Sets whether the handler waits for a part of the body. Only then must the client keep the minimum
    /// rate. The first time, `100 Continue` is sent if the client waits for it.
    pub fn await_body(&mut self, cx: &mut Context<'_>, is_awaited: bool) {
        if !self.is_streaming_body() {
            return;
        }
        if is_awaited {
            self.send_continue(cx);
        }
        if let Some(streaming) = &mut self.streaming {
            streaming.request.is_awaited = is_awaited;
        }
        self.update_timers_and_budget(cx);
    }

    /// Sets the minimum rate at which this body must arrive, in place of
    /// [`Limits::min_rate`](crate::Limits::min_rate). 0 turns the check off.
    pub fn set_body_rate(&mut self, bytes_per_second: u32) {
        if let Some(streaming) = &mut self.streaming {
            streaming.request.own_rate = Some(bytes_per_second);
        }
    }

    /// Collects the rest of the body in one piece, within the memory budget, and returns it as
    /// [`Received::Whole`](super::Received::Whole). A rest of more than `limit` bytes is refused with 413,
    /// and one that the budget has no room for with 503.
    pub fn gather_body(&mut self, cx: &mut Context<'_>, limit: u64) {
        if !self.is_streaming_body() {
            return;
        }
        let Some(streaming) = &mut self.streaming else {
            return;
        };
        let request = &mut streaming.request;
        if matches!(request.sink, Sink::Gather { .. }) {
            return;
        }
        let admitted = match request.decoder.missing() {
            Some(missing) if missing > limit => Err(Refusal::body_too_large()),
            // The client waits before it sends the body. If the body can never fit, it is refused now.
            Some(missing) if request.expectation == Expectation::Due => {
                cx.shared.budget.admit_length(missing, cx.limits)
            }
            Some(_) | None => Ok(()),
        };
        if let Err(refusal) = admitted {
            self.fault_found(cx, refusal);
        } else {
            let body = GrowingBody::new(Vec::new());
            request.sink = Sink::Gather { body, left: limit };
            self.send_continue(cx);
        }
        self.update_timers_and_budget(cx);
    }

    /// Records that the handler doesn't want the rest of the body. A short rest is received and dropped. Otherwise
    /// the connection closes after the response.
    pub fn drop_body(&mut self, cx: &mut Context<'_>) {
        if self.is_streaming_body() {
            self.begin_to_drain(cx);
        }
        self.update_timers_and_budget(cx);
    }

    /// Records that the driver refuses the body. No further byte is read as a body or a request, and the
    /// connection closes after the response.
    pub fn fail_body(&mut self, refusal: Refusal) {
        if self.is_streaming_body() {
            self.end_faulty_body(&refusal);
            (self.kept, self.kept_used) = (Vec::new(), 0);
        }
    }
}

impl Connection {
    /// Whether more of the current request's body is awaited, for the handler.
    fn is_streaming_body(&self) -> bool {
        let is_drained = self
            .streaming
            .as_ref()
            .is_none_or(|streaming| matches!(streaming.request.sink, Sink::Drain { .. }));
        self.state.reading() == Reading::Streaming && !is_drained
    }

    /// Sends `100 Continue` if the client waits for it.
    fn send_continue(&mut self, cx: &mut Context<'_>) {
        let Some(streaming) = &mut self.streaming else {
            return;
        };
        let request = &mut streaming.request;
        if request.expectation == Expectation::Due {
            request.expectation = Expectation::None;
            let write = |out: &mut Vec<u8>| out.extend_from_slice(encode::CONTINUE);
            self.output.append(&mut cx.shared.buffers, write);
        }
    }

    /// Decides whether the rest of the body is drained, or left unread.
    pub(super) fn begin_to_drain(&mut self, cx: &mut Context<'_>) {
        let Some(streaming) = &mut self.streaming else {
            return;
        };
        let request = &mut streaming.request;
        let left = Streaming::MAX_WAITING;
        let is_short = request
            .decoder
            .missing()
            .is_none_or(|missing| missing <= left as u64);
        // A client that waits for `100 Continue` may send the body or not, so it isn't known what follows.
        if is_short && request.expectation == Expectation::None {
            request.sink = Sink::Drain { left };
            request.is_awaited = false;
            request.in_window = 0;
            streaming.timers.begin_to_drain();
        } else {
            self.leave_body_unread(cx, CloseReason::BodyUnread);
        }
    }

    /// The server stops: the rest of a body is no longer drained.
    pub(super) fn stop_draining(&mut self, cx: &mut Context<'_>) {
        self.leave_body_unread(cx, CloseReason::Stopped);
    }

    /// Receives no more of an unwanted body.
    pub(super) fn leave_body_unread(&mut self, cx: &mut Context<'_>, reason: CloseReason) {
        debug!(target: "mini_http::conn", "conn {}: the rest of the body is left unread", self.id);
        self.state.body_left_unread(reason);
        if let Some(streaming) = &mut self.streaming {
            streaming.request.finish();
        }
        self.drop_kept(cx);
    }

    /// Handles a body that can't be received: records that for the handler. If the body is unwanted, just receives
    /// no more of it.
    pub(super) fn fault_found(&mut self, cx: &mut Context<'_>, refusal: Refusal) {
        let Some(streaming) = &mut self.streaming else {
            return;
        };
        if let Sink::Drain { .. } = streaming.request.sink {
            self.leave_body_unread(cx, refusal.reason());
        } else {
            streaming.request.fault = Some(refusal);
            self.end_faulty_body(&refusal);
            self.drop_kept(cx);
        }
    }

    /// Nothing that follows is read as body or request.
    pub(super) fn end_faulty_body(&mut self, refusal: &Refusal) {
        debug!(target: "mini_http::conn", "conn {}: {refusal}", self.id);
        self.state.streamed_body_failed(refusal.reason());
        if let Some(streaming) = &mut self.streaming {
            streaming.request.finish();
        }
    }
}
