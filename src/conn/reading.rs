//! The connection's input: heads, bodies, and what can't be used yet.
//!
//! What is not on the way of a whole request without a body is kept out of line: inlined, it costs
//! each of them as much as its framing does.

use log::debug;

use super::encode::{self, Exchange};
use super::head::{self, Head, HeadScanner, Scan};
use super::incoming::Incoming;
use super::memory::allocated;
use super::state::{Reading, Writing};
use super::{CloseReason, Connection, Context, Framing, Refusal};
use crate::log_text::MaskedHead;
use crate::request::Request;

impl Connection {
    /// Uses `input` up to the end of a request or to where it can't be used yet.
    pub(super) fn advance(&mut self, cx: &mut Context<'_>, input: &mut &[u8]) -> Option<Request> {
        loop {
            match self.state.reading() {
                Reading::Idle | Reading::Head => {
                    if input.is_empty() || !self.has_room_for_answers(cx) {
                        return None;
                    }
                    match self.read_head(cx, input) {
                        Ok(Some(head)) => {
                            if let Some(request) = self.head_is_whole(cx, head) {
                                return Some(request);
                            }
                        }
                        Ok(None) => return None,
                        Err(refusal) => self.refuse(cx, refusal),
                    }
                }
                Reading::Body => match self.read_body(cx, input) {
                    Ok(request) => return request,
                    Err(refusal) => self.refuse(cx, refusal),
                },
                Reading::Answering => {
                    debug_assert!(false, "a request waits for its answer");
                    return None;
                }
                Reading::Discarding | Reading::Ended => {
                    self.discard(cx, std::mem::take(input));
                    return None;
                }
            }
        }
    }

    /// The head at the front of `input`, if it is whole; if not, nothing is taken from `input`.
    pub(super) fn read_head(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut &[u8],
    ) -> Result<Option<Head>, Refusal> {
        if self.scanner.seen() == 0
            && let Some((head, length)) = head::parse_whole(input, cx.limits, &mut cx.shared.heads)
        {
            self.take_head(input, length);
            return Ok(Some(head));
        }
        self.scan_head(cx, input)
    }

    /// [`read_head`](Self::read_head) for a head that comes in pieces or has a fault.
    #[inline(never)]
    fn scan_head(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut &[u8],
    ) -> Result<Option<Head>, Refusal> {
        let scanned = self.scanner.scan(&input[self.scanner.seen()..], cx.limits);
        match scanned {
            Ok(Scan::NeedInput) => {
                if self.scanner.has_request() && self.state.reading() == Reading::Idle {
                    self.state.head_began();
                }
                Ok(None)
            }
            Ok(Scan::Whole { start, end }) => {
                let heads = &mut cx.shared.heads;
                let head = head::parse_scanned(&input[start..end], cx.limits, heads)
                    .inspect_err(|_| self.head_is_refused(&input[..end]))?;
                self.take_head(input, end);
                self.scanner = HeadScanner::new();
                Ok(Some(head))
            }
            Err(refusal) => {
                // By the bytes up to the fault: more of them may have come, or not yet.
                let seen = &input[..self.scanner.seen()];
                self.head_is_refused(seen);
                Err(head::name_protocol(refusal, seen))
            }
        }
    }

    /// What is done with a head that is refused, up to its fault.
    #[cold]
    fn head_is_refused(&mut self, seen: &[u8]) {
        self.exchange.is_head = head::is_head_request(seen);
        self.log_refused_head(seen);
    }

    /// Logs the bytes of a head that is refused. They must end with the first fault: what stands
    /// behind that can't be told apart, and may be a secret.
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

    fn take_head(&self, input: &mut &[u8], length: usize) {
        let (head, rest) = input.split_at(length);
        let shown = MaskedHead {
            head,
            may_be_body: false,
        };
        debug!(
            target: "mini_http::conn",
            "conn {}: headers complete: {length}, {shown}", self.id
        );
        *input = rest;
    }

    /// Gives the request if it has no body; otherwise the body is read next.
    pub(super) fn head_is_whole(&mut self, cx: &mut Context<'_>, head: Head) -> Option<Request> {
        self.exchange = Exchange::new(head.request.method(), head.request.version());
        self.has_read_head = true;
        match head.framing {
            Framing::None => {
                self.state.request_done();
                Some(self.for_handler(head.request, head.persist))
            }
            Framing::Length(length) if length > cx.limits.max_body => {
                self.refuse(cx, Refusal::body_too_large());
                None
            }
            Framing::Length(_) | Framing::Chunked => {
                self.expect_body(cx, head);
                None
            }
        }
    }

    #[inline(never)]
    fn expect_body(&mut self, cx: &mut Context<'_>, head: Head) {
        // The least that it will take; it may be refused later, when its body has grown.
        if let Err(refusal) = cx.shared.budget.admit(head.size, cx.limits) {
            return self.refuse(cx, refusal);
        }
        if head.expects_continue {
            let write = |out: &mut Vec<u8>| out.extend_from_slice(encode::CONTINUE);
            self.output.append(&mut cx.shared.buffers, write);
        }
        self.state.body_began();
        self.incoming = Some(Box::new(Incoming::new(head)));
    }

    /// Takes bytes of the body, and gives the request when it is whole.
    #[inline(never)]
    pub(super) fn read_body(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut &[u8],
    ) -> Result<Option<Request>, Refusal> {
        let Some(mut incoming) = self.incoming.take() else {
            return Err(Refusal::malformed("a body without a head"));
        };
        let is_whole = incoming.read(cx, self.id, &mut self.account, input)?;
        if is_whole {
            let persist = incoming.persist;
            let request = incoming.into_request();
            self.state.request_done();
            return Ok(Some(self.for_handler(request, persist)));
        }
        self.incoming = Some(incoming);
        Ok(None)
    }

    pub(super) fn for_handler(&mut self, mut request: Request, persist: bool) -> Request {
        if !persist {
            self.state.will_close(if self.exchange.is_http10 {
                CloseReason::Http10
            } else {
                CloseReason::ClientAskedClose
            });
        }
        request.set_peer(self.peer);
        request
    }

    /// Keeps input that can't be used yet.
    pub(super) fn keep(&mut self, cx: &mut Context<'_>, input: &[u8]) {
        if input.is_empty() {
            return;
        }
        // Behind the last answer nothing is kept, and nothing refused either.
        if !self.is_reading() {
            return self.discard(cx, input);
        }
        if let Err(refusal) = cx.shared.budget.admit(input.len(), cx.limits) {
            // Enough to tell a HEAD request by; the refusal drops it.
            let missing = head::MAX_METHOD_END.saturating_sub(self.stash.len() - self.stash_used);
            let begin = &input[..input.len().min(missing)];
            self.stash.extend_from_slice(begin);
            return self.refuse_unfinished(cx, refusal);
        }
        if self.stash.is_empty() {
            self.stash = cx.shared.buffers.take();
        } else if self.stash_used > 0 {
            self.stash.drain(..self.stash_used);
        }
        self.stash_used = 0;
        if let Err(refusal) = allocated(self.stash.try_reserve(input.len())) {
            return self.refuse_unfinished(cx, refusal);
        }
        self.stash.extend_from_slice(input);
    }

    /// Drops input that comes behind the last request.
    pub(super) fn discard(&mut self, cx: &Context<'_>, input: &[u8]) {
        self.discarded += input.len() as u64;
        let is_lingering = self.state.writing() == Writing::Lingering;
        if is_lingering && self.discarded > cx.limits.max_linger {
            self.state.lingered();
        }
    }

    pub(super) fn drop_stash(&mut self, cx: &mut Context<'_>) {
        cx.shared.buffers.give_back(&mut self.stash);
        self.stash_used = 0;
    }

    pub(super) fn is_reading(&self) -> bool {
        match self.state.reading() {
            Reading::Idle | Reading::Head | Reading::Body | Reading::Answering => true,
            Reading::Discarding | Reading::Ended => false,
        }
    }

    /// Backpressure: a client that does not take its answers gets no further ones made. When the
    /// memory for all connections is used up, one at a time is enough.
    pub(super) fn has_room_for_answers(&self, cx: &Context<'_>) -> bool {
        match self.output.pending() {
            0 => true,
            pending => {
                pending < cx.limits.max_pending_output && cx.shared.budget.has_room(1, cx.limits)
            }
        }
    }
}
