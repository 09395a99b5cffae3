//! The mode of [`Server::serve`](crate::Server::serve): the handler is called with a complete request, and returns
//! a complete response.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::log::{debug, error};
use http::Response;
use poll_turns::Key;

use super::driver::Driver;
use super::mode::Mode;
use super::observed::report;
use super::round_robin::Turn;
use super::slot::Slot;
use crate::body::Whole;
use crate::conn::{CloseReason, Seen, SeenHead};
use crate::log_text::Escaped;
use crate::reactor::Reactor;
use crate::request::Request;

/// Calls the handler with complete requests.
pub(super) struct WholeBodies<H> {
    pub(super) handler: H,
}

impl<R, B, H> Mode<R> for WholeBodies<H>
where
    R: Reactor,
    B: Whole,
    H: FnMut(Request) -> Response<B>,
{
    type Exchange = ();

    #[inline]
    fn open(&mut self, _key: Key) {}

    fn handle_input(
        &mut self,
        driver: &mut Driver<'_, R>,
        slot: &mut Slot<R::Stream, ()>,
        length: usize,
        turn: &mut Turn,
    ) {
        let mut input = &driver.buffer[..length];
        let is_watched = driver.is_watched();
        while let Some(request) = slot.connection.handle_input(&mut driver.cx, &mut input) {
            let must_check_time = turn.add_request();
            driver.handle.count_request();
            let id = slot.connection.id();
            debug!(
                target: "mini_http",
                "conn {id}: begin processing {}",
                Escaped(format!("{} {}", request.method(), request.uri()).as_bytes())
            );
            if is_watched {
                let (reactor, cx) = (&driver.reactor, &mut driver.cx);
                let called = Seen::Called(SeenHead::of(&request), cx.now);
                report(reactor, cx, &mut slot.connection, called);
            }
            let mut result = if driver.catch_panics {
                catch_unwind(AssertUnwindSafe(|| (self.handler)(request)))
            } else {
                Ok((self.handler)(request))
            };
            if driver.handle.is_stopping() {
                if driver.is_too_late_for_pipelines() {
                    slot.connection.close_after_response(CloseReason::Stopped);
                } else if input.is_empty() {
                    input = &[];
                    driver.read_further(slot, turn);
                }
            }
            let connection = &mut slot.connection;
            if is_watched && let Ok(response) = &result {
                let length = response.body().as_bytes().len();
                let (reactor, cx) = (&driver.reactor, &mut driver.cx);
                let returned = Seen::Returned(response.status(), Some(length));
                report(reactor, cx, connection, returned);
            }
            match &mut result {
                Ok(response) => connection.respond_in_place(&mut driver.cx, response),
                Err(_) => {
                    error!(target: "mini_http", "conn {id}: the handler panicked; responding with 500");
                    connection.respond_to_panic(&mut driver.cx);
                }
            }
            if must_check_time && driver.slice.check_time(driver.reactor.now()) {
                turn.end();
            }
            if turn.is_over() {
                return connection.keep_input(&mut driver.cx, input);
            }
        }
    }

    #[inline]
    fn close(&mut self, (): (), _reason: CloseReason) {}
}
