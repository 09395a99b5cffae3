//! The responses of the floor.

use crate::BODY;

/// The responses to batches of requests, made in advance.
pub(crate) struct Responses {
    /// As many responses as one read can contain requests.
    row: Vec<u8>,
    one: usize,
    last: Vec<u8>,
}

/// The responses of the other servers have these fields too, so they have the same length.
const DATE: &str = "date: Sun, 22 Nov 2026 12:00:00 GMT";

impl Responses {
    pub(crate) fn new(most: usize) -> Self {
        let one = [head(BODY.len(), false), BODY.into()].concat();
        Self {
            row: one.repeat(most),
            one: one.len(),
            last: [head(BODY.len(), true), BODY.into()].concat(),
        }
    }

    /// The responses to this many requests.
    pub(crate) fn row(&self, count: usize) -> &[u8] {
        &self.row[..count * self.one]
    }

    /// The response to a request with `Connection: close`.
    pub(crate) fn last(&self) -> &[u8] {
        &self.last
    }
}

/// The head of a response with a body of this length.
pub(crate) fn head(length: usize, is_last: bool) -> Vec<u8> {
    let close = if is_last { "connection: close\r\n" } else { "" };
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n{close}{DATE}\r\n\r\n").into_bytes()
}
