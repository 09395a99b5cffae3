//! What a request's future and the loop pass to each other.
//!
//! While the future runs, the loop has borrowed the connection. So the future puts its response into the connection's
//! [`Port`], and the loop takes it from there after each poll.

use std::cell::{Cell, RefCell, RefMut};
use std::future::{Future, poll_fn};
use std::task::Poll;
use std::vec::Drain;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, Response};
use http_body::Body;

use crate::conn::{ResponseLength, has_body};
use crate::failure::Failure;

/// What a request's future and the loop pass to each other. One for each connection.
#[derive(Default)]
pub(crate) struct Port {
    /// Whether the method of the request is HEAD.
    is_head_request: Cell<bool>,
    /// Whether it is CONNECT.
    is_connect: Cell<bool>,
    /// The body is polled until this many bytes wait in `sent`; 0 if it must not be polled.
    room: Cell<usize>,
    /// The future waits for room.
    wants_room: Cell<bool>,
    sent: RefCell<Sent>,
}

/// What a future has put into its port, and the loop has not taken yet.
#[derive(Default)]
pub(crate) struct Sent {
    pub(crate) head: Option<(Response<()>, ResponseLength)>,
    data: Vec<Bytes>,
    /// The length of `data`, all together, and what the pieces themselves take.
    length: usize,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) end: Option<End>,
}

/// How a request's future has ended.
pub(crate) enum End {
    /// The response is complete.
    Complete,
    /// The handler returned an error instead of a response.
    HandlerFailed(Failure),
    /// The response's body returned an error.
    BodyFailed(Failure),
}

/// The loop's side.
impl Port {
    /// Begins a request with this method.
    pub(crate) fn begin(&self, method: &Method) {
        self.is_head_request.set(method == Method::HEAD);
        self.is_connect.set(method == Method::CONNECT);
    }

    /// Sets how many bytes the body may put here in the next poll.
    pub(crate) fn set_room(&self, room: usize) {
        self.room.set(room);
        self.wants_room.set(false);
    }

    /// Whether the future waits for room.
    pub(crate) fn wants_room(&self) -> bool {
        self.wants_room.get()
    }

    /// What the future has put here.
    pub(crate) fn sent(&self) -> RefMut<'_, Sent> {
        self.sent.borrow_mut()
    }

    /// Whether something is left of a response that was not completed.
    pub(crate) fn is_used(&self) -> bool {
        !self.sent.borrow().is_empty()
    }

    /// Drops what was sent.
    pub(crate) fn clear(&self) {
        self.wants_room.set(false);
        let mut sent = self.sent.take();
        // Dropping may run code of the user, so `self.sent` isn't borrowed meanwhile.
        sent.clear();
        *self.sent.borrow_mut() = sent;
    }
}

/// The future's side.
impl Port {
    /// Sends the response's head. Returns the body if that is to be polled: not for HEAD, nor for a status without a
    /// body. Routers leave out the body of a response to HEAD. So if the handler `may_leave_out_body`, an empty body
    /// doesn't become `Content-Length: 0`: the response to GET may have a body.
    pub(crate) fn send_head<B: Body>(
        &self,
        response: Response<B>,
        may_leave_out_body: bool,
    ) -> Option<B> {
        let may_be_left_out = may_leave_out_body && self.is_head_request.get();
        let length = match response.body().size_hint().exact() {
            Some(0) if may_be_left_out && !response.headers().contains_key(CONTENT_LENGTH) => {
                ResponseLength::LeftOut
            }
            Some(length) => ResponseLength::Exact(length),
            None => ResponseLength::Unknown,
        };
        // After 2xx to CONNECT, the connection is a tunnel.
        let is_tunnel = self.is_connect.get() && response.status().is_success();
        let has_body = has_body(response.status(), self.is_head_request.get()) && !is_tunnel;
        let (parts, body) = response.into_parts();
        self.sent.borrow_mut().head = Some((Response::from_parts(parts, ()), length));
        has_body.then_some(body)
    }

    /// Returns when there is room for a part of the body.
    pub(crate) fn room(&self) -> impl Future<Output = ()> + '_ {
        poll_fn(|_| {
            if self.sent.borrow().length < self.room.get() {
                return Poll::Ready(());
            }
            // The loop polls again when the connection has room.
            self.wants_room.set(true);
            Poll::Pending
        })
    }

    pub(crate) fn send_data(&self, data: Bytes) {
        let mut sent = self.sent.borrow_mut();
        sent.length = sent.length.saturating_add(data.len() + PIECE);
        sent.data.push(data);
    }

    pub(crate) fn send_trailers(&self, trailers: HeaderMap) {
        self.sent.borrow_mut().trailers = Some(trailers);
    }

    pub(crate) fn end(&self, end: End) {
        self.sent.borrow_mut().end = Some(end);
    }
}

/// What a piece takes beside its bytes. It counts, because many small pieces would otherwise hold a multiple of the
/// room.
const PIECE: usize = size_of::<Bytes>();

/// The list of pieces is kept for the next request up to this length: at half, an event stream that sends
/// several events at a time allocates; at double, an idle connection holds 1 KiB for it.
const KEPT_PIECES: usize = 16;

impl Sent {
    /// Takes the pieces of the body.
    pub(crate) fn take_data(&mut self) -> Drain<'_, Bytes> {
        self.length = 0;
        self.data.drain(..)
    }

    /// Takes the body of a response that is complete, if it is one piece of the announced length. The head is
    /// left.
    pub(crate) fn take_only_piece(&mut self) -> Option<Bytes> {
        let (_, ResponseLength::Exact(length)) = self.head.as_ref()? else {
            return None;
        };
        let received = self.data.first().map_or(0, Bytes::len);
        let is_complete = matches!(self.end, Some(End::Complete)) && self.trailers.is_none();
        if !is_complete || self.data.len() > 1 || *length != received as u64 {
            return None;
        }
        (self.length, self.end) = (0, None);
        Some(self.data.pop().unwrap_or_default())
    }

    fn is_empty(&self) -> bool {
        let Self {
            head,
            data,
            length: _,
            trailers,
            end,
        } = self;
        head.is_none() && data.is_empty() && trailers.is_none() && end.is_none()
    }

    fn clear(&mut self) {
        self.head = None;
        self.data.clear();
        self.data.shrink_to(KEPT_PIECES);
        self.length = 0;
        self.trailers = None;
        self.end = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_router_leaves_out_a_body_and_only_for_head() {
        let length = |method: &Method, body: &'static str, stated: Option<u64>, is_router| {
            let mut response = Response::new(String::from(body));
            if let Some(stated) = stated {
                let fields = response.headers_mut();
                fields.insert(CONTENT_LENGTH, stated.into());
            }
            let port = Port::default();
            port.begin(method);
            let body = port.send_head(response, is_router);
            assert_eq!(body.is_some(), method != Method::HEAD);
            port.sent().head.take().map(|(_, length)| length)
        };
        let (exact, left_out) = (ResponseLength::Exact, ResponseLength::LeftOut);
        for (method, body, stated, is_router, expected) in [
            (Method::HEAD, "", None, true, left_out),
            (Method::HEAD, "", None, false, exact(0)),
            (Method::HEAD, "", Some(7), true, exact(0)),
            (Method::HEAD, "abc", None, true, exact(3)),
            (Method::GET, "", None, true, exact(0)),
        ] {
            let case = format!("{method} {body:?} {stated:?} {is_router}");
            let length = length(&method, body, stated, is_router);
            assert_eq!(length, Some(expected), "{case}");
        }
    }
}
