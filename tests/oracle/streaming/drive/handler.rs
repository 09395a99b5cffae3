//! What the handler does: with the body of the request, and for the response.

use super::Drive;
use mini_http::conn::state::{ResponseState, Writing};
use mini_http::conn::{Connection, ResponseLength};
use mini_http::{Bytes, CloseReason, Response};

impl Drive {
    /// The handler takes what is in its queue. Then the queue has room for `amount` bytes, or for 64 KiB if it is 15.
    pub(super) fn take(&mut self, amount: usize) {
        let room = if amount == 15 { 64 << 10 } else { amount };
        if self.checked.connection.is_upgraded() {
            self.queued = (64 << 10) - room;
            let queued = self.queued;
            return self.call(|connection, cx| connection.set_upgraded_queue(cx, queued));
        }
        self.queued = 0;
        self.call(|connection, cx| {
            connection.set_queued(cx, 0);
            connection.set_body_room(cx, room);
        });
    }

    /// The handler decides what becomes of the body.
    pub(super) fn decide(&mut self, amount: usize) {
        match amount {
            0..4 => self.call(Connection::drop_body),
            4..9 => {
                let limit = (amount as u64 - 4) * 50;
                self.call(|connection, cx| connection.gather_body(cx, limit));
            }
            9 | 10 => {
                self.call(|connection, _| connection.set_body_rate(amount as u32 * 100 - 900))
            }
            _ => {
                let fault = self.exchanges.last().and_then(|exchange| exchange.fault);
                if let Some(refusal) = fault {
                    self.call(|connection, _| connection.fail_body(refusal));
                    self.call(|connection, cx| connection.respond_to_refusal(cx, refusal));
                }
            }
        }
    }

    pub(super) fn begin(&mut self, amount: usize) {
        if self.checked.connection.state().response() != ResponseState::Awaited {
            return;
        }
        let status = [200, 200, 200, 200, 204, 304, 205, 103][amount & 7];
        if status == 103 && amount > 7 || self.exchanges.last().is_some_and(|it| it.is_connect) {
            return self.upgrade(amount);
        }
        let promised = (amount as u64 & 3) * 7;
        let mut head = Response::builder().status(status);
        let length = match amount {
            0 | 3 => ResponseLength::Unknown,
            1 => {
                head = head.header("Content-Length", promised);
                ResponseLength::Unknown
            }
            _ => ResponseLength::Exact(promised),
        };
        if amount == 11 {
            head = head.header("Connection", "close");
        }
        let head = head.body(()).expect("a response");
        let exchange = self.exchanges.last_mut().expect("a request in progress");
        exchange.response.status = Some(if status < 200 { 500 } else { status });
        if !matches!(amount, 0 | 3) {
            exchange.response.length = Some(promised);
        }
        let is_bodiless = exchange.is_head || status != 200;
        exchange.response.is_complete = is_bodiless;
        let polls = self.call(|connection, cx| connection.begin_response(cx, &head, length));
        assert_eq!(polls, !is_bodiless);
        assert_eq!(polls, self.checked.connection.request_in_progress());
    }

    /// The handler responds as for an upgrade, whether it was asked for or not.
    fn upgrade(&mut self, amount: usize) {
        let is_taken = amount & 1 == 0 || amount > 7;
        let exchange = self.exchanges.last_mut().expect("a request in progress");
        let status = if exchange.is_connect { 200 } else { 101 };
        let head = Response::builder().status(status).header("upgrade", "x");
        let head = head.body(()).expect("a response");
        let is_whole = exchange.is_complete;
        let polls = self.call(|connection, cx| {
            connection.set_upgrade_taken(is_taken);
            connection.begin_response(cx, &head, ResponseLength::Exact(0))
        });
        let connection = &self.checked.connection;
        let (is_upgrade, is_closed) = (
            connection.is_upgraded(),
            connection.state().writing() == Writing::Closed,
        );
        assert!(!polls && !connection.request_in_progress());
        let exchange = self.exchanges.last_mut().expect("a request in progress");
        let may = is_taken && (exchange.is_connect || exchange.asks_for_upgrade);
        assert!(may || !is_upgrade, "an upgrade that wasn't asked for");
        assert!(
            is_upgrade || is_closed || !may || !is_whole,
            "no upgrade, although it was asked for"
        );
        exchange.response.is_upgrade = is_upgrade;
        exchange.response.is_complete = true;
        exchange.response.status = Some(match is_upgrade {
            true => status,
            false if exchange.is_connect && !is_taken => 501,
            false => 500,
        });
        self.queued = 0;
    }

    pub(super) fn send(&mut self, length: usize) {
        if self.checked.connection.is_upgraded() {
            return self.send_upgraded(length);
        }
        let can_send = self.call(|connection, cx| connection.can_send_data(cx));
        let Some(exchange) = self.exchanges.last_mut().filter(|_| can_send) else {
            return;
        };
        let given = &mut exchange.response;
        let start = given.parts.len();
        given
            .parts
            .extend((start..start + length).map(|at| b'a' + (at % 23) as u8));
        let is_too_much = given
            .length
            .is_some_and(|most| given.parts.len() as u64 > most);
        let part = Bytes::copy_from_slice(&given.parts[start..]);
        self.call(|connection, cx| connection.send_data(cx, part));
        assert_eq!(self.checked.connection.request_in_progress(), !is_too_much);
    }

    fn send_upgraded(&mut self, length: usize) {
        let is_open = self.checked.connection.state().writing() == Writing::Open;
        let Some(exchange) = self.exchanges.last_mut().filter(|_| is_open) else {
            return;
        };
        let mut data = vec![b'u'; length];
        exchange.response.parts.extend_from_slice(&data);
        self.call(|connection, cx| connection.send_upgraded(cx, &mut data));
    }

    /// Sends what is missing of an announced length, or more than that.
    pub(super) fn send_missing(&mut self, amount: usize) {
        let given = self.exchanges.last().map(|exchange| &exchange.response);
        if let Some(length) = given.and_then(|given| given.length) {
            let sent = given.map_or(0, |given| given.parts.len());
            let missing = usize::try_from(length).unwrap_or(0).saturating_sub(sent);
            self.send(missing + usize::from(amount == 15));
        }
    }

    pub(super) fn end_response(&mut self, aborts: bool) {
        let response = self.checked.connection.state().response();
        let Some(exchange) = self.exchanges.last_mut() else {
            return;
        };
        let given = &mut exchange.response;
        match response {
            ResponseState::None => {}
            ResponseState::Upgraded if aborts => self.call(Connection::drop_upgraded),
            ResponseState::Upgraded => self.call(Connection::end_upgraded),
            ResponseState::Awaited if aborts => {
                (given.status, given.is_complete) = (Some(500), true);
                self.call(Connection::respond_to_error);
            }
            ResponseState::Awaited => {}
            ResponseState::Begun if aborts => {
                self.call(|it, cx| it.abort_response(cx, CloseReason::ResponseFailed));
                assert!(!self.checked.connection.request_in_progress());
            }
            ResponseState::Begun => {
                let sent = given.parts.len() as u64;
                given.is_complete = given.length.is_none_or(|length| length == sent);
                given.has_trailers = sent % 2 == 1;
                let has_trailers = given.has_trailers;
                let mut trailers = http_fields("x-sum");
                trailers.extend(http_fields("content-length"));
                if has_trailers {
                    self.call(|connection, cx| connection.send_trailers(cx, &trailers));
                }
                self.call(Connection::end_response);
                assert!(!self.checked.connection.request_in_progress());
            }
        }
    }

    /// The handler completes its response.
    pub(super) fn complete(&mut self) {
        match self.checked.connection.state().response() {
            ResponseState::None => {}
            ResponseState::Upgraded => self.call(Connection::drop_upgraded),
            ResponseState::Awaited => self.begin(2),
            ResponseState::Begun => {
                let given = &self.exchanges.last().expect("a request").response;
                let missing = given.length.unwrap_or(0) as usize;
                let missing = missing.saturating_sub(given.parts.len());
                if missing == 0 {
                    self.end_response(false);
                } else {
                    self.send(missing);
                }
            }
        }
    }
}

fn http_fields(name: &'static str) -> mini_http::http::HeaderMap {
    let value = mini_http::http::HeaderValue::from_static("1");
    let name = mini_http::header::HeaderName::from_static(name);
    mini_http::http::HeaderMap::from_iter([(name, value)])
}
