//! The handler of a world, and a [`Book`] of the requests for which it was called.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use http::Response;
use wasip1_poll::fake::Fake;

use super::requests::{Act, Planned};
use crate::handle::Handle;
use crate::request::Request;

/// All requests of a world, and when the handler was called for each.
#[derive(Debug, Default)]
pub(super) struct Book {
    entries: HashMap<u64, Entry>,
    pub(super) stopped_at: Option<u64>,
    /// For how many requests the handler was called.
    pub(super) seen: u64,
}

#[derive(Debug)]
struct Entry {
    request: Rc<Planned>,
    /// The number of the client's request before this one.
    before: Option<u64>,
    seen_at: Option<u64>,
}

impl Book {
    /// Records a client's requests, in their order.
    pub(super) fn add(&mut self, requests: &[Rc<Planned>]) {
        let mut before = None;
        for request in requests {
            let entry = Entry {
                request: Rc::clone(request),
                before,
                seen_at: None,
            };
            self.entries.insert(request.number, entry);
            before = Some(request.number);
        }
    }

    /// When the handler was called for the request with this number.
    pub(super) fn seen_at(&self, number: u64) -> Option<u64> {
        self.entries.get(&number)?.seen_at
    }

    /// Records that the handler was called for a request. Fails if no client has sent it, or if it comes twice or too
    /// early.
    pub(super) fn begin(&mut self, number: u64, now: u64) -> Result<Rc<Planned>, String> {
        let is_seen = |number| self.seen_at(number).is_some();
        let Some(entry) = self.entries.get(&number) else {
            return Err(format!("no client has sent a request {number}"));
        };
        if is_seen(number) {
            return Err(format!("request {number} comes twice"));
        }
        if !entry.before.is_none_or(is_seen) {
            return Err(format!("request {number} comes too early"));
        }
        self.seen += 1;
        let entry = self.entries.get_mut(&number).expect("it is there");
        entry.seen_at = Some(now);
        Ok(Rc::clone(&entry.request))
    }

    fn note(&mut self, number: u64, now: u64, body: &[u8]) -> Rc<Planned> {
        let request = self.begin(number, now);
        let request = request.unwrap_or_else(|fault| panic!("{fault}"));
        assert!(!request.is_refused(), "request {number} is malformed");
        assert!(
            request.body == body,
            "another body than request {number} has"
        );
        request
    }
}

/// A handler that does what was planned, and takes `work` of the fake's time for it.
pub(super) fn handler(
    fake: Fake,
    book: Rc<RefCell<Book>>,
    handle: Handle,
    work: Duration,
) -> impl FnMut(Request) -> Response<Vec<u8>> {
    move |request| {
        fake.work(work);
        let number = request.uri().path()[1..].parse().expect("a number");
        let planned = book.borrow_mut().note(number, fake.now(), request.body());
        match planned.act {
            // Without the message of the panic hook, because this panic is planned.
            Act::Panic => std::panic::resume_unwind(Box::new("as planned")),
            Act::Stop => {
                book.borrow_mut().stopped_at.get_or_insert(fake.now());
                handle.stop();
            }
            Act::Respond | Act::RespondAndClose | Act::Nothing => {}
        }
        let mut response = Response::builder().header("number", number);
        if planned.act == Act::RespondAndClose {
            response = response.header("connection", "close");
        }
        let response = response.body(planned.response.clone());
        response.expect("a valid response")
    }
}
