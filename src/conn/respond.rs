//! Queueing responses: the handler's, the server's own 500, and refusals.

use crate::log::{debug, error};
use http::{Response, StatusCode};

use super::custom_refusal::Form;
use super::encode::{self, BodyFraming, ResponseHead};
use super::head::HeadLines;
use super::output::Output;
use super::state::{KeepAlive, Reading, Writing};
use super::watch::Seen;
use super::{CloseReason, Connection, Context, Refusal, Shared};
use crate::body::Whole;

impl Connection {
    /// [`respond`](Self::respond) without moving the response, which is a large type. May take the
    /// body out of it.
    pub(crate) fn respond_in_place<B: Whole>(
        &mut self,
        cx: &mut Context<'_>,
        response: &mut Response<B>,
    ) {
        if self.is_closed() {
            return;
        }
        self.assert_request_pending();
        let (status, fields, body) = (response.status(), response.headers(), response.body());
        if status.is_informational() {
            return self.respond_to_interim(cx, status);
        }
        let (request_info, length) = (self.request_info, body.as_bytes().len());
        // Small responses bypass the memory limit, so that cheap requests are still served when it
        // is reached. A large one may exceed it only if nothing else is held.
        let has_body = encode::has_body(status, request_info.is_head);
        let is_inserted = has_body && !Output::is_small(length);
        if is_inserted {
            // The handler owns the request's body now: it is no longer counted here.
            self.update_budget(cx);
            let admitted = cx.shared.budget.admit_response(body.memory(), cx.limits);
            if let Err(refusal) = admitted {
                return self.respond_refusal(cx, refusal);
            }
        }
        if encode::asks_to_close(fields) {
            self.state.will_close(CloseReason::HandlerAskedClose);
        }
        let persists = self.state.keep_alive() == KeepAlive::Persist;
        let Shared { buffers, date, .. } = &mut *cx.shared;
        self.output.append(buffers, |out| {
            let head = ResponseHead {
                status,
                fields,
                framing: BodyFraming::Length(length as u64),
                has_trailers: false,
                request_info,
                persists,
            };
            head.write(out, date);
            if has_body && !is_inserted {
                out.extend_from_slice(body.as_bytes());
            }
        });
        if is_inserted {
            let memory = body.memory();
            let share = body.share();
            self.output
                .insert(response.body_mut().take(), memory, share);
        }
        self.state.responded();
        if self.is_observed() {
            self.report(cx.shared, cx.now, Seen::Ended { is_whole: true });
        }
        self.update_timers_and_budget(cx);
    }

    /// Responds with 500 to the current request, because the handler's `status` is not a final one.
    #[cold]
    pub(super) fn respond_to_interim(&mut self, cx: &mut Context<'_>, status: StatusCode) {
        let (id, why) = (self.id, encode::why_not_final(status));
        error!(target: "mini_http", "conn {id}: the handler responded with {status}: {why}");
        self.respond_refusal(cx, Refusal::no_final_response());
    }

    /// Refuses a request before it reaches the handler. The response is the connection's last one.
    #[cold]
    pub(super) fn refuse(&mut self, cx: &mut Context<'_>, refusal: Refusal) {
        self.refuse_with(cx, refusal, true);
    }

    /// Refuses a request whose method isn't known. It may be HEAD: then bytes after the head of the
    /// response would not be its body. So the response has none, which suits every method.
    #[cold]
    pub(super) fn refuse_any_method(&mut self, cx: &mut Context<'_>, refusal: Refusal) {
        self.refuse_with(cx, refusal, false);
    }

    /// Refuses a request that has not fully arrived.
    #[cold]
    pub(super) fn refuse_unfinished(&mut self, cx: &mut Context<'_>, refusal: Refusal) {
        match self.state.reading() {
            Reading::ProxyHeader => self.refuse_any_method(cx, refusal),
            Reading::Idle | Reading::Head => self.refuse_unfinished_head(cx, refusal),
            // The request before it is with the handler. Its response comes first, and is the last one.
            Reading::Responding => self.state.will_close(refusal.reason()),
            _ => self.refuse(cx, refusal),
        }
    }

    /// Refuses a request whose head has not fully arrived. What has arrived is reported and logged.
    fn refuse_unfinished_head(&mut self, cx: &mut Context<'_>, refusal: Refusal) {
        let kept = std::mem::take(&mut self.kept);
        let head = &kept[self.kept_used..];
        // Kept input that was not scanned may contain bodies: it is not logged.
        let seen = &head[..head.len().min(self.scanned())];
        let mut lines = HeadLines::default();
        // Only to find the method; the result doesn't matter here.
        let _ = lines.check(head, cx.limits);
        self.request_info.is_head = lines.is_head_request(head);
        if !seen.is_empty() {
            self.log_refused_head(seen);
        }
        self.received = seen.len() as u64;
        self.report(cx.shared, cx.now, Seen::FaultyHead(seen));
        // If the method isn't known, as in `refuse_any_method`.
        let has_text = !lines.may_become_head_request(head);
        self.kept = kept;
        self.refuse_with(cx, refusal, has_text);
    }

    fn refuse_with(&mut self, cx: &mut Context<'_>, refusal: Refusal, has_text: bool) {
        debug!(target: "mini_http::conn", "conn {}: {refusal}", self.id);
        self.queue_refusal(cx, refusal, has_text);
        self.state.last_response_queued(refusal.reason());
        self.drop_kept(cx);
    }

    /// Responds with a refusal in place of the handler's response.
    #[cold]
    pub(super) fn respond_refusal(&mut self, cx: &mut Context<'_>, refusal: Refusal) {
        debug!(target: "mini_http::conn", "conn {}: {refusal}", self.id);
        self.queue_refusal(cx, refusal, true);
        self.state.failed(refusal.reason());
        self.update_timers_and_budget(cx);
    }

    /// Queues the response to a refused request. It has a text as its body only if `has_text`.
    #[cold]
    pub(super) fn queue_refusal(&mut self, cx: &mut Context<'_>, refusal: Refusal, has_text: bool) {
        self.report(cx.shared, cx.now, Seen::Refused(refusal));
        let Shared {
            buffers,
            date,
            on_refusal,
            ..
        } = &mut *cx.shared;
        let (request_info, text) = (self.request_info, has_text.then(|| refusal.text()));
        let form = Form {
            may_have_body: has_text,
            request_info,
            date,
        };
        let mut body_length = None;
        self.output.append(buffers, |out| {
            let custom = on_refusal.as_ref();
            body_length = custom.and_then(|custom| custom.write(out, &refusal, form));
            if body_length.is_none() {
                encode::refusal(out, refusal.status(), text, request_info.is_head, date);
            }
        });
        if self.is_observed() {
            let text = text.filter(|_| !request_info.is_head);
            let of_text = text.map_or(0, |text| text.len() as u64 + 1);
            self.report(
                cx.shared,
                cx.now,
                Seen::RefusalQueued(body_length.unwrap_or(of_text)),
            );
        }
    }

    /// Whether the connection was closed while the handler worked on its request.
    pub(super) fn is_closed(&self) -> bool {
        self.state.writing() == Writing::Closed
    }

    pub(super) fn assert_request_pending(&self) {
        assert_eq!(
            self.state.reading(),
            Reading::Responding,
            "no request is waiting for a response"
        );
    }
}
