//! The connection's input: heads, bodies, and input kept for later.
//!
//! The hot path is a request without a body that arrives in one piece. The large steps of other
//! requests are `#[inline(never)]`: inlined, they would cost each request on the hot path as much as
//! its framing does.

use crate::log::debug;

use super::encode::{self, RequestInfo};
use super::head::{self, Checked, Head};
use super::memory::allocated;
use super::partial_request::PartialRequest;
use super::state::{Reading, Writing};
use super::{CloseReason, Connection, Context, Framing, Refusal, Seen, SeenHead};
use crate::connection_id::ConnectionId;
use crate::log_text::MaskedHead;
use crate::request::Request;

impl Connection {
    /// Lets `advance` consume the kept input and `input`, or `input` alone if none is kept. What can't be
    /// used yet is kept.
    #[inline]
    pub(super) fn consume<T>(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut &[u8],
        advance: impl Fn(&mut Self, &mut Context<'_>, &mut &[u8]) -> Option<T>,
    ) -> Option<T> {
        if self.kept.is_empty() {
            let result = advance(self, cx, input);
            if result.is_none() {
                self.keep(cx, std::mem::take(input));
            }
            return result;
        }
        self.keep(cx, std::mem::take(input));
        let kept = std::mem::take(&mut self.kept);
        let mut rest = &kept[self.kept_used..];
        let result = advance(self, cx, &mut rest);
        self.kept_used = kept.len() - rest.len();
        self.kept = kept;
        if self.kept_used == self.kept.len() || !self.is_reading() {
            self.drop_kept(cx);
        }
        result
    }

    /// Whether input is still read and dropped, so that the client isn't reset.
    pub(super) fn wants_discarded(&self, cx: &Context<'_>) -> bool {
        self.state.writing() != Writing::Closed && self.dropped_bytes <= cx.limits.max_linger
    }

    /// Consumes `input` up to the end of one request, or as far as it can be used now.
    pub(super) fn advance(&mut self, cx: &mut Context<'_>, input: &mut &[u8]) -> Option<Request> {
        loop {
            match self.state.reading() {
                Reading::ProxyHeader => {
                    if !self.take_proxy_header(cx, input) {
                        return None;
                    }
                }
                Reading::Idle | Reading::Head => {
                    if input.is_empty() || !self.has_room_for_responses(cx) {
                        return None;
                    }
                    match self.read_head(cx, input, false) {
                        Ok(Some(head)) => {
                            if let Some(request) = self.accept_head(cx, head) {
                                return Some(request);
                            }
                        }
                        Ok(None) => return None,
                        Err(refusal) => self.refuse(cx, refusal),
                    }
                }
                Reading::Body(()) => match self.read_body(cx, input) {
                    Ok(request) => return request,
                    Err(refusal) => self.refuse(cx, refusal),
                },
                Reading::Streaming | Reading::Responding | Reading::Upgraded => {
                    debug_assert!(false, "a request is waiting for a response");
                    return None;
                }
                Reading::Discarding | Reading::Ended => {
                    self.drop_input(cx, std::mem::take(input));
                    return None;
                }
            }
        }
    }

    /// Consumes the header of the PROXY protocol at the front of `input`, or closes the connection if it is none.
    /// Returns false if it isn't complete.
    #[cold]
    pub(super) fn take_proxy_header(&mut self, cx: &mut Context<'_>, input: &mut &[u8]) -> bool {
        match cx.shared.read_proxy_header {
            Some(read) => read(self, cx, input),
            None => false,
        }
    }

    /// Returns the head at the front of `input` if it is complete. If not, `input` is unchanged. CONNECT is refused
    /// unless `may_tunnel`.
    pub(super) fn read_head(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut &[u8],
        may_tunnel: bool,
    ) -> Result<Option<Head>, Refusal> {
        let heads = &mut cx.shared.heads;
        if self.head_lines.is_none()
            && let Some(head) = head::parse_whole(input, may_tunnel, cx.limits, heads)
        {
            self.consume_head(input, head.length);
            return Ok(Some(head));
        }
        self.check_head(cx, input, may_tunnel)
    }

    /// [`read_head`](Self::read_head) for a head that arrives in pieces or is malformed.
    #[inline(never)]
    fn check_head(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut &[u8],
        may_tunnel: bool,
    ) -> Result<Option<Head>, Refusal> {
        let lines = self.head_lines.get_or_insert_default();
        let checked = lines.check(input, cx.limits).and_then(|checked| {
            let Checked::Whole { request_line, end } = checked else {
                return Ok(None);
            };
            let heads = &mut cx.shared.heads;
            let head = head::parse_checked(input, request_line, end, may_tunnel, cx.limits, heads)?;
            Ok(Some((head, end)))
        });
        match checked {
            Ok(None) => {
                if lines.has_begun(input) && self.state.reading() == Reading::Idle {
                    self.state.head_began();
                    self.head_began_at = Some(cx.now);
                }
                Ok(None)
            }
            Ok(Some((head, end))) => {
                self.consume_head(input, end);
                self.head_lines = None;
                Ok(Some(head))
            }
            Err(refusal) => {
                self.request_info.is_head = lines.is_head_request(input);
                // Only up to the fault, so that the result doesn't depend on how much more has
                // arrived.
                let seen = &input[..lines.scanned()];
                self.log_refused_head(seen);
                self.received = seen.len() as u64;
                self.report(cx.shared, cx.now, Seen::FaultyHead(seen));
                Err(head::name_protocol(refusal, seen))
            }
        }
    }

    /// Logs a refused head. `seen` must end with the first fault: after that, field
    /// lines can't be recognised, so secrets could not be masked.
    #[cold]
    pub(super) fn log_refused_head(&self, seen: &[u8]) {
        let shown = MaskedHead {
            head: seen,
            may_be_body: self.has_read_head,
        };
        debug!(
            target: "mini_http::conn",
            "conn {}: refused head: {}, {shown}", self.id, seen.len()
        );
    }

    /// Removes the head from `input`, and logs it.
    fn consume_head(&mut self, input: &mut &[u8], length: usize) {
        self.received = length as u64;
        let (head, rest) = input.split_at(length);
        let shown = MaskedHead {
            head,
            may_be_body: false,
        };
        debug!(
            target: "mini_http::conn",
            "conn {}: complete head: {length}, {shown}", self.id
        );
        *input = rest;
    }

    /// Returns the request if it has no body. Otherwise the body is read next, or the request is
    /// refused.
    pub(super) fn accept_head(&mut self, cx: &mut Context<'_>, head: Head) -> Option<Request> {
        self.record_head(&head);
        match head.framing {
            Framing::None => {
                self.state.request_done();
                Some(self.prepare_request(head.request, head.persist))
            }
            Framing::Length(length) if length > cx.limits.max_body => {
                self.report(cx.shared, cx.now, Seen::Head(SeenHead::of(&head.request)));
                self.refuse(cx, Refusal::body_too_large());
                None
            }
            Framing::Length(_) | Framing::Chunked => {
                self.begin_body(cx, head);
                None
            }
        }
    }

    /// Records what the response to a request depends on.
    pub(super) fn record_head(&mut self, head: &Head) {
        self.request_info = RequestInfo::new(head.request.method(), head.request.version());
        self.has_read_head = true;
    }

    /// Begins to receive a body; sends `100 Continue` if the client waits for it.
    #[inline(never)]
    fn begin_body(&mut self, cx: &mut Context<'_>, head: Head) {
        self.report(cx.shared, cx.now, Seen::Head(SeenHead::of(&head.request)));
        // At least this much is needed. The request may still be refused when its body grows.
        let budget = &cx.shared.budget;
        let admitted = budget.admit(head.size(), cx.limits);
        let admitted = admitted.and_then(|()| match head.framing {
            // The client waits before it sends the body. If the body can never fit, it is refused now.
            Framing::Length(length) if head.expects_continue => {
                budget.admit_length(length, cx.limits)
            }
            Framing::None | Framing::Length(_) | Framing::Chunked => Ok(()),
        });
        if let Err(refusal) = admitted {
            return self.refuse(cx, refusal);
        }
        if head.expects_continue {
            let write = |out: &mut Vec<u8>| out.extend_from_slice(encode::CONTINUE);
            self.output.append(&mut cx.shared.buffers, write);
        }
        self.state.body_began(Box::new(PartialRequest::new(head)));
    }

    /// Consumes bytes of the body, and returns the request when the body is complete.
    #[inline(never)]
    pub(super) fn read_body(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut &[u8],
    ) -> Result<Option<Request>, Refusal> {
        let Some(mut partial) = self.state.take_partial_request() else {
            return Ok(None);
        };
        let before = input.len();
        let read = partial.read(cx, self.id, &mut self.account, input);
        self.received += (before - input.len()) as u64;
        if read? {
            let persist = partial.persist;
            let request = partial.into_request()?;
            self.state.request_done();
            return Ok(Some(self.prepare_request(request, persist)));
        }
        self.state.body_began(partial);
        Ok(None)
    }

    /// Completes a request for the handler, and records if the connection closes after it.
    pub(super) fn prepare_request(&mut self, mut request: Request, persist: bool) -> Request {
        if !persist {
            self.state.will_close(if self.request_info.is_http10 {
                CloseReason::Http10
            } else {
                CloseReason::ClientAskedClose
            });
        }
        request.set_connection(ConnectionId(self.id), self.peer, self.local);
        request
    }

    /// Appends input that can't be used yet to the kept input; refuses the request if there is no
    /// memory for it.
    pub(super) fn keep(&mut self, cx: &mut Context<'_>, input: &[u8]) {
        if input.is_empty() {
            return;
        }
        // After the last response, input is neither kept nor refused.
        if !self.is_reading() {
            return self.drop_input(cx, input);
        }
        // After the head of a request that streams, no more is read than may be kept.
        let is_bounded = self.streaming.is_some() && !self.is_at_head();
        let admitted = cx.shared.budget.admit(input.len(), cx.limits);
        if let Err(refusal) = admitted
            && !is_bounded
        {
            if self.state.reading() != Reading::Responding {
                // Just enough to recognise the method, HEAD or not. The refusal frees it again.
                self.kept.extend_from_slice(&input[..input.len().min(16)]);
            }
            return self.refuse_unfinished(cx, refusal);
        }
        if self.kept.is_empty() {
            self.kept = cx.shared.buffers.take();
        } else if self.kept_used > 0 {
            self.kept.drain(..self.kept_used);
        }
        self.kept_used = 0;
        if let Err(refusal) = allocated(self.kept.try_reserve(input.len())) {
            if is_bounded {
                // A refusal would be sent within another response, or after it.
                return self.state.closed(refusal.reason());
            }
            return self.refuse_unfinished(cx, refusal);
        }
        self.kept.extend_from_slice(input);
    }

    /// Drops input that arrives after the last request, and stops lingering after `max_linger`
    /// bytes of it.
    pub(super) fn drop_input(&mut self, cx: &Context<'_>, input: &[u8]) {
        self.dropped_bytes += input.len() as u64;
        let is_lingering = self.state.writing() == Writing::Lingering;
        if is_lingering && self.dropped_bytes > cx.limits.max_linger {
            self.state.lingered();
        }
    }

    /// Drops the kept input; its buffer returns to the pool.
    pub(super) fn drop_kept(&mut self, cx: &mut Context<'_>) {
        cx.shared.buffers.give_back(&mut self.kept);
        self.kept_used = 0;
    }

    /// Bytes of an unfinished head that have been scanned.
    pub(super) fn scanned(&self) -> usize {
        self.head_lines.as_ref().map_or(0, |lines| lines.scanned())
    }

    /// Whether there is kept input that is to be parsed and was not scanned. Of a header of the PROXY protocol,
    /// only what was scanned is kept.
    pub(super) fn has_unused_input(&self) -> bool {
        !self.kept.is_empty()
            && self.kept.len() - self.kept_used > self.scanned()
            && self.is_reading()
            && self.state.reading() != Reading::ProxyHeader
    }

    /// Whether input is still parsed, not dropped.
    pub(super) fn is_reading(&self) -> bool {
        !matches!(self.state.reading(), Reading::Discarding | Reading::Ended)
    }

    /// Whether the next input is part of a head.
    fn is_at_head(&self) -> bool {
        matches!(
            self.state.reading(),
            Reading::ProxyHeader | Reading::Idle | Reading::Head
        )
    }

    /// Backpressure: while a client has not taken its responses, no further ones are made. Once the
    /// memory budget is used up, a connection makes only one response at a time.
    pub(super) fn has_room_for_responses(&self, cx: &Context<'_>) -> bool {
        match self.output.pending() {
            0 => true,
            pending => {
                pending < cx.limits.max_pending_output && cx.shared.budget.has_room(1, cx.limits)
            }
        }
    }
}
