//! One connection whose bodies stream, with a client and a handler that do what the choices say.

mod exchange;
mod handler;

pub(crate) use self::exchange::Exchange;

use super::super::choices::Choices;
use super::super::drive::{Seen, take_output};
use super::super::handler::SECONDS;
use mini_http::conn::state::{Reading, Writing};
use mini_http::conn::{BodyLength, CheckedConnection, Connection, Context, Received, Step};
use mini_http::{CloseReason, Instant, Limits};
use std::time::{Duration, UNIX_EPOCH};

pub(crate) struct Drive {
    pub(crate) checked: CheckedConnection,
    pub(crate) exchanges: Vec<Exchange>,
    /// Bytes that were read from the client.
    read: usize,
    input_ended: bool,
    /// Bytes in the handler's queue.
    queued: usize,
    /// What came after an upgrade.
    tunnel: Vec<u8>,
    tunnel_has_ended: bool,
    /// What the client got.
    pub(crate) got: Vec<u8>,
    is_shut: bool,
    pub(crate) closed: Option<CloseReason>,
    /// A call closed the connection at once, so that output may be lost.
    pub(crate) is_cut: bool,
}

impl Drive {
    pub(crate) fn new(limits: Limits) -> Self {
        let now = Instant::from_nanos(1 << 40);
        let mut checked = CheckedConnection::new(limits, now);
        let date = UNIX_EPOCH + Duration::from_secs(SECONDS);
        checked.shared.set_date(now, date);
        Self {
            checked,
            exchanges: Vec::new(),
            read: 0,
            input_ended: false,
            queued: 0,
            tunnel: Vec::new(),
            tunnel_has_ended: false,
            got: Vec::new(),
            is_shut: false,
            closed: None,
            is_cut: false,
        }
    }

    /// Makes a call, and checks that memory is held only as long as it is needed.
    pub(crate) fn call<T>(
        &mut self,
        call: impl FnOnce(&mut Connection, &mut Context<'_>) -> T,
    ) -> T {
        let was_in_progress = self.checked.connection.request_in_progress();
        let result = self.checked.call(call);
        let (connection, held) = (&self.checked.connection, self.checked.shared.held());
        let state = connection.state();
        let is_idle = matches!(state.reading(), Reading::Idle)
            && connection.pending_output() == 0
            && !connection.has_kept_input();
        if is_idle {
            assert_eq!(held, 0, "idle, and holds memory");
        }
        if state.writing() == Writing::Closed {
            assert_eq!(held, 0, "closed, and holds memory");
            self.is_cut |= was_in_progress || !self.is_shut;
        }
        result
    }

    /// Does what the next choice says.
    pub(crate) fn step(&mut self, bytes: &[u8], choices: &mut Choices<'_>) {
        let choice = choices.next();
        let amount = usize::from(choice >> 4);
        match choice & 15 {
            0 => self.read(bytes, amount + 1),
            1 => self.read(bytes, 1 << amount),
            2 => self.write(amount * amount),
            3 => self.write(usize::MAX),
            4 => self.end_input(bytes),
            5 => self.disturb(amount),
            6 => self.pass(Duration::from_millis(100 << amount)),
            7 => self.take(amount),
            8 => {
                let waits = amount & 1 == 0;
                self.call(|connection, cx| connection.await_body(cx, waits));
            }
            9 => self.decide(amount),
            10 | 11 => self.begin(amount),
            12 => self.send(amount * amount * amount),
            13 => self.send_missing(amount),
            14 => self.end_response(amount & 3 == 3),
            _ => self.go_on(),
        }
        self.settle();
    }

    /// Reads up to `most` bytes, if the connection wants that.
    fn read(&mut self, bytes: &[u8], most: usize) {
        let limit = self.call(|connection, cx| connection.read_limit(cx));
        let wants = self.call(|connection, cx| connection.wants_input(cx));
        let can_go_on = self.call(|connection, cx| connection.has_usable_input(cx));
        assert!(
            wants == (limit > 0) || can_go_on,
            "wants input: {wants}, but may read {limit} bytes"
        );
        let left = &bytes[self.read..];
        let count = most.min(limit).min(left.len());
        if count > 0 && wants && !can_go_on && !self.input_ended {
            self.read += count;
            self.feed(&left[..count]);
        }
    }

    /// Passes bytes on, and records what they bring.
    fn feed(&mut self, mut input: &[u8]) {
        loop {
            let received =
                self.call(|connection, cx| connection.handle_input_streaming(cx, &mut input));
            match received {
                Some(received) => self.record(received),
                None => break,
            }
        }
        assert!(input.is_empty(), "input is left");
        self.call(|connection, cx| {
            assert!(!connection.has_usable_input(cx) || connection.pending_output() > 0);
        });
    }

    fn record(&mut self, received: Received) {
        if let Received::Head(request, length) = received {
            let unended = self
                .exchanges
                .last()
                .is_some_and(|last| last.fault.is_some());
            assert!(!unended, "a request after a body that failed");
            self.queued = 0;
            return self.exchanges.push(Exchange::new(&request, length));
        }
        let exchange = self.exchanges.last_mut().expect("a head comes first");
        if exchange.response.is_upgrade {
            return self.record_upgraded(received);
        }
        assert!(
            !exchange.is_complete && exchange.fault.is_none(),
            "something after the body"
        );
        match received {
            Received::Head(..) => {}
            Received::Data(data) => {
                assert!(!data.is_empty(), "an empty part");
                self.queued += data.len();
                assert!(self.queued <= 64 << 10, "more than there is room for");
                exchange.body.extend_from_slice(&data);
            }
            Received::Whole(data) => {
                exchange.body.extend_from_slice(&data);
                exchange.is_complete = true;
            }
            Received::End(_) => exchange.is_complete = true,
            Received::Failed(refusal) => exchange.fault = Some(refusal),
        }
    }

    /// After an upgrade there is no HTTP any more.
    fn record_upgraded(&mut self, received: Received) {
        assert!(!self.tunnel_has_ended, "something after the end");
        match received {
            Received::Data(data) => {
                assert!(!data.is_empty(), "an empty part");
                self.queued += data.len();
                assert!(self.queued <= 64 << 10, "more than there is room for");
                self.tunnel.extend_from_slice(&data);
            }
            Received::End(None) => self.tunnel_has_ended = true,
            other => panic!("{other:?} after an upgrade"),
        }
    }

    /// The client's stream ends.
    fn end_input(&mut self, bytes: &[u8]) {
        let wants = self.call(|connection, cx| connection.wants_input(cx));
        if wants && !self.input_ended && self.read == bytes.len() {
            self.input_ended = true;
            self.call(Connection::handle_end_of_input);
        }
    }

    fn disturb(&mut self, amount: usize) {
        match amount {
            0..4 => {
                self.call(Connection::stop);
            }
            4 => self.call(|it, _| it.close_after_response(CloseReason::Stopped)),
            5 => self.call(|it, cx| it.abandon(cx, CloseReason::ClientGone)),
            6 => self.call(|_, cx| cx.shared.begin_to_stop()),
            _ => self.end_response(true),
        }
    }

    /// The socket takes up to `most` bytes of output.
    fn write(&mut self, most: usize) {
        let taken = take_output(&mut self.checked.connection, most, &mut self.got);
        let has_more = taken > 0 || self.checked.connection.pending_output() > 0;
        assert!(!self.is_shut || !has_more, "output after the end");
        if taken > 0 {
            self.call(|connection, cx| connection.handle_written(cx, taken));
        }
    }

    fn go_on(&mut self) {
        if self.call(|connection, cx| connection.has_usable_input(cx)) {
            self.feed(&[]);
        }
    }

    /// Does what the machine says to do next.
    fn settle(&mut self) {
        if self.closed.is_some() {
            return;
        }
        match self.call(Connection::poll_step) {
            Step::Wait => {}
            Step::ShutdownWrite => {
                assert!(!self.is_shut, "shut down twice");
                self.is_shut = true;
            }
            Step::Close(reason) => {
                self.closed = Some(reason);
                assert_eq!(self.checked.connection.state().close_reason(), Some(reason));
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let until = self.checked.now + time;
        while self.closed.is_none()
            && let Some(deadline) = self.checked.connection.poll_timeout()
            && deadline <= until
        {
            self.checked.now = self.checked.now.max(deadline);
            self.call(Connection::handle_timeout);
            let next = self.checked.connection.poll_timeout();
            assert!(
                next.is_none_or(|next| next > self.checked.now),
                "an expired deadline stays"
            );
            self.settle();
        }
        self.checked.now = self.checked.now.max(until);
    }

    /// The client sends the rest and takes all output, and the handler completes its responses.
    pub(crate) fn finish(&mut self, bytes: &[u8], ends: bool) {
        for _ in 0..10_000 {
            if self.closed.is_some() {
                return;
            }
            let before = (self.read, self.got.len(), self.exchanges.len());
            self.go_on();
            self.complete();
            self.take(15);
            self.read(bytes, usize::MAX);
            while self.checked.connection.pending_output() > 0 {
                self.write(usize::MAX);
            }
            self.settle();
            if ends {
                self.end_input(bytes);
            }
            let can_go_on = self.call(|connection, cx| connection.has_usable_input(cx));
            let after = (self.read, self.got.len(), self.exchanges.len());
            if before == after && !can_go_on && !self.checked.connection.request_in_progress() {
                return;
            }
        }
        panic!("stalls in {:?}", self.checked.connection.state());
    }

    /// The client sends nothing more, and takes output only if `takes_output`. Once the handler has responded, the
    /// connection must end by itself.
    pub(crate) fn silence(&mut self, takes_output: bool) {
        for _ in 0..10_000 {
            if self.closed.is_some() {
                return;
            }
            self.go_on();
            self.complete();
            if takes_output {
                self.write(usize::MAX);
            }
            self.settle();
            let has_more = self.call(|connection, cx| connection.has_usable_input(cx));
            if has_more || self.checked.connection.request_in_progress() && takes_output {
                continue;
            }
            if let Some(deadline) = self.checked.connection.poll_timeout() {
                self.checked.now = self.checked.now.max(deadline);
                self.call(Connection::handle_timeout);
                self.settle();
            }
        }
        panic!("a silent client's connection never ends");
    }

    /// Checks a refusal of the bytes after the requests. It must be the same as where bodies are collected, or have
    /// another cause than the bytes: time, memory, a stop. `count` and `refused` are from the runs where bodies are
    /// collected: the number of requests, and the statuses with which what follows them is refused.
    pub(crate) fn check_refusal(
        &self,
        bytes: &[u8],
        status: u16,
        count: usize,
        refused: &[Option<u16>],
    ) {
        let is_here = |status| self.exchanges.len() == count && refused.contains(&Some(status));
        // Where bodies are collected, the fields of a CONNECT aren't checked.
        let is_connect = || bytes.windows(8).any(|it| it == b"CONNECT ");
        let is_field = [400, 417].contains(&status) && is_here(501) && is_connect();
        assert!(
            is_here(status) || is_field || [408, 503].contains(&status),
            "{status} after {} of {count} requests",
            self.exchanges.len()
        );
    }

    /// Compares the requests with those that are found where bodies are collected.
    pub(crate) fn check(&self, bytes: &[u8], plain: &[Seen]) {
        let mut read = bytes[..self.read].windows(self.tunnel.len().max(1));
        let is_read = self.tunnel.is_empty() || read.any(|it| it == self.tunnel);
        assert!(is_read, "other bytes than those after the request");
        let count = self.exchanges.len();
        assert!(
            count <= plain.len() + 1,
            "bytes of a body were read as a request"
        );
        for (exchange, plain) in self.exchanges.iter().zip(plain) {
            assert_eq!(exchange.shown, plain.shown());
            assert!(plain.body.starts_with(&exchange.body), "another body");
            if exchange.is_complete {
                assert_eq!(exchange.body.len(), plain.body.len(), "not all of the body");
            }
            if let BodyLength::Exact(length) = exchange.length {
                assert_eq!(length, plain.body.len() as u64);
            }
        }
        if let Some(last) = self.exchanges.get(plain.len()) {
            // Where bodies are collected, the handler doesn't get CONNECT.
            let is_ended = last.is_complete && !last.is_connect;
            assert!(
                !is_ended,
                "a complete body, but not where bodies are collected"
            );
        }
    }
}
