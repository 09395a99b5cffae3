//! Responses: the handler's, the server's own 500, and refusals.

use http::{Response, StatusCode};
use log::{debug, error};

use super::encode::{self, ResponseHead};
use super::head::HeadLines;
use super::output::Output;
use super::state::{KeepAlive, Reading, Writing};
use super::{CloseReason, Connection, Context, Refusal, Shared};
use crate::body::Body;

impl Connection {
    /// [`respond`](Self::respond) without moving the response, which is large; the body may be
    /// taken out of it.
    pub(crate) fn respond_in_place<B: Body>(
        &mut self,
        cx: &mut Context<'_>,
        response: &mut Response<B>,
    ) {
        if self.is_given_up() {
            return;
        }
        self.assert_a_request_waits();
        let (status, fields, body) = (response.status(), response.headers(), response.body());
        if status.is_informational() {
            let (id, why) = (self.id, encode::why_not_final(status));
            error!(target: "mini_http", "conn {id}: the handler answered {status}: {why}");
            return self.respond_error(cx, "the handler gave no final answer");
        }
        let (exchange, length) = (self.exchange, body.as_bytes().len());
        // A small answer is always made, for a client with a small wish is to be served beside
        // those that hold all the memory; and a large one when nothing else is held.
        let has_body = encode::has_body(status, exchange);
        let is_inserted = has_body && !Output::is_small(length);
        if is_inserted {
            // The request's body is the handler's now.
            self.count_memory(cx);
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
                body_length: length,
                exchange,
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
        self.state.answered();
        self.settle(cx);
    }

    /// Queues the response to a request that is refused; it is the last one.
    #[cold]
    pub(super) fn refuse(&mut self, cx: &mut Context<'_>, refusal: Refusal) {
        debug!(target: "mini_http::conn", "conn {}: {refusal}", self.id);
        self.queue_refusal(cx, refusal.status(), refusal.text());
        self.state.last_answer(refusal.reason());
        self.incoming = None;
        self.drop_stash(cx);
    }

    /// Refuses a request whose end has not come.
    #[cold]
    pub(super) fn refuse_unfinished(&mut self, cx: &mut Context<'_>, refusal: Refusal) {
        match self.state.reading() {
            Reading::Idle | Reading::Head => {
                let head = &self.stash[self.stash_used..];
                // What is kept behind the bytes that were looked at may have bodies in it.
                let seen = &head[..head.len().min(self.looked_at())];
                let mut lines = HeadLines::default();
                // Its verdict isn't needed, only the method.
                let _ = lines.judge(head, cx.limits);
                self.exchange.is_head = lines.is_head_request(head);
                if !seen.is_empty() {
                    self.log_refused_head(seen);
                }
            }
            Reading::Body | Reading::Answering | Reading::Discarding | Reading::Ended => {}
        }
        self.refuse(cx, refusal);
    }

    /// Responds with 500 to the request that is with the handler.
    pub(super) fn respond_error(&mut self, cx: &mut Context<'_>, text: &'static str) {
        self.queue_refusal(cx, StatusCode::INTERNAL_SERVER_ERROR, text);
        self.state.failed(CloseReason::HandlerFailed);
        self.settle(cx);
    }

    /// Refuses the request that is with the handler: there is no room for its response.
    #[cold]
    pub(super) fn respond_refusal(&mut self, cx: &mut Context<'_>, refusal: Refusal) {
        debug!(target: "mini_http::conn", "conn {}: {refusal}", self.id);
        self.queue_refusal(cx, refusal.status(), refusal.text());
        self.state.failed(refusal.reason());
        self.settle(cx);
    }

    pub(super) fn queue_refusal(&mut self, cx: &mut Context<'_>, status: StatusCode, text: &str) {
        let Shared { buffers, date, .. } = &mut *cx.shared;
        let is_head = self.exchange.is_head;
        self.output.append(buffers, |out| {
            encode::refusal(out, status, text, is_head, date);
        });
    }

    /// Whether the connection was given up while its request was with the handler.
    pub(super) fn is_given_up(&self) -> bool {
        self.state.writing() == Writing::Closed
    }

    pub(super) fn assert_a_request_waits(&self) {
        assert_eq!(
            self.state.reading(),
            Reading::Answering,
            "no request waits for its answer"
        );
    }
}
