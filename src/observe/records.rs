//! What observers get to know: records of the requests whose responses aren't sent yet, of all connections of a loop.

use http::{StatusCode, Version};

use crate::conn::{At, Open, Refusal, SeenHead};
use crate::log_text::RequestLine;
use crate::time::Instant;

/// The records of all connections. Those of a connection are a list, in the order of its requests.
#[derive(Debug)]
pub(super) struct Records {
    /// The first one isn't used, because 0 is the end of a list.
    all: Vec<Slot>,
    /// The first slot that isn't used.
    free: u32,
    used: usize,
    /// Records that have memory, used or not.
    allocated: usize,
    /// Bytes of text in the records that are used.
    text: usize,
}

/// A slot of the table. It is small, because the table can't shrink while its last slot is used.
#[derive(Debug, Default)]
struct Slot {
    /// The next one of its list.
    next: u32,
    /// What is in it, or memory for that.
    record: Option<Box<Record>>,
}

/// A request whose response isn't sent yet.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) began: Instant,
    pub(super) called: Option<Instant>,
    pub(super) returned: Option<Instant>,
    pub(super) version: Option<Version>,
    pub(super) status: Option<StatusCode>,
    pub(super) refusal: Option<Refusal>,
    /// Bytes of the request.
    pub(super) received: u64,
    /// Where its response begins in the output of the connection.
    pub(super) start: u64,
    pub(super) body: BodyStart,
    /// Where its response ends, once that is known.
    pub(super) end: Option<u64>,
    /// The response is complete at its end.
    pub(super) is_whole: bool,
    /// Method, target, referer and user agent.
    text: Vec<u8>,
    /// Where each of them ends.
    ends: [usize; 4],
    has_referer: bool,
    has_agent: bool,
}

/// Where the body of a response begins.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum BodyStart {
    /// The head isn't queued.
    #[default]
    Unknown,
    /// At this byte of the connection's output.
    At(u64),
    /// This many bytes before the end of the response.
    BeforeEnd(u64),
}

/// Longer values are cut, because people read them. Half of it would cut the user agents of some browsers in cars and
/// televisions; with twice as much, a pipeline of small requests could take twice the memory.
pub(super) const MAX_VALUE: usize = 1 << 10;

/// Memory for text that a record keeps for its next request: the head of a browser's request fits.
const KEPT_TEXT: usize = 1 << 10;

/// This many records don't count as held memory, and as many keep their memory while they aren't used. If responses are
/// sent as soon as they are made, fewer than that are in use.
const UNCOUNTED: usize = 64;

impl Records {
    pub(super) fn new() -> Self {
        Self {
            all: vec![Slot::default()],
            free: 0,
            used: 0,
            allocated: 0,
            text: 0,
        }
    }

    /// Bytes that the records hold.
    pub(super) fn held(&self) -> usize {
        let records = self.allocated.saturating_sub(UNCOUNTED);
        let slots = self.all.len().saturating_sub(UNCOUNTED + 1);
        self.text + records * (size_of::<Record>() + KEPT_TEXT) + slots * size_of::<Slot>()
    }

    pub(super) fn get(&mut self, index: u32) -> Option<&mut Record> {
        self.all.get_mut(index as usize)?.record.as_deref_mut()
    }

    /// Appends a record to the list of a connection. `fill` writes its text.
    pub(super) fn push(&mut self, open: &mut Open, fill: impl FnOnce(&mut Record)) {
        let index = self.take_free();
        let Some(slot) = self.all.get_mut(index as usize) else {
            return;
        };
        let allocated = &mut self.allocated;
        let record = slot.record.get_or_insert_with(|| {
            *allocated += 1;
            Box::default()
        });
        fill(record);
        self.text += record.text.capacity();
        match open.last {
            0 => open.first = index,
            last => self.all[last as usize].next = index,
        }
        open.last = index;
        self.used += 1;
    }

    /// Removes the first record of a list.
    pub(super) fn pop(&mut self, open: &mut Open) {
        let index = open.first;
        let Some(record) = self.get(index) else {
            return;
        };
        let text = record.text.capacity();
        record.clear();
        self.used -= 1;
        self.text -= text;
        let slot = &mut self.all[index as usize];
        open.first = std::mem::replace(&mut slot.next, self.free);
        if open.first == 0 {
            open.last = 0;
        }
        self.free = index;
        if self.allocated - self.used > UNCOUNTED {
            // After a burst of requests, the memory is freed.
            slot.record = None;
            self.allocated -= 1;
        }
        if self.used == 0 && self.all.len() > UNCOUNTED {
            // With no record in use, no list has an index.
            *self = Self::new();
        }
    }

    fn take_free(&mut self) -> u32 {
        match self.free {
            0 => {
                // The index always fits: memory runs out long before there are 2^32 records.
                let index = u32::try_from(self.all.len()).unwrap_or(0);
                if index > 0 {
                    self.all.push(Slot::default());
                }
                index
            }
            index => {
                self.free = std::mem::take(&mut self.all[index as usize].next);
                index
            }
        }
    }
}

impl Record {
    /// Sets what a valid head says.
    pub(super) fn set_head(&mut self, head: SeenHead<'_>, uses_fields: bool) {
        use http::header::{REFERER, USER_AGENT};
        self.version = Some(head.version);
        let text = &mut self.text;
        text.extend_from_slice(head.method.as_str().as_bytes());
        self.ends[0] = text.len();
        match (head.target.authority(), head.target.path_and_query()) {
            (None, Some(path)) => text.extend_from_slice(path.as_str().as_bytes()),
            (Some(_), _) | (None, None) => {
                text.extend_from_slice(head.target.to_string().as_bytes());
            }
        }
        self.ends[1..].fill(text.len());
        if !uses_fields {
            return;
        }
        if let Some(value) = head.fields.get(REFERER) {
            self.has_referer = true;
            text.extend_from_slice(cut(value.as_bytes()));
        }
        self.ends[2..].fill(text.len());
        if let Some(value) = head.fields.get(USER_AGENT) {
            self.has_agent = true;
            text.extend_from_slice(cut(value.as_bytes()));
        }
        self.ends[3] = text.len();
    }

    /// Sets what can be recognised in a head that is refused.
    pub(super) fn set_line(&mut self, line: &RequestLine<'_>) {
        self.version = line.version;
        self.text.extend_from_slice(line.method);
        self.ends[0] = self.text.len();
        self.text.extend_from_slice(cut(&line.target));
        self.ends[1..].fill(self.text.len());
    }

    /// The handler is called, or polled.
    pub(super) fn call(&mut self, now: Instant) {
        self.called = self.called.or(Some(now));
    }

    /// The handler has returned a response. `length` is that of its body, if that is queued in the same step.
    pub(super) fn respond(&mut self, now: Instant, status: StatusCode, length: Option<u64>) {
        self.returned = Some(now);
        self.status = Some(status);
        self.body = length.map_or(BodyStart::Unknown, BodyStart::BeforeEnd);
    }

    /// The server responds by itself, also in place of what the handler has returned.
    pub(super) fn refuse(&mut self, refusal: Refusal) {
        self.status = Some(refusal.status());
        self.refusal = Some(refusal);
    }

    /// The head is queued up to this byte of the output.
    pub(super) fn begin_body(&mut self, queued: u64) {
        if self.refusal.is_none() {
            self.body = BodyStart::At(queued);
        }
    }

    /// The response is queued to its end, or no more of it will be.
    pub(super) fn end(&mut self, at: &At, is_whole: bool) {
        self.end = Some(at.queued);
        self.received = at.received;
        self.is_whole = is_whole;
    }

    pub(super) fn method(&self) -> &[u8] {
        &self.text[..self.ends[0]]
    }

    pub(super) fn target(&self) -> &[u8] {
        &self.text[self.ends[0]..self.ends[1]]
    }

    pub(super) fn referer(&self) -> Option<&[u8]> {
        self.has_referer
            .then(|| &self.text[self.ends[1]..self.ends[2]])
    }

    pub(super) fn user_agent(&self) -> Option<&[u8]> {
        self.has_agent
            .then(|| &self.text[self.ends[2]..self.ends[3]])
    }

    /// Forgets the request. Keeps a little memory for the next one.
    fn clear(&mut self) {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        text.shrink_to(KEPT_TEXT);
        *self = Self {
            text,
            ..Self::default()
        };
    }
}

fn cut(value: &[u8]) -> &[u8] {
    &value[..value.len().min(MAX_VALUE)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_connections_share_the_records() {
        let mut records = Records::new();
        let (mut one, mut other) = (Open::default(), Open::default());
        for start in 0..1000 {
            records.push(&mut one, |record| record.start = start);
            records.push(&mut other, |record| record.start = start + 5000);
        }
        assert!(records.held() > 1000 * size_of::<Record>());
        for start in 0..1000 {
            let first = records.get(one.first).expect("a record");
            assert_eq!(first.start, start);
            records.pop(&mut one);
            let first = records.get(other.first).expect("a record");
            assert_eq!(first.start, start + 5000);
            records.pop(&mut other);
        }
        assert_eq!((one, other), (Open::default(), Open::default()));
        assert_eq!(records.held(), 0);
        records.push(&mut one, |record| record.start = 7);
        assert_eq!(records.get(one.last).map(|last| last.start), Some(7));
    }

    /// Otherwise a client could use up the memory of all others by a burst, as long as any request is in progress.
    #[test]
    fn after_a_burst_one_long_response_keeps_little_memory() {
        let mut records = Records::new();
        let (mut long, mut burst) = (Open::default(), Open::default());
        for start in 0..100_000 {
            records.push(&mut burst, |record| record.start = start);
        }
        records.push(&mut long, |record| record.start = 7);
        let most = records.held();
        while burst.first != 0 {
            records.pop(&mut burst);
        }
        assert!(records.held() < most / 50, "{} of {most}", records.held());
        assert_eq!(records.get(long.first).map(|long| long.start), Some(7));
        // The slots are used again.
        let length = records.all.len();
        for start in 0..100_000 {
            records.push(&mut burst, |record| record.start = start);
        }
        assert_eq!((records.all.len(), records.held()), (length, most));
        while burst.first != 0 {
            records.pop(&mut burst);
        }
        records.pop(&mut long);
        assert_eq!(records.held(), 0);
    }
}
