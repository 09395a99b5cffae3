//! Whether the events of responses say what has happened: one for each response, and the bytes, the status and the end
//! of the connection that its client saw.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use http::StatusCode;
use wasip1_poll::Fd;

use super::book::Book;
use super::peer::{Peer, PeerRef};
use super::plan::Kind;
use super::requests::Planned;
use super::verdict::Reasons;
use crate::conn::CloseReason;
use crate::counters::Counters;
use crate::event_loop::Settings;
use crate::observe::{Callback, Chain, ResponseEvent};

/// The events of a world, and which connection belongs to which client.
#[derive(Clone, Default)]
pub(super) struct Events {
    seen: Arc<Mutex<Vec<Seen>>>,
    /// The connections, in the order of their numbers: their file descriptors, and when the loop took them.
    accepts: Rc<RefCell<Vec<(Fd, u64)>>>,
}

/// What is checked of an event.
#[derive(Clone, Debug)]
struct Seen {
    connection: u64,
    /// The number in the target, if there is one.
    number: Option<u64>,
    status: Option<u16>,
    bytes_in: u64,
    bytes_out: u64,
    is_called: bool,
    refusal: Option<(u16, CloseReason)>,
    close: Option<CloseReason>,
    is_complete: bool,
}

impl Seen {
    fn of(event: &ResponseEvent<'_>) -> Self {
        Self {
            connection: event.connection_id().0,
            number: event.target().get(1..).and_then(|rest| rest.parse().ok()),
            status: event.status().as_ref().map(StatusCode::as_u16),
            bytes_in: event.bytes_in(),
            bytes_out: event.bytes_out(),
            is_called: event.until_handler().is_some(),
            refusal: (event.refusal()).map(|it| (it.status().as_u16(), it.reason())),
            close: event.close_reason(),
            is_complete: event.is_complete(),
        }
    }
}

impl Events {
    /// Has the server report its events here.
    pub(super) fn observe(&self, settings: &mut Settings) {
        let seen = Arc::clone(&self.seen);
        let sink = Callback(move |event: &ResponseEvent<'_>| {
            seen.lock().expect("not poisoned").push(Seen::of(event));
        });
        settings.sink = Some(Arc::new(Chain { sink, rest: None }));
    }

    /// Records that the loop has accepted a connection.
    pub(super) fn accepted(&self, fd: Fd, now: u64) {
        self.accepts.borrow_mut().push((fd, now));
    }

    /// Checks all events. `reasons` are those for which the connection of each client may have ended.
    pub(super) fn check(
        &self,
        kind: Kind,
        peers: &[PeerRef],
        reasons: &[Reasons],
        (book, counters): (&Book, &Counters),
    ) {
        let events = self.seen.lock().expect("not poisoned");
        check_counters(&events, counters);
        let mut of_connections: BTreeMap<u64, Vec<&Seen>> = BTreeMap::new();
        for event in events.iter() {
            of_connections
                .entry(event.connection)
                .or_default()
                .push(event);
        }
        let called = events.iter().filter(|event| event.is_called).count() as u64;
        match kind {
            Kind::Whole => assert_eq!(called, book.seen, "calls of the handler"),
            // A future may end before it has called the handler.
            Kind::Streams => assert!(called >= book.seen, "{called} of {}", book.seen),
        }
        for (peer, reasons) in peers.iter().zip(reasons) {
            let peer = peer.borrow();
            let id = self.number_of(&peer);
            let events = id.and_then(|id| of_connections.remove(&id));
            let case = Case {
                kind,
                peer: &peer,
                events: events.unwrap_or_default(),
                book,
            };
            case.check(reasons);
        }
        assert!(
            of_connections.is_empty(),
            "events of no connection: {of_connections:?}"
        );
    }

    /// The number of the client's connection.
    fn number_of(&self, peer: &Peer) -> Option<u64> {
        let (fd, from) = (peer.client.fd()?, peer.client.accepted_at()?);
        let until = peer.client.closed_at().unwrap_or(u64::MAX);
        let accepts = self.accepts.borrow();
        let mut found = accepts
            .iter()
            .zip(1..)
            .filter(|((its, at), _)| *its == fd && (from..=until).contains(at));
        // If its file descriptor was closed by others, another connection may have got the same one.
        found.next().map(|(_, id)| id)
    }
}

/// The counters count the same responses.
fn check_counters(events: &[Seen], counters: &Counters) {
    let sum = |of: fn(&Seen) -> u64| events.iter().map(of).sum::<u64>();
    assert_eq!(counters.bytes_in(), sum(|event| event.bytes_in));
    assert_eq!(counters.bytes_out(), sum(|event| event.bytes_out));
    for class in 1..=5 {
        let is_of = |event: &&Seen| event.status.is_some_and(|it| it / 100 == u16::from(class));
        let count = events.iter().filter(is_of).count() as u64;
        assert_eq!(
            counters.responses(class),
            count,
            "responses of class {class}"
        );
    }
}

/// One client, and the events of its connection.
struct Case<'a> {
    kind: Kind,
    peer: &'a Peer,
    events: Vec<&'a Seen>,
    book: &'a Book,
}

impl Case<'_> {
    fn check(&self, reasons: &Reasons) {
        self.check_requests();
        self.check_responses();
        self.check_bytes();
        self.check_close(reasons);
    }

    /// Each request that was passed to the handler has one event, and no request has two.
    fn check_requests(&self) {
        for planned in &self.peer.plan.requests {
            let of = |event: &&&Seen| event.number == Some(planned.number);
            let count = self.events.iter().filter(of).count();
            let was_handled = self.book.seen_at(planned.number).is_some();
            let is_known = !was_handled || count == 1;
            assert!(
                is_known && count <= 1,
                "{count} events of request {}: {}",
                planned.number,
                self.show()
            );
        }
        // Each event without a refusal belongs to a request that the client has begun to send.
        let requests = self.events.iter().filter(|it| it.refusal.is_none()).count();
        let begun = self.peer.begun_at.len();
        assert!(requests <= begun, "{begun} requests: {}", self.show());
    }

    /// Each response that the client has got has one event, in the same order.
    fn check_responses(&self) {
        let statuses = &self.peer.statuses;
        let seen = self.events.iter().filter_map(|event| event.status);
        let seen: Vec<u16> = seen.take(statuses.len()).collect();
        assert_eq!(seen, *statuses, "the statuses: {}", self.show());
        for (index, event) in self.events.iter().enumerate() {
            let planned = self.peer.plan.requests.get(index);
            if let Some((status, _)) = event.refusal {
                assert_eq!(event.status, Some(status), "{}", self.show());
            }
            if let Some(planned) = planned.filter(|_| index < self.peer.responded) {
                self.check_responded(planned, event);
            }
        }
        let complete = self.events.iter().filter(|event| event.is_complete).count();
        let got = statuses.len();
        match self.kind {
            Kind::Whole => assert!(complete >= got, "{got} were whole: {}", self.show()),
            // A client may have got a response without knowing that its end is missing.
            Kind::Streams => {}
        }
        if self.has_taken_all() {
            assert!(complete <= got, "only {got} were whole: {}", self.show());
        }
    }

    /// The event of a request that has its response.
    fn check_responded(&self, planned: &Planned, event: &Seen) {
        if planned.is_refused() {
            let reason = event.refusal.map(|(_, reason)| reason);
            // The reason isn't compared: a fault that has arrived in part can look like another one.
            assert!(reason.is_some(), "no refusal: {}", self.show());
            return;
        }
        assert_eq!(event.number, Some(planned.number), "{}", self.show());
        let sent = planned.wire.len() as u64;
        let is_right = match self.kind {
            Kind::Whole => event.bytes_in == sent,
            // The handler may respond before it has all of the body.
            Kind::Streams => event.bytes_in <= sent,
        };
        assert!(
            is_right,
            "{} bytes of {sent}: {}",
            planned.number,
            self.show()
        );
    }

    /// The events count all bytes that the client has received, and no more input than it has sent.
    fn check_bytes(&self) {
        let sent: u64 = self.events.iter().map(|event| event.bytes_out).sum();
        let got = self.peer.received;
        let is_right = match self.has_taken_all() {
            true => sent == got,
            false => sent >= got,
        };
        assert!(is_right, "{sent} bytes, {got} received: {}", self.show());
        let received: u64 = self.events.iter().map(|event| event.bytes_in).sum();
        let most = self.peer.sent as u64;
        assert!(received <= most, "{received} of {most}: {}", self.show());
    }

    /// The last event has the reason why the connection ended. Of the others, only those have it whose responses were
    /// given up at that end.
    fn check_close(&self, reasons: &Reasons) {
        let last = self.peer.statuses.len().checked_sub(1);
        if let Some(last) = last.filter(|_| self.peer.is_over) {
            let says_why = self.events[last].close.is_some();
            assert!(says_why, "the last response: {}", self.show());
        }
        let mut before = None;
        for event in &self.events {
            assert!(
                before.is_none() || before == event.close,
                "went on: {}",
                self.show()
            );
            before = event.close;
        }
        if let Some(reason) = before {
            let may = reasons.contains(&reason.index());
            assert!(may, "not {reason:?}: {}", self.show());
        }
    }

    /// Whether the client has all that was ever written to it.
    fn has_taken_all(&self) -> bool {
        let peer = self.peer;
        peer.plan.reading.is_good()
            && peer.broken_at.is_none()
            && !peer.client.is_reset()
            && !peer.client.is_faulted()
    }

    fn show(&self) -> String {
        format!("{:#?}\n{}", self.events, self.peer.describe())
    }
}
