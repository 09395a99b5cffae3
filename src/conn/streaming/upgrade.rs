//! Upgrades: the connection carries another protocol from the head of a response on (RFC 9110 §7.8, §9.3.6).
//!
//! The response is 101 to a request with `Upgrade`, or 2xx to CONNECT. Then bytes pass in both directions as they are.
//! One of the limits still applies: the client must take some of the output in each rate window.

use crate::log::error;
use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, Version, header};

use super::{Received, Streaming};
use crate::conn::encode::{BodyFraming, ResponseHead};
use crate::conn::head::{Head, has_token};
use crate::conn::output::Output;
use crate::conn::state::{Reading, Writing};
use crate::conn::timers::Timer;
use crate::conn::{CloseReason, Connection, Context, Refusal, Seen, Shared};

/// Whether a request asks to upgrade its connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    kind: Kind,
    /// The handler has taken the upgrade: something will use the connection.
    is_taken: bool,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// There is none, and this is why.
    None(&'static str),
    /// `Upgrade`, with the connection option that belongs to it.
    Upgrade,
    /// CONNECT.
    Connect,
}

impl Wish {
    pub(super) fn new(head: &Head) -> Self {
        let request = &head.request;
        let kind = match *request.method() {
            Method::CONNECT => Kind::Connect,
            // Nearly all heads lack the field: then the map need not be searched.
            _ if !head.has_upgrade => Kind::None(NO_UPGRADE_FIELD),
            _ => match why_no_upgrade(request.version(), request.headers()) {
                Some(why) => Kind::None(why),
                None => Kind::Upgrade,
            },
        };
        Self {
            kind,
            is_taken: false,
        }
    }
}

const NO_UPGRADE_FIELD: &str = "the request has no Upgrade field";

/// Why a request doesn't ask for an upgrade. A client that sends `Upgrade` must send the connection option, too. If
/// that is missing, a proxy that doesn't know the field has passed it on (RFC 9110 §7.8).
pub(crate) fn why_no_upgrade(version: Version, fields: &HeaderMap) -> Option<&'static str> {
    if !fields.contains_key(header::UPGRADE) {
        Some(NO_UPGRADE_FIELD)
    } else if version < Version::HTTP_11 {
        Some("the request is not HTTP/1.1")
    } else if !has_token(fields, &header::CONNECTION, "upgrade") {
        Some("the request has Upgrade, but not the option upgrade in Connection")
    } else {
        None
    }
}

/// Upgrades.
impl Connection {
    /// Whether the request with the handler asks for an upgrade, or is CONNECT.
    #[must_use]
    pub fn asks_for_upgrade(&self) -> bool {
        self.streaming
            .as_ref()
            .is_some_and(|streaming| !matches!(streaming.wish.kind, Kind::None(_)))
    }

    /// Records whether something will use the connection after an upgrade. Without that, a response that upgrades is
    /// an error. Call it before [`begin_response`](Self::begin_response).
    pub fn set_upgrade_taken(&mut self, is_taken: bool) {
        if let Some(streaming) = &mut self.streaming {
            streaming.wish.is_taken = is_taken;
        }
    }

    /// Whether the connection was upgraded, and wasn't dropped since.
    ///
    /// Then input is returned as [`Received::Data`], at most the room that was set, and the client's end of stream as
    /// [`Received::End`]. Output is queued by [`send_upgraded`](Self::send_upgraded).
    #[must_use]
    pub fn is_upgraded(&self) -> bool {
        self.state.is_upgraded()
    }

    /// Whether a request is with the handler, or the connection was upgraded.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        self.state.is_in_use()
    }

    /// Sets how many bytes of input the user of the connection hasn't read yet. At most 64 KiB may wait.
    pub fn set_upgraded_queue(&mut self, cx: &mut Context<'_>, queued: usize) {
        if let Some(streaming) = &mut self.streaming
            && self.state.is_upgraded()
            && streaming.request.queued != queued
        {
            streaming.request.queued = queued;
            streaming.request.room = Streaming::MAX_WAITING.saturating_sub(queued);
            self.update_timers_and_budget(cx);
        }
    }

    /// Queues bytes of the other protocol. They are dropped if its output has ended. If they are copied, `data` is
    /// left as it is, so that its memory can be used again.
    pub fn send_upgraded(&mut self, cx: &mut Context<'_>, data: &mut Vec<u8>) {
        let is_open = self.state.is_upgraded() && self.state.writing() == Writing::Open;
        if is_open && !data.is_empty() {
            if Output::is_small(data.len()) {
                self.queue_text(cx, data);
            } else {
                self.queue_data(cx, Bytes::from(std::mem::take(data)));
            }
        }
        self.update_timers_and_budget(cx);
    }

    /// Ends the output: writing is shut down once all of it is sent. Reading goes on.
    pub fn end_upgraded(&mut self, cx: &mut Context<'_>) {
        if self.state.is_upgraded() {
            self.state.upgraded_output_ended();
        }
        self.update_timers_and_budget(cx);
    }

    /// Ends the use of an upgraded connection. It closes once all output is sent, with lingering.
    pub fn drop_upgraded(&mut self, cx: &mut Context<'_>) {
        if self.state.is_upgraded() {
            self.state.upgraded_dropped();
            if let Some(streaming) = &mut self.streaming {
                streaming.request.finish();
                streaming.request.queued = 0;
                streaming.request.upgraded_end = false;
            }
            self.drop_kept(cx);
            self.report(cx.shared, cx.now, Seen::Ended { is_whole: true });
        }
        self.update_timers_and_budget(cx);
    }
}

impl Connection {
    /// Whether a response with this status would change the protocol.
    pub(super) fn is_switching(&self, status: StatusCode) -> bool {
        status == StatusCode::SWITCHING_PROTOCOLS || self.is_connect() && status.is_success()
    }

    /// Whether the method of the request with the handler is CONNECT.
    pub(super) fn is_connect(&self) -> bool {
        self.streaming
            .as_ref()
            .is_some_and(|streaming| matches!(streaming.wish.kind, Kind::Connect))
    }

    /// Queues the head that changes the protocol, or a refusal if the connection can't be upgraded.
    pub(super) fn switch_protocol(&mut self, cx: &mut Context<'_>, head: &Response<()>) {
        match self.may_switch(head) {
            Ok(()) => self.queue_switch(cx, head),
            Err(refusal) => {
                self.respond_refusal(cx, refusal);
                self.forget_request(cx);
            }
        }
    }

    fn may_switch(&self, head: &Response<()>) -> Result<(), Refusal> {
        let Some(streaming) = &self.streaming else {
            return Err(Refusal::no_upgrade());
        };
        let wish = streaming.wish;
        let why = match wish.kind {
            Kind::None(why) => why,
            Kind::Connect if !head.status().is_success() => "the method is CONNECT",
            // Most handlers know nothing of CONNECT, so this is no fault.
            Kind::Connect if !wish.is_taken => return Err(Refusal::no_tunnels()),
            Kind::Upgrade if !wish.is_taken => {
                "the handler hasn't called `upgrade` with the request, or has dropped the future"
            }
            Kind::Upgrade if !head.headers().contains_key(header::UPGRADE) => {
                "the response has no Upgrade field"
            }
            Kind::Upgrade | Kind::Connect if !self.has_whole_request() => {
                "the request's body has not been received to its end"
            }
            Kind::Upgrade | Kind::Connect => return Ok(()),
        };
        let (id, status) = (self.id, head.status());
        error!(target: "mini_http", "conn {id}: the handler responded with {status}, but can't upgrade: {why}");
        Err(Refusal::no_upgrade())
    }

    fn has_whole_request(&self) -> bool {
        self.streaming.as_ref().is_some_and(|streaming| {
            // Its end may not have been returned yet.
            let is_streaming = self.state.reading() == Reading::Streaming;
            streaming.request.is_whole || is_streaming && streaming.request.is_received()
        })
    }

    fn queue_switch(&mut self, cx: &mut Context<'_>, head: &Response<()>) {
        let head = ResponseHead {
            status: head.status(),
            fields: head.headers(),
            framing: BodyFraming::UntilClose,
            has_trailers: false,
            request_info: self.request_info,
            persists: true,
        };
        let Shared { buffers, date, .. } = &mut *cx.shared;
        self.output
            .append(buffers, |out| head.write_switch(out, date));
        if self.is_observed() {
            self.report(cx.shared, cx.now, Seen::HeadQueued);
        }
        if self.state.reading() == Reading::Streaming {
            self.state.streamed_body_ended();
        }
        self.state.upgraded();
        let has_ended = self.state.reading() == Reading::Ended;
        if let Some(streaming) = &mut self.streaming {
            streaming.request.begin_upgraded(has_ended);
            streaming.response.clear();
        }
        self.end_input_if_due(cx);
    }

    /// Input of the other protocol, as far as there is room.
    pub(super) fn read_upgraded(&mut self, input: &mut &[u8]) -> Option<Received> {
        let request = &mut self.streaming.as_mut()?.request;
        let (data, rest) = input.split_at(request.room.min(input.len()));
        if data.is_empty() {
            return None;
        }
        *input = rest;
        request.room -= data.len();
        request.queued += data.len();
        self.received += data.len() as u64;
        Some(Received::Data(Bytes::copy_from_slice(data)))
    }

    /// The timers of an upgraded connection: only that of the output, from the last write that the client took.
    pub(super) fn update_upgraded_timers(&mut self, cx: &Context<'_>) {
        self.timers.stop_input();
        if self.written > self.written_before_window && self.timers.is_write_set() {
            self.written_before_window = self.written;
            self.timers.start(Timer::Write, cx.now, cx.limits);
        }
    }

    /// Makes the response to CONNECT the last one if it makes no tunnel: what follows may be meant for the tunnel.
    pub(super) fn close_after_connect(&mut self) {
        if self.is_connect() {
            self.state.will_close(CloseReason::HandlerAskedClose);
        }
    }
}
