//! [`Observer`]: makes events of what connections and the loop report.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::log::error;

use super::records::{BodyStart, Record, Records};
use super::{ResponseEvent, Sink};
use crate::conn::{At, CloseReason, Connection, Open, Seen, SeenHead, Watch, has_body};
use crate::handle::Handle;
use crate::log_text::RequestLine;
use crate::time::Instant;

/// Observes the requests of one loop.
pub(super) struct Observer {
    records: Records,
    sink: Arc<dyn Sink>,
    uses_fields: bool,
    handle: Handle,
    catch_panics: bool,
    clock: Clock,
}

/// The wall clock, as it was set last.
#[derive(Clone, Copy, Debug)]
struct Clock {
    at: Instant,
    wall_clock: SystemTime,
}

impl Clock {
    /// The wall clock's time at `instant`.
    fn time_of(&self, instant: Instant) -> SystemTime {
        let time = match instant >= self.at {
            true => (self.wall_clock).checked_add(instant.saturating_since(self.at)),
            false => (self.wall_clock).checked_sub(self.at.saturating_since(instant)),
        };
        time.unwrap_or(self.wall_clock)
    }
}

impl std::fmt::Debug for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observer").finish_non_exhaustive()
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.sink.flush();
    }
}

impl Watch for Observer {
    fn see(&mut self, connection: &mut Connection, now: Instant, seen: Seen<'_>) -> usize {
        let at = connection.observe();
        let open = connection.open_mut();
        match seen {
            Seen::Head(head) => self.begin_unless_begun(open, &at, now, head),
            Seen::FaultyHead(head) => {
                let line = RequestLine::of_refused(head, at.has_read_head);
                self.begin(open, &at, now, |record| record.set_line(&line));
            }
            Seen::Refused(refusal) => {
                if !self.awaits_response(open) {
                    self.begin(open, &at, now, |_| {});
                }
                self.change_last(open, |record| record.refuse(refusal));
            }
            Seen::RefusalQueued(length) => self.change_last(open, |record| {
                record.body = BodyStart::BeforeEnd(length);
                record.end(&at, true);
            }),
            Seen::Called(head, arrived) => {
                self.begin_unless_begun(open, &at, arrived, head);
                self.change_last(open, |record| record.call(now));
            }
            Seen::Polled => self.change_last(open, |record| record.call(now)),
            Seen::Returned(status, length) => {
                let has_body = has_body(status, at.is_head);
                let length = length.map(|length| if has_body { length as u64 } else { 0 });
                self.change_last(open, |record| record.respond(now, status, length));
            }
            Seen::HeadQueued => self.change_last(open, |record| record.begin_body(at.queued)),
            Seen::Ended { is_whole } => self.change_last(open, |record| record.end(&at, is_whole)),
            Seen::Sent => self.finish_sent(open, &at, now),
            Seen::Closed(reason) => self.finish_all(open, &at, now, reason),
        }
        if let Seen::Head(_) | Seen::FaultyHead(_) | Seen::Called(..) = seen {
            connection.head_was_reported();
        }
        self.records.held()
    }

    fn set_clock(&mut self, now: Instant, wall_clock: SystemTime) {
        self.clock = Clock {
            at: now,
            wall_clock,
        };
    }

    fn before_wait(&mut self, now: Instant, timeout: Option<Duration>) -> Option<Duration> {
        let until = self.sink.before_wait(now);
        let until = until.map(|until| until.saturating_since(now));
        [timeout, until].into_iter().flatten().min()
    }
}

impl Observer {
    pub(super) fn new(sink: Arc<dyn Sink>, handle: Handle, catch_panics: bool) -> Self {
        Self {
            records: Records::new(),
            uses_fields: sink.uses_fields(),
            sink,
            handle,
            catch_panics,
            clock: Clock {
                at: Instant::default(),
                wall_clock: UNIX_EPOCH,
            },
        }
    }

    /// Whether the last request has no complete response.
    fn awaits_response(&mut self, open: &Open) -> bool {
        let last = self.records.get(open.last);
        last.is_some_and(|record| record.end.is_none())
    }

    /// Makes the record of a request, unless that was done when its head was received.
    fn begin_unless_begun(&mut self, open: &mut Open, at: &At, now: Instant, head: SeenHead<'_>) {
        if !self.awaits_response(open) {
            let uses_fields = self.uses_fields;
            self.begin(open, at, now, |record| record.set_head(head, uses_fields));
        }
    }

    fn begin(&mut self, open: &mut Open, at: &At, now: Instant, fill: impl FnOnce(&mut Record)) {
        self.records.push(open, |record| {
            record.began = at.began.unwrap_or(now);
            record.start = at.queued;
            record.received = at.received;
            fill(record);
        });
    }

    /// Changes the record of the last request.
    fn change_last(&mut self, open: &Open, change: impl FnOnce(&mut Record)) {
        if let Some(record) = self.records.get(open.last) {
            change(record);
        }
    }

    /// Reports the responses that have been sent to their end.
    fn finish_sent(&mut self, open: &mut Open, at: &At, now: Instant) {
        while let Some(record) = self.records.get(open.first)
            && record.end.is_some_and(|end| end <= at.written)
        {
            let is_last = open.first == open.last;
            let reason = at.close_reason.filter(|_| is_last);
            self.finish_first(open, at, now, reason);
        }
    }

    /// Reports all responses that are left, because no more is sent.
    fn finish_all(&mut self, open: &mut Open, at: &At, now: Instant, reason: CloseReason) {
        while let Some(record) = self.records.get(open.first) {
            if record.end.is_none() {
                // The response of an upgraded connection is complete when the connection has ended normally.
                record.end(at, reason == CloseReason::Upgraded);
            }
            self.finish_first(open, at, now, Some(reason));
        }
    }

    /// Reports the response to a connection's oldest request.
    fn finish_first(
        &mut self,
        open: &mut Open,
        at: &At,
        now: Instant,
        reason: Option<CloseReason>,
    ) {
        let Some(record) = self.records.get(open.first) else {
            return;
        };
        let event = event(record, at, now, reason, self.clock);
        self.handle.count_response(&event);
        let mut next = Some(&*self.sink);
        while let Some(sink) = next {
            pass(sink, &event, self.catch_panics);
            next = sink.rest();
        }
        self.records.pop(open);
    }
}

/// Passes an event to one receiver. With `catch_panics`, the others get the event also if that panics.
fn pass(sink: &dyn Sink, event: &ResponseEvent<'_>, catch_panics: bool) {
    if !catch_panics && !std::thread::panicking() {
        return sink.handle_event(event);
    }
    if catch_unwind(AssertUnwindSafe(|| sink.handle_event(event))).is_err() {
        error!(target: "mini_http", "conn {}: the function of on_response panicked", event.connection);
    }
}

/// The event of a record.
fn event<'a>(
    record: &'a Record,
    at: &At,
    now: Instant,
    close_reason: Option<CloseReason>,
    clock: Clock,
) -> ResponseEvent<'a> {
    let end = record.end.unwrap_or(at.queued);
    let sent = end.min(at.written).max(record.start);
    let body = match record.body {
        BodyStart::Unknown => sent,
        BodyStart::At(start) => start,
        BodyStart::BeforeEnd(length) => end.saturating_sub(length),
    };
    // A failure drops queued output. What is queued after that is never sent, and begins before `start`.
    let body = body.max(record.start);
    let since = |from: Instant, to: Option<Instant>| -> Option<Duration> {
        to.map(|to| to.saturating_since(from))
    };
    ResponseEvent {
        connection: at.id,
        peer: at.peer,
        method: record.method(),
        target: record.target(),
        version: record.version,
        referer: record.referer(),
        user_agent: record.user_agent(),
        status: record.status,
        bytes_in: record.received,
        bytes_out: sent - record.start,
        body_bytes_out: sent.saturating_sub(body),
        began: clock.time_of(record.began),
        until_handler: since(record.began, record.called),
        handler_time: record
            .called
            .and_then(|called| since(called, record.returned)),
        duration: now.saturating_since(record.began),
        refusal: record.refusal,
        close_reason,
        is_complete: record.is_whole && (record.start + 1..=at.written).contains(&end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was queued for earlier requests was dropped, and then a response was queued all the same.
    #[test]
    fn nothing_is_sent_after_the_failure_of_a_connection() {
        let at = At {
            id: 1,
            peer: None,
            began: None,
            received: 50,
            written: 40,
            queued: 40,
            has_read_head: true,
            is_head: false,
            close_reason: Some(CloseReason::IoError),
        };
        let clock = Clock {
            at: Instant::default(),
            wall_clock: UNIX_EPOCH,
        };
        for body in [
            BodyStart::Unknown,
            BodyStart::At(40),
            BodyStart::BeforeEnd(6),
        ] {
            let mut record = Record::default();
            (record.start, record.end) = (100, Some(40));
            (record.body, record.is_whole) = (body, true);
            let event = event(&record, &at, Instant::default(), at.close_reason, clock);
            assert_eq!((event.bytes_out, event.body_bytes_out), (0, 0), "{body:?}");
            assert!(!event.is_complete);
        }
    }
}
