//! The streamed response: its head, parts and end.

use crate::log::error;
use bytes::Bytes;
use http::{HeaderMap, Response};

use super::{ResponseLength, trailers};
use crate::body::Whole;
use crate::conn::encode::{self, BodyFraming, ResponseHead};
use crate::conn::head::{Head, has_token};
use crate::conn::memory::BufferPool;
use crate::conn::state::{KeepAlive, Reading, ResponseState};
use crate::conn::{CloseReason, Connection, Context, Refusal, Seen, Shared};

/// The body of the current response.
#[derive(Debug)]
pub(super) struct ResponseBody {
    /// How the client finds its end; with a length, the number of bytes still missing.
    framing: BodyFraming,
    /// The part that completes an announced length. It is sent with the end of the body: if there are more
    /// bytes, the response must not look complete.
    last_part: Option<Bytes>,
    /// The client takes a trailer section (`TE: trailers`, RFC 9110 §6.5.1).
    accepts_trailers: bool,
    /// The field lines of the trailer section.
    trailers: Vec<u8>,
    /// The length of the longest part so far.
    pub(super) longest: usize,
}

impl ResponseBody {
    pub(super) fn new(head: &Head) -> Self {
        Self {
            framing: BodyFraming::Length(0),
            last_part: None,
            accepts_trailers: accepts_trailers(head),
            trailers: Vec::new(),
            longest: 0,
        }
    }

    /// Begins with the next response, in place.
    pub(super) fn begin(&mut self, head: &Head) {
        self.framing = BodyFraming::Length(0);
        self.accepts_trailers = accepts_trailers(head);
        self.longest = 0;
        self.clear();
    }

    /// Bytes of memory held.
    pub(super) fn held(&self) -> usize {
        self.last_part.as_ref().map_or(0, Whole::memory) + self.trailers.capacity()
    }

    pub(super) fn clear(&mut self) {
        self.last_part = None;
        self.trailers = Vec::new();
    }
}

impl ResponseLength {
    /// How the client finds the end of the body.
    pub(in crate::conn) fn framing(self, fields: &HeaderMap, is_http10: bool) -> BodyFraming {
        match self {
            Self::Exact(length) => BodyFraming::Length(length),
            Self::LeftOut => BodyFraming::Length(0),
            Self::Unknown => match encode::announced_length(fields) {
                Some(length) => BodyFraming::Length(length),
                None if is_http10 => BodyFraming::UntilClose,
                None => BodyFraming::Chunked,
            },
        }
    }

    /// What the head states of that framing.
    pub(in crate::conn) const fn stated(self, framing: BodyFraming) -> BodyFraming {
        match self {
            // States no length: a wrong one must not be sent (RFC 9110 §8.6).
            Self::LeftOut => BodyFraming::UntilClose,
            Self::Exact(_) | Self::Unknown => framing,
        }
    }
}

fn accepts_trailers(head: &Head) -> bool {
    head.has_te && has_token(head.request.headers(), &http::header::TE, "trailers")
}

/// Actions on the response to the current request. They do nothing once it has ended, or
/// the connection is closed.
impl Connection {
    /// Queues the head of a response, and returns whether its body is to be polled. If not, the response
    /// has ended: it has no body (HEAD, 204, 205, 304), or is 500 because the status is interim.
    pub fn begin_response(
        &mut self,
        cx: &mut Context<'_>,
        head: &Response<()>,
        length: ResponseLength,
    ) -> bool {
        self.reserve_output(cx, 0);
        let has_body = self.queue_head(cx, head, length, false);
        self.update_timers_and_budget(cx);
        has_body
    }

    /// Queues a complete response: the same as [`begin_response`](Self::begin_response),
    /// [`send_data`](Self::send_data) and [`end_response`](Self::end_response), and cheaper.
    pub fn send_response(&mut self, cx: &mut Context<'_>, head: &Response<()>, data: Bytes) {
        let length = ResponseLength::Exact(data.len() as u64);
        self.reserve_output(cx, data.len());
        if self.queue_head(cx, head, length, true) {
            if !data.is_empty() {
                self.queue_data(cx, data);
            }
            self.finish_response(cx);
        }
        self.update_timers_and_budget(cx);
    }

    /// Queues a part of the body. A part beyond the announced length aborts the response.
    pub fn send_data(&mut self, cx: &mut Context<'_>, data: Bytes) {
        if data.is_empty() || self.state.response() != ResponseState::Begun {
            return;
        }
        self.reserve_output(cx, data.len());
        let Some(streaming) = &mut self.streaming else {
            return;
        };
        let response = &mut streaming.response;
        response.longest = response.longest.max(data.len());
        match &mut response.framing {
            BodyFraming::Length(missing) => {
                let Some(left) = missing.checked_sub(data.len() as u64) else {
                    return self.abort_wrong_length(cx, "more");
                };
                *missing = left;
                if left > 0 {
                    self.queue_data(cx, data);
                } else {
                    response.last_part = Some(data);
                }
            }
            BodyFraming::Chunked => {
                let write = |out: &mut Vec<u8>| encode::chunk_size(out, data.len());
                self.output.append(&mut cx.shared.buffers, write);
                self.queue_data(cx, data);
                self.queue_text(cx, b"\r\n");
            }
            BodyFraming::UntilClose => self.queue_data(cx, data),
        }
        self.update_timers_and_budget(cx);
    }

    /// Records the trailer section, which is sent with the end of a chunked body if the client takes one.
    pub fn send_trailers(&mut self, cx: &mut Context<'_>, trailers: &HeaderMap) {
        if self.state.response() != ResponseState::Begun {
            return;
        }
        if let Some(streaming) = &mut self.streaming {
            let response = &mut streaming.response;
            if response.accepts_trailers && response.framing == BodyFraming::Chunked {
                trailers::write(&mut response.trailers, trailers);
            }
        }
        self.update_timers_and_budget(cx);
    }

    /// Ends the response. If its body has fewer bytes than announced, that aborts it.
    pub fn end_response(&mut self, cx: &mut Context<'_>) {
        if self.state.response() != ResponseState::Begun {
            return;
        }
        let Some(streaming) = &mut self.streaming else {
            return;
        };
        let response = &mut streaming.response;
        match response.framing {
            BodyFraming::Length(0) => {
                if let Some(last_part) = response.last_part.take() {
                    self.queue_data(cx, last_part);
                }
            }
            BodyFraming::Length(_) => return self.abort_wrong_length(cx, "less"),
            BodyFraming::Chunked => {
                let trailers = std::mem::take(&mut response.trailers);
                self.queue_text(cx, b"0\r\n");
                self.queue_text(cx, &trailers);
                self.queue_text(cx, b"\r\n");
            }
            BodyFraming::UntilClose => {}
        }
        self.finish_response(cx);
        self.update_timers_and_budget(cx);
    }

    /// Ends the response before it is complete, and the connection with it, so that the client can see it:
    /// there is no last chunk, fewer bytes than announced, or a reset. If its head hasn't been queued, the
    /// client gets 500 instead.
    pub fn abort_response(&mut self, cx: &mut Context<'_>, reason: CloseReason) {
        match self.state.response() {
            ResponseState::None => return,
            ResponseState::Upgraded => {
                self.state.closed(reason);
                return self.update_timers_and_budget(cx);
            }
            ResponseState::Awaited => {
                self.queue_refusal(cx, Refusal::handler_failed(), true);
                self.state.failed(reason);
            }
            ResponseState::Begun => {
                let Some(streaming) = &mut self.streaming else {
                    return;
                };
                if streaming.response.framing == BodyFraming::UntilClose {
                    streaming.wants_reset = true;
                    self.state.closed(reason);
                } else {
                    self.state.failed(reason);
                }
                self.report(cx.shared, cx.now, Seen::Ended { is_whole: false });
            }
        }
        self.forget_request(cx);
        self.update_timers_and_budget(cx);
    }

    /// Responds with the refusal of the request's body, which the handler has received as an error and returned.
    pub fn respond_to_refusal(&mut self, cx: &mut Context<'_>, refusal: Refusal) {
        if self.state.response() != ResponseState::Awaited {
            return self.abort_response(cx, CloseReason::ResponseFailed);
        }
        self.respond_refusal(cx, refusal);
        self.forget_request(cx);
        self.update_timers_and_budget(cx);
    }

    /// Responds with 500 (RFC 9110 §15.6.1), because the handler failed or panicked, and closes the
    /// connection after it. A response that has begun is aborted.
    pub fn respond_to_error(&mut self, cx: &mut Context<'_>) {
        self.abort_response(cx, CloseReason::HandlerFailed);
    }
}

impl Connection {
    /// Aborts a response whose body has `less` or `more` bytes than announced.
    #[cold]
    fn abort_wrong_length(&mut self, cx: &mut Context<'_>, what: &str) {
        let id = self.id;
        error!(target: "mini_http", "conn {id}: the response's body has {what} bytes than announced");
        self.abort_response(cx, CloseReason::ResponseFailed);
    }

    /// Queues the head of a response, and returns whether its body is to be polled. If all of the body is there, the
    /// response `is_whole`.
    fn queue_head(
        &mut self,
        cx: &mut Context<'_>,
        head: &Response<()>,
        length: ResponseLength,
        is_whole: bool,
    ) -> bool {
        if self.state.response() != ResponseState::Awaited {
            return false;
        }
        if self.is_switching(head.status()) {
            self.switch_protocol(cx, head);
            return false;
        }
        if head.status().is_informational() {
            self.respond_to_interim(cx, head.status());
            self.forget_request(cx);
            return false;
        }
        let (info, fields) = (self.request_info, head.headers());
        let has_body = encode::has_body(head.status(), info.is_head);
        let framing = length.framing(fields, info.is_http10);
        if has_body && framing == BodyFraming::UntilClose {
            self.state.will_close(CloseReason::Http10);
        }
        if encode::asks_to_close(fields) {
            self.state.will_close(CloseReason::HandlerAskedClose);
        }
        self.close_after_connect();
        if (is_whole || !has_body) && self.state.reading() == Reading::Streaming {
            // The response ends at once. If the connection closes because of the rest of the request's body, its head
            // says so.
            self.drop_body(cx);
        }
        let accepts_trailers = self
            .streaming
            .as_ref()
            .is_some_and(|streaming| streaming.response.accepts_trailers);
        let head = ResponseHead {
            status: head.status(),
            fields,
            framing: length.stated(framing),
            has_trailers: accepts_trailers && has_body && framing == BodyFraming::Chunked,
            request_info: info,
            persists: self.state.keep_alive() == KeepAlive::Persist,
        };
        let Shared { buffers, date, .. } = &mut *cx.shared;
        self.output.append(buffers, |out| head.write(out, date));
        self.state.response_began();
        if let Some(streaming) = &mut self.streaming {
            streaming.response.framing = framing;
            streaming.request.response_began();
        }
        if !has_body {
            self.finish_response(cx);
        }
        has_body
    }

    /// The response is complete: the next request is read, once the rest of this one's body is.
    fn finish_response(&mut self, cx: &mut Context<'_>) {
        if self.state.reading() == Reading::Streaming {
            self.drop_body(cx);
        }
        self.state.response_ended();
        if self.is_observed() {
            self.report(cx.shared, cx.now, Seen::Ended { is_whole: true });
        }
        self.forget_request(cx);
    }

    /// Frees what the request and its response held. The rest of the body may still be drained.
    pub(super) fn forget_request(&mut self, cx: &mut Context<'_>) {
        if let Some(streaming) = &mut self.streaming {
            streaming.request.queued = 0;
            streaming.response.clear();
            if self.state.reading() != Reading::Streaming {
                streaming.request.finish();
                streaming.request.fault = None;
            }
        }
        if !self.is_reading() {
            self.drop_kept(cx);
        }
        self.end_input_if_due(cx);
    }

    /// Called before output is queued. While the budget is nearly full, the output gets no more memory than it
    /// needs: otherwise each of many streams could hold a multiple of what it may.
    fn reserve_output(&mut self, cx: &Context<'_>, part: usize) {
        if cx.shared.budget.room(cx.limits) < BufferPool::MAX_CAPACITY {
            self.output.reserve_exactly(part);
        }
    }

    /// Appends a part of the body to the output, without its framing.
    pub(super) fn queue_data(&mut self, cx: &mut Context<'_>, data: Bytes) {
        let memory = data.memory();
        self.output
            .append_part(&mut cx.shared.buffers, data, memory);
    }

    pub(super) fn queue_text(&mut self, cx: &mut Context<'_>, text: &[u8]) {
        let write = |out: &mut Vec<u8>| out.extend_from_slice(text);
        self.output.append(&mut cx.shared.buffers, write);
    }
}
