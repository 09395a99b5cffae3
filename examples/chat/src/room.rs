//! The last messages, and the requests that wait for the next one.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use event_listener::Event;
use mini_http::Bytes;

/// How many messages are remembered. Each is kept twice, as an event and as JSON, and JSON needs up to six bytes for
/// one (`\u0000`). So with messages of 2 KiB that is at most 2.4 MiB.
const HISTORY: usize = 100;

#[derive(Default)]
pub(crate) struct Room {
    /// In the order of their numbers.
    messages: RefCell<VecDeque<Message>>,
    /// The number of the last message that is no longer remembered.
    forgotten: Cell<u64>,
    added: Event,
}

/// A message. The memory is shared by all streams that send it.
#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) id: u64,
    /// As an event of an event stream.
    pub(crate) event: Bytes,
    /// As JSON.
    json: Bytes,
}

impl Room {
    /// Adds a message, and wakes all requests that wait for one.
    pub(crate) fn add(&self, id: u64, text: &str) {
        let mut messages = self.messages.borrow_mut();
        messages.push_back(Message::new(id, text));
        if messages.len() > HISTORY
            && let Some(oldest) = messages.pop_front()
        {
            self.forgotten.set(oldest.id);
        }
        self.added.notify(usize::MAX);
    }

    /// Waits for the first message after this one.
    pub(crate) async fn next(&self, after: u64) -> Message {
        loop {
            // Before the messages are checked, so that none is missed in between.
            let added = self.added.listen();
            if let Some(message) = self.first_after(after) {
                return message;
            }
            added.await;
        }
    }

    /// Whether messages that came after this one are forgotten. A client that knows none (0) doesn't miss them.
    pub(crate) fn misses_some_after(&self, after: u64) -> bool {
        after > 0 && after < self.forgotten.get()
    }

    /// The messages after this one, as the pieces of a JSON array. They share the room's memory, so that clients which
    /// are slow hold nothing of their own.
    pub(crate) fn json_after(&self, after: u64) -> Vec<Bytes> {
        let messages = self.messages.borrow();
        let messages = messages.range(position_after(&messages, after)..);
        let mut pieces = Vec::with_capacity(2 * messages.len() + 1);
        for message in messages {
            let before: &[u8] = if pieces.is_empty() { b"[" } else { b"," };
            pieces.extend([Bytes::from_static(before), message.json.clone()]);
        }
        let end: &[u8] = if pieces.is_empty() { b"[]\n" } else { b"]\n" };
        pieces.push(Bytes::from_static(end));
        pieces
    }

    fn first_after(&self, after: u64) -> Option<Message> {
        let messages = self.messages.borrow();
        messages.get(position_after(&messages, after)).cloned()
    }
}

fn position_after(messages: &VecDeque<Message>, after: u64) -> usize {
    messages.partition_point(|message| message.id <= after)
}

impl Message {
    fn new(id: u64, text: &str) -> Self {
        // JSON has no line breaks inside, so it fits into the one line of an event.
        let json = serde_json::json!({ "id": id, "text": text }).to_string();
        Self {
            id,
            event: format!("id: {id}\ndata: {json}\n\n").into(),
            json: json.into(),
        }
    }
}
