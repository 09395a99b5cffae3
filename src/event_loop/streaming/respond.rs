//! Polls the futures of requests, and passes their responses to the connections.

use std::sync::Arc;
use std::task::Poll;

use crate::log::{debug, error};

use super::Streaming;
use super::exchange::Exchange;
use super::port::{End, Sent};
use super::tunnel::Tunnel;
use crate::conn::{CloseReason, Connection, Context, Seen};
use crate::event_loop::driver::Driver;
use crate::event_loop::round_robin::Turn;
use crate::event_loop::slot::Slot;
use crate::failure::Failure;
use crate::reactor::Reactor;
use crate::request::reuse_fields;
use crate::upgrade::Pipe;

/// The most bytes of a response's body that are collected for one write. At half, a download takes twice as many
/// calls; at double, slow clients hold twice as much.
const MAX_BATCH: usize = 64 << 10;

impl<'h, H> Streaming<'h, H> {
    /// Polls a connection's future if that can go on, and passes on what it brings.
    pub(super) fn go_on<R: Reactor>(
        &mut self,
        driver: &mut Driver<'_, R>,
        slot: &mut Slot<R::Stream, Exchange<'h>>,
        turn: &mut Turn,
    ) {
        if slot.exchange.tunnel.is_some() {
            return Self::pass_bytes(driver, slot);
        }
        let was_woken = slot.exchange.take_wake();
        Self::catch_up(&mut driver.cx, &mut slot.exchange, &mut slot.connection);
        let can_send = slot.connection.can_send_data(&driver.cx);
        if slot.connection.request_in_progress()
            && (was_woken || can_send && slot.exchange.wants_room())
        {
            self.poll(driver, slot, turn);
        }
        // It has ended, or the connection has refused it: its handler took too long.
        if !slot.connection.request_in_progress() {
            self.end_request(&mut slot.exchange);
        }
    }

    fn poll<R: Reactor>(
        &mut self,
        driver: &mut Driver<'_, R>,
        slot: &mut Slot<R::Stream, Exchange<'h>>,
        turn: &mut Turn,
    ) {
        let must_check_time = turn.add_request();
        if let Some(port) = slot.exchange.port() {
            port.set_room(room(&driver.cx, &slot.exchange, &slot.connection));
        }
        if driver.is_watched() && !slot.exchange.has_head() {
            driver.report(&mut slot.connection, Seen::Polled);
        }
        let exchange = &mut slot.exchange;
        let polled = self.guard(|| exchange.poll());
        self.start_sleeps(&driver.reactor);
        // Before `deliver`: the response says whether the connection closes because of what is left of the body.
        Self::catch_up(&mut driver.cx, &mut slot.exchange, &mut slot.connection);
        self.deliver(driver, slot, turn);
        match polled {
            Some(Poll::Ready(())) => {}
            Some(Poll::Pending) => probe(driver, slot),
            None => fail_by_panic(&mut driver.cx, &slot.exchange, &mut slot.connection),
        }
        if must_check_time && driver.slice.check_time(driver.reactor.now()) {
            turn.end();
        }
    }

    /// Passes what the future has put into its port on to the connection.
    fn deliver<R: Reactor>(
        &mut self,
        driver: &mut Driver<'_, R>,
        slot: &mut Slot<R::Stream, Exchange<'h>>,
        turn: &mut Turn,
    ) {
        let Some(port) = slot.exchange.port().cloned() else {
            return;
        };
        let mut sent = port.sent();
        if sent.head.is_some() && driver.handle.is_stopping() {
            if driver.is_too_late_for_pipelines() {
                slot.connection.close_after_response(CloseReason::Stopped);
            } else {
                driver.read_further(slot, turn);
            }
        }
        if Self::deliver_head(driver, slot, &mut sent) {
            return;
        }
        let (cx, connection) = (&mut driver.cx, &mut slot.connection);
        for data in sent.take_data() {
            // Data beyond the announced length has ended the response.
            if connection.request_in_progress() {
                connection.send_data(cx, data);
            }
        }
        let (trailers, end) = (sent.trailers.take(), sent.end.take());
        if !connection.request_in_progress() {
            return;
        }
        if let Some(trailers) = trailers {
            connection.send_trailers(cx, &trailers);
        }
        match end {
            None => {}
            Some(End::Complete) => connection.end_response(cx),
            Some(End::HandlerFailed(failure)) => fail_handler(cx, connection, failure),
            Some(End::BodyFailed(failure)) => fail_body(cx, connection, failure),
        }
    }

    /// Passes on the head of the response, if it is there, and its body, too, if that is a single piece. Returns
    /// whether that was all of the response.
    fn deliver_head<R: Reactor>(
        driver: &mut Driver<'_, R>,
        slot: &mut Slot<R::Stream, Exchange<'h>>,
        sent: &mut Sent,
    ) -> bool {
        let offer = sent.head.as_ref().and_then(|_| slot.exchange.take_offer());
        if let Some(offer) = &offer {
            slot.connection.set_upgrade_taken(offer.is_taken());
        }
        let is_watched = driver.is_watched();
        let connection = &mut slot.connection;
        let only_piece = sent.take_only_piece();
        let is_whole = only_piece.is_some();
        if let Some(data) = only_piece {
            if let Some((head, _)) = &mut sent.head {
                if is_watched {
                    let returned = Seen::Returned(head.status(), Some(data.len()));
                    driver.report(connection, returned);
                }
                connection.send_response(&mut driver.cx, head, data);
                reuse_fields(head.headers_mut());
            }
            sent.head = None;
        } else if let Some((mut head, length)) = sent.head.take() {
            slot.exchange.set_has_head();
            if is_watched {
                driver.report(connection, Seen::Returned(head.status(), None));
            }
            connection.begin_response(&mut driver.cx, &head, length);
            reuse_fields(head.headers_mut());
            if is_watched {
                driver.report(connection, Seen::HeadQueued);
            }
        }
        if let Some(offer) = offer {
            decide(driver, slot, offer);
        }
        is_whole
    }
}

/// Opens the pipe of an upgrade, or fails its future: called when the response to its request has begun.
#[cold]
fn decide<R: Reactor>(
    driver: &mut Driver<'_, R>,
    slot: &mut Slot<R::Stream, Exchange<'_>>,
    offer: Arc<Pipe>,
) {
    if !slot.connection.is_upgraded() {
        return offer.fail("the response is another one");
    }
    let id = slot.connection.id();
    debug!(target: "mini_http", "conn {id}: upgraded");
    probe(driver, slot);
    offer.open();
    slot.exchange.tunnel = Some(Box::new(Tunnel::new(offer, &slot.connection)));
}

/// How many bytes the response's body may bring in the next poll of the future. After that, the body isn't polled
/// again.
fn room(cx: &Context<'_>, exchange: &Exchange<'_>, connection: &Connection) -> usize {
    if exchange.has_head() && !connection.can_send_data(cx) {
        return 0;
    }
    connection.data_room(cx).min(MAX_BATCH)
}

/// Turns on keep-alive probes, with which the system finds out whether the client is still there: once for each
/// connection, when one of its requests has to wait.
fn probe<R: Reactor>(driver: &mut Driver<'_, R>, slot: &mut Slot<R::Stream, Exchange<'_>>) {
    if !slot.exchange.is_probed {
        slot.exchange.is_probed = true;
        driver.reactor.probe(&mut slot.stream);
    }
}

/// The handler returned an error.
#[cold]
fn fail_handler(cx: &mut Context<'_>, connection: &mut Connection, failure: Failure) {
    let (id, text) = (connection.id(), failure.text);
    match failure.refusal {
        Some(refusal) => {
            debug!(target: "mini_http", "conn {id}: the handler returned the refusal of its request: {text}");
            connection.respond_to_refusal(cx, refusal);
        }
        None => {
            error!(target: "mini_http", "conn {id}: the handler failed; responding with 500: {text}");
            connection.respond_to_error(cx);
        }
    }
}

/// The response's body returned an error.
#[cold]
fn fail_body(cx: &mut Context<'_>, connection: &mut Connection, failure: Failure) {
    let (id, text) = (connection.id(), failure.text);
    match failure.refusal {
        Some(refusal) => {
            debug!(target: "mini_http", "conn {id}: the response ends with its request's refusal: {text}");
            connection.abort_response(cx, refusal.reason());
        }
        None => {
            error!(target: "mini_http", "conn {id}: the response's body failed: {text}");
            connection.abort_response(cx, CloseReason::ResponseFailed);
        }
    }
}

/// The future has panicked: in the handler, or in the response's body.
#[cold]
fn fail_by_panic(cx: &mut Context<'_>, exchange: &Exchange<'_>, connection: &mut Connection) {
    let id = connection.id();
    if exchange.has_head() {
        error!(target: "mini_http", "conn {id}: the response's body panicked");
        connection.abort_response(cx, CloseReason::ResponseFailed);
    } else {
        error!(target: "mini_http", "conn {id}: the handler panicked; responding with 500");
        connection.respond_to_error(cx);
    }
}
