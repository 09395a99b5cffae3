//! Requests and their bodies: from the connection to the handler.

use std::future::Future;
use std::ops::Range;
use std::rc::Rc;

use crate::log::debug;

use super::Streaming;
use super::exchange::{Exchange, run};
use crate::PeerAddr;
use crate::conn::{BodyLength, Connection, Context, Received, Refusal, Seen, SeenHead};
use crate::connection_id::{ConnectionId, LocalAddr};
use crate::event_loop::driver::Driver;
use crate::event_loop::slot::Slot;
use crate::incoming::{QUEUE, Stream, StreamedRequest};
use crate::into_response::IntoResponse;
use crate::log_text::Escaped;
use crate::reactor::Reactor;
use crate::request::Request;
use crate::upgrade::{self, Pipe};

impl<'h, H> Streaming<'h, H> {
    /// Passes this part of the driver's buffer to the connection, and what that brings to the handler. Returns where in
    /// the buffer it has stopped: before the end of the part if the handler is to run first.
    pub(super) fn receive<R, F>(
        &mut self,
        driver: &mut Driver<'_, R>,
        slot: &mut Slot<R::Stream, Exchange<'h>>,
        part: Range<usize>,
    ) -> usize
    where
        R: Reactor,
        H: FnMut(StreamedRequest) -> F + 'h,
        F: Future<Output: IntoResponse> + 'h,
    {
        let mut input = &driver.buffer[part.clone()];
        let connection = &mut slot.connection;
        while let Some(received) = connection.handle_input_streaming(&mut driver.cx, &mut input) {
            match received {
                Received::Head(request, length) => {
                    driver.handle.count_request();
                    let id = connection.id();
                    debug!(
                        target: "mini_http",
                        "conn {id}: begin processing {}",
                        Escaped(format!("{} {}", request.method(), request.uri()).as_bytes())
                    );
                    if driver.is_watched() {
                        let head = Seen::Head(SeenHead::of(&request));
                        connection.report(driver.cx.shared, driver.cx.now, head);
                    }
                    self.begin(&driver.cx, &mut slot.exchange, connection, request, length);
                    if runs_first(length, input.len()) {
                        break;
                    }
                }
                Received::Data(data) => match &slot.exchange.tunnel {
                    Some(tunnel) => tunnel.push(&mut driver.cx, connection, data),
                    None => slot.exchange.pass(|body| body.push(data)),
                },
                Received::End(trailers) => match &slot.exchange.tunnel {
                    Some(tunnel) => tunnel.end_input(),
                    None => slot.exchange.pass(|body| body.finish(trailers)),
                },
                Received::Whole(rest) => slot.exchange.pass(|body| body.whole(rest)),
                Received::Failed(refusal) => slot.exchange.pass(|body| body.fail(refusal)),
            }
        }
        part.end - input.len()
    }

    /// Keeps this part of the driver's buffer for later.
    pub(super) fn keep<R: Reactor>(
        driver: &mut Driver<'_, R>,
        slot: &mut Slot<R::Stream, Exchange<'h>>,
        part: Range<usize>,
    ) {
        if !part.is_empty() {
            let rest = &driver.buffer[part];
            slot.connection.keep_input(&mut driver.cx, rest);
        }
    }

    /// Makes the future of a request. It calls the handler when it is polled.
    fn begin<F>(
        &mut self,
        cx: &Context<'_>,
        exchange: &mut Exchange<'h>,
        connection: &Connection,
        mut request: Request,
        length: BodyLength,
    ) where
        H: FnMut(StreamedRequest) -> F + 'h,
        F: Future<Output: IntoResponse> + 'h,
    {
        let tools = exchange.tools(self.context.inbox());
        let stream = |announced| Stream::new(announced, tools.notify(), cx.limits.max_body);
        let (body, receiver) = match length {
            BodyLength::None => None,
            BodyLength::Exact(length) => Some(stream(Some(length))),
            BodyLength::Chunked => Some(stream(None)),
        }
        .unzip();
        if let Some(peer) = connection.peer() {
            request.extensions_mut().insert(PeerAddr(peer));
        }
        if self.connection_extensions {
            add_connection(request.extensions_mut(), connection);
        }
        let offer = connection
            .asks_for_upgrade()
            .then(|| Pipe::new(tools.notify()));
        if let Some(offer) = &offer {
            upgrade::offer(request.extensions_mut(), offer);
        }
        tools.port.begin(request.method());
        let request = StreamedRequest {
            head: request,
            body: receiver,
        };
        let future = run(Rc::clone(&self.handler), Rc::clone(&tools.port), request);
        exchange.begin(Box::pin(future), body, offer);
        self.in_handlers += 1;
    }

    /// Reports to the connection what the handler has done with the request's body.
    pub(super) fn catch_up(
        cx: &mut Context<'_>,
        exchange: &mut Exchange<'h>,
        connection: &mut Connection,
    ) {
        let Some(running) = &mut exchange.running else {
            return;
        };
        let Some(body) = &running.body else {
            return;
        };
        let seen = body.receiver_state();
        if seen.is_dropped {
            running.body = None;
            connection.set_queued(cx, 0);
            return connection.drop_body(cx);
        }
        if seen.over_limit {
            connection.fail_body(Refusal::body_too_large());
        }
        if let Some(rate) = seen.min_rate {
            connection.set_body_rate(rate);
        }
        if let Some(limit) = seen.gather {
            connection.gather_body(cx, limit);
        }
        connection.set_queued(cx, seen.queued);
        connection.set_body_room(cx, QUEUE.saturating_sub(seen.queued));
        connection.await_body(cx, seen.is_awaited);
    }
}

/// Adds the extensions about a request's connection. Each costs an allocation, so they are off by default.
fn add_connection(extensions: &mut http::Extensions, connection: &Connection) {
    extensions.insert(ConnectionId(connection.id()));
    if let Some(local) = connection.local() {
        extensions.insert(LocalAddr(local));
    }
}

/// Whether the handler runs before the rest of the input is parsed. `received` is how many bytes follow the head.
///
/// If they don't contain the complete body, the handler runs first: it may await the body in one piece, which is then
/// not copied twice. If they do, the body is passed on first, so that the handler finds it at its first poll. Without a
/// body, too, the handler runs first: if it is ready at once, the input that follows needn't be kept.
fn runs_first(length: BodyLength, received: usize) -> bool {
    match length {
        BodyLength::None => true,
        BodyLength::Exact(length) => length > received as u64,
        BodyLength::Chunked => true,
    }
}
