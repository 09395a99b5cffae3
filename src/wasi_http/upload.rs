//! The request's body: from the host to the handler.

use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use http::HeaderMap;

use super::host::{Host, Read};
use crate::conn::Refusal;
use crate::incoming::{Incoming, QUEUE, Stream};
use crate::limits::Limits;

/// The request's body. The host is read only while the handler waits for it: so the host's own buffers hold back the
/// client.
pub(super) struct Upload {
    stream: Arc<Stream>,
    /// The body's length, if the request has announced one.
    announced: Option<u64>,
    received: u64,
    /// All the rest, if that is awaited as one piece.
    gathered: Option<Gathered>,
    has_ended: bool,
}

/// The rest of a body, as far as it was received.
struct Gathered {
    data: Vec<u8>,
    /// The most bytes.
    limit: u64,
}

impl Upload {
    /// A body of the announced length; `None` if the request has stated none.
    pub(super) fn new(announced: Option<u64>) -> (Self, Incoming) {
        // The loop checks the stream after each poll, so it needs no notice.
        let notify = Waker::noop().clone();
        let (stream, receiver) = Stream::new(announced, notify, Limits::default().max_body);
        let upload = Self {
            stream,
            announced,
            received: 0,
            gathered: None,
            has_ended: false,
        };
        (upload, receiver.into())
    }

    /// Receives what the handler waits for, as far as the host has it. Returns whether the loop must wait for more.
    pub(super) fn receive<H: Host>(&mut self, host: &mut H) -> bool {
        let state = self.stream.receiver_state();
        if let Some(limit) = state.gather {
            let data = Vec::new();
            self.gathered = Some(Gathered { data, limit });
        }
        let is_awaited = state.is_awaited && !state.is_dropped && !state.over_limit;
        if self.has_ended || !is_awaited {
            return false;
        }
        loop {
            match host.read(QUEUE) {
                Read::Pending => return true,
                Read::Data(data) => self.add(data),
                Read::End(trailers) => self.finish(trailers),
                Read::Failed => self.fail(Refusal::incomplete()),
            }
            if self.has_ended || self.gathered.is_none() {
                return false;
            }
        }
    }

    fn add(&mut self, data: Bytes) {
        self.received = self.received.saturating_add(data.len() as u64);
        match &mut self.gathered {
            None => self.stream.push(data),
            Some(gathered) if gathered.has_room(data.len()) => {
                gathered.data.extend_from_slice(&data)
            }
            Some(_) => self.fail(Refusal::body_too_large()),
        }
        if self.announced == Some(self.received) {
            self.finish(None);
        }
    }

    fn finish(&mut self, trailers: Option<HeaderMap>) {
        if self.has_ended {
            return;
        }
        if self
            .announced
            .is_some_and(|announced| self.received < announced)
        {
            return self.fail(Refusal::incomplete());
        }
        self.has_ended = true;
        if let Some(gathered) = self.gathered.take() {
            self.stream.push(gathered.data.into());
        }
        self.stream.finish(trailers);
    }

    fn fail(&mut self, refusal: Refusal) {
        self.has_ended = true;
        self.gathered = None;
        self.stream.fail(refusal);
    }

    /// The request has ended.
    pub(super) fn gone(&self) {
        self.stream.gone();
    }
}

impl Gathered {
    fn has_room(&self, length: usize) -> bool {
        (self.data.len() as u64).saturating_add(length as u64) <= self.limit
    }
}
