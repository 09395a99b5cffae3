//! Streamed bodies: the handler gets a request when its head is complete, receives the body in parts, and
//! returns its response in parts.
//!
//! A connection is driven with complete bodies, by [`Connection::handle_input`], or with streams, by
//! [`Connection::handle_input_streaming`]. A driver uses one of them for all of its connections.
//!
//! | what | where |
//! |---|---|
//! | input: heads, parts of bodies, the client's end of stream | `input` |
//! | the request's body: how much is wanted, and for what | `body` |
//! | the response: its framing, parts and end | `response` |
//! | timers: which run, and what happens when they expire | `timers` |
//! | trailer sections, received and sent | `trailers` |
//! | upgrades to another protocol | `upgrade` |
//!
//! # Driving a stream
//!
//! 1. Read up to [`read_limit`](Connection::read_limit) bytes, and pass them to `handle_input_streaming`
//!    until it returns `None`. Do the same with an empty slice whenever
//!    [`has_usable_input`](Connection::has_usable_input) is true.
//! 2. For [`Received::Head`], start the handler. Let it run before the rest of the input is passed: then
//!    a body that is gathered isn't copied twice.
//! 3. Report what the handler does with the body: [`set_body_room`](Connection::set_body_room),
//!    [`await_body`](Connection::await_body), [`drop_body`](Connection::drop_body) and so on.
//! 4. Pass the response on with [`begin_response`](Connection::begin_response),
//!    [`send_data`](Connection::send_data) while [`can_send_data`](Connection::can_send_data), and
//!    [`end_response`](Connection::end_response).
//! 5. When [`request_in_progress`](Connection::request_in_progress) becomes false without that, the
//!    connection has responded by itself, or is closed: drop the handler's future. If
//!    [`is_upgraded`](Connection::is_upgraded), it carries another protocol now.

mod body;
mod input;
mod response;
mod timers;
mod trailers;
mod upgrade;

use bytes::Bytes;
use http::HeaderMap;

use self::body::RequestBody;
use self::response::ResponseBody;
use self::timers::Timers;
#[cfg(feature = "wasi-http")]
pub(crate) use self::trailers::keep_valid as keep_valid_trailers;
use self::upgrade::Wish;
pub(crate) use self::upgrade::why_no_upgrade;
use super::head::Head;
use super::state::{Reading, ResponseState};
use super::{Connection, Context, Framing, Refusal};
use crate::request::Request;

/// How many bytes each direction of a stream, or of an upgraded connection, may hold even while the budget is full, so
/// that no stream stops. For 10,000 connections this is 40 MiB. With half of it, their streams would take twice as many
/// turns. A part of a response may be larger, if nothing else of the response is held.
pub(crate) const MIN_ROOM: usize = 4 << 10;

/// What [`Connection::handle_input_streaming`] has received.
#[derive(Debug)]
pub enum Received {
    /// The head of a request, and how long its body is.
    Head(Request, BodyLength),
    /// Bytes of the body, or of an upgraded connection: at most as many as there was room for.
    Data(Bytes),
    /// The body is complete; its trailers, if it has any. On an upgraded connection: the client has ended its stream.
    End(Option<HeaderMap>),
    /// After [`Connection::gather_body`]: all the rest of the body.
    Whole(Bytes),
    /// The body can't be received. No more of it follows. Respond nevertheless: with the refusal, or
    /// otherwise.
    Failed(Refusal),
}

/// How long the body of a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// There is no body.
    None,
    /// As many bytes, more than 0.
    Exact(u64),
    /// Its length becomes known with its end.
    Chunked,
}

impl From<Framing> for BodyLength {
    fn from(framing: Framing) -> Self {
        match framing {
            Framing::None => Self::None,
            Framing::Length(length) => Self::Exact(length),
            Framing::Chunked => Self::Chunked,
        }
    }
}

/// How long the body of a response is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseLength {
    /// As many bytes.
    Exact(u64),
    /// Known with its end. If the response has a valid `Content-Length`, that must be kept.
    Unknown,
    /// For HEAD: a router has left out the body that GET would get, and with it its length.
    LeftOut,
}

/// The state of a connection where bodies stream. It exists from the first request on.
#[derive(Debug)]
pub(super) struct Streaming {
    pub(super) calls: &'static Calls,
    request: RequestBody,
    response: ResponseBody,
    timers: Timers,
    wish: Wish,
    /// The client's stream has ended. Input from before that may be kept.
    input_has_ended: bool,
    /// The end of the connection must not look like the end of the response.
    wants_reset: bool,
}

/// What a connection calls because its bodies stream. It reaches these functions only through its
/// [`Streaming`]: so a program in which no body streams doesn't contain them.
#[derive(Debug)]
pub(super) struct Calls {
    pub(super) read_limit: fn(&Connection, &Context<'_>) -> usize,
    pub(super) has_usable_input: fn(&Connection, &Context<'_>) -> bool,
    pub(super) handle_end_of_input: fn(&mut Connection, &mut Context<'_>),
    pub(super) respond_to_error: fn(&mut Connection, &mut Context<'_>),
    pub(super) stop_draining: fn(&mut Connection, &mut Context<'_>),
    pub(super) update_timers: fn(&mut Connection, &Context<'_>) -> bool,
    pub(super) timer_expired: fn(&mut Connection, &mut Context<'_>),
    pub(super) held: fn(&Streaming) -> usize,
    pub(super) clear: fn(&mut Streaming),
}

static CALLS: Calls = Calls {
    read_limit: Connection::read_limit,
    has_usable_input: Connection::has_usable_stream,
    handle_end_of_input: Connection::handle_end_of_streaming,
    respond_to_error: Connection::respond_to_error,
    stop_draining: Connection::stop_draining,
    update_timers: Connection::update_stream_timers,
    timer_expired: Connection::stream_timer_expired,
    held: Streaming::held,
    clear: Streaming::clear,
};

impl Streaming {
    /// The most bytes that wait for the handler, and the most input that is kept after a request,
    /// in bytes. It is one read: half of it costs a fast upload twice as many reads, and with double,
    /// 1,000 stalled uploads would fill the budget of a module by themselves.
    pub(super) const MAX_WAITING: usize = 64 << 10;

    fn new(head: &Head) -> Self {
        Self {
            calls: &CALLS,
            request: RequestBody::new(head),
            response: ResponseBody::new(head),
            timers: Timers::default(),
            wish: Wish::new(head),
            input_has_ended: false,
            wants_reset: false,
        }
    }

    /// Bytes of memory that the streams hold.
    fn held(&self) -> usize {
        self.request.held() + self.response.held()
    }

    /// The client has taken output.
    pub(super) fn output_taken(&mut self) {
        self.timers.output_taken();
    }

    /// Drops what the streams hold, once the connection is closed.
    fn clear(&mut self) {
        self.request.finish();
        self.request.queued = 0;
        self.response.clear();
    }
}

/// Getters where bodies stream.
impl Connection {
    /// Whether a head was returned, and its response has not ended.
    #[must_use]
    pub fn request_in_progress(&self) -> bool {
        self.state.is_in_progress()
    }

    /// Whether the body of the response may be polled: its head is queued, and there is room for more
    /// output.
    #[must_use]
    pub fn can_send_data(&self, cx: &Context<'_>) -> bool {
        self.state.response() == ResponseState::Begun && self.data_room(cx) > 0
    }

    /// The room for data of a response, in bytes: its body may be polled until it has returned this many. The
    /// last part may exceed that, because its length isn't known before. With 0, the body must not be polled.
    #[must_use]
    pub fn data_room(&self, cx: &Context<'_>) -> usize {
        let pending = self.output.pending();
        if pending >= cx.limits.max_pending_output {
            return 0;
        }
        let room = cx.shared.budget.room(cx.limits);
        match room < MIN_ROOM {
            true => room.max(self.min_room(pending)),
            false => room,
        }
    }

    /// The most bytes to read at once; 0 if nothing should be read now.
    #[must_use]
    pub fn read_limit(&self, cx: &Context<'_>) -> usize {
        if self.input_has_ended() {
            return 0;
        }
        let kept = self.kept.len() - self.kept_used;
        let (wanted, waiting) = match (&self.streaming, self.state.reading()) {
            (Some(streaming), Reading::Streaming | Reading::Upgraded) => {
                streaming.request.wanted(kept)
            }
            (Some(_), Reading::Responding) => (Streaming::MAX_WAITING.saturating_sub(kept), kept),
            // A head for which there is no room is refused.
            (_, Reading::ProxyHeader | Reading::Idle | Reading::Head)
                if self.has_room_for_responses(cx) =>
            {
                (Streaming::MAX_WAITING, 0)
            }
            // What is dropped isn't held.
            (_, Reading::Discarding) if self.wants_discarded(cx) => {
                return Streaming::MAX_WAITING;
            }
            (_, _) => return 0,
        };
        let room = cx.shared.budget.room(cx.limits);
        wanted.min(room.max(MIN_ROOM.saturating_sub(waiting)))
    }

    /// Whether the connection should be reset, not closed: its response has no other end than that of
    /// the connection, and wasn't completed.
    #[must_use]
    pub fn wants_reset(&self) -> bool {
        self.streaming
            .as_ref()
            .is_some_and(|streaming| streaming.wants_reset)
    }
}

impl Connection {
    /// The room for data while the budget is full. The next part is expected to be as long as the longest so
    /// far.
    fn min_room(&self, pending: usize) -> usize {
        let longest = self.streaming.as_ref().map_or(0, |it| it.response.longest);
        let room = match longest {
            0 => 0,
            _ => MIN_ROOM.saturating_sub(pending + longest),
        };
        // One part, however long it is.
        room.max(usize::from(pending == 0))
    }

    /// Whether the client's stream has ended, where bodies stream: also if input from before that is
    /// kept.
    pub(super) fn input_has_ended(&self) -> bool {
        self.state.reading() == Reading::Ended
            || self
                .streaming
                .as_ref()
                .is_some_and(|streaming| streaming.input_has_ended)
    }

    /// [`has_usable_input`](Self::has_usable_input) where bodies stream.
    fn has_usable_stream(&self, cx: &Context<'_>) -> bool {
        self.streaming.as_ref().is_some_and(|streaming| {
            self.has_event(streaming) || self.has_unused_input() && self.can_use(streaming, cx)
        })
    }

    /// Where bodies stream: whether kept input can be used now, and need not wait for the handler.
    fn can_use(&self, streaming: &Streaming, cx: &Context<'_>) -> bool {
        match self.state.reading() {
            Reading::Idle | Reading::Head => self.has_room_for_responses(cx),
            Reading::Streaming | Reading::Upgraded => streaming.request.can_take(),
            _ => false,
        }
    }

    /// Where bodies stream: whether [`handle_input_streaming`](Self::handle_input_streaming) has something
    /// to return without further input.
    fn has_event(&self, streaming: &Streaming) -> bool {
        streaming.request.fault.is_some()
            || streaming.request.upgraded_end
            || self.state.reading() == Reading::Streaming && streaming.request.is_received()
    }
}
