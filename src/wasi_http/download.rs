//! The response: from the handler to the host.

use std::collections::VecDeque;

use crate::log::{debug, error};
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};

use super::host::{Gone, Host};
use crate::conn::{Hosted, Refusal, ResponseLength, for_host, keep_valid_trailers};
use crate::event_loop::{End, Port};
use crate::failure::Failure;

/// The most bytes that the response's body brings in one poll. At half, a download takes twice as many calls of the
/// host; at double, twice as much memory is held.
const MAX_BATCH: usize = 64 << 10;

/// Parts of at least this length are written by themselves; shorter ones are joined. At half, parts are written by
/// themselves that cost less to copy than a call of the host; at double, more is copied.
const LARGE: usize = 8 << 10;

/// The response of a request.
pub(super) struct Download {
    is_head: bool,
    is_connect: bool,
    stage: Stage,
    /// What the host had no room for.
    queue: VecDeque<Bytes>,
    /// The part that completes an announced length. It is written with the end of the body: if there are more bytes,
    /// the response must not look complete.
    last_part: Bytes,
    trailers: Option<HeaderMap>,
    /// The handler's side has ended: nothing is added any more.
    is_complete: bool,
    /// How many bytes the next write may have, if the host was asked.
    room: usize,
    /// Something was written since the last flush.
    is_unflushed: bool,
    /// Something was written since the last call of [`flush_unless_writing`](Self::flush_unless_writing).
    has_written: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The handler runs.
    Awaited,
    /// The head was passed on. `missing` bytes of the body are still to be added, if that is known.
    Begun { missing: Option<u64> },
    /// The response is complete, or was aborted.
    Ended,
}

impl Download {
    pub(super) fn new(is_head: bool, is_connect: bool) -> Self {
        Self {
            is_head,
            is_connect,
            stage: Stage::Awaited,
            queue: VecDeque::new(),
            last_part: Bytes::new(),
            trailers: None,
            is_complete: false,
            room: 0,
            is_unflushed: false,
            has_written: false,
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.stage == Stage::Ended
    }

    /// Whether the head was passed on.
    pub(super) fn has_begun(&self) -> bool {
        self.stage != Stage::Awaited
    }

    /// Whether the host has no room for what there is.
    pub(super) fn waits_for_room(&self) -> bool {
        !self.queue.is_empty()
    }

    /// How many bytes the body may bring in the next poll.
    ///
    /// # Errors
    /// The client is gone.
    pub(super) fn poll_room<H: Host>(&mut self, host: &mut H) -> Result<usize, Gone> {
        match self.stage {
            Stage::Awaited => Ok(MAX_BATCH),
            Stage::Begun { .. } if self.queue.is_empty() => Ok(self.writable(host)?.min(MAX_BATCH)),
            Stage::Begun { .. } | Stage::Ended => Ok(0),
        }
    }

    /// Takes what the future has put into its port, and passes it on.
    ///
    /// # Errors
    /// The client is gone.
    pub(super) fn deliver<H: Host>(&mut self, port: &Port, host: &mut H) -> Result<(), Gone> {
        let mut sent = port.sent();
        if let Some((head, length)) = sent.head.take() {
            self.begin(host, head, length);
        }
        for data in sent.take_data() {
            self.add(host, data);
        }
        self.trailers = sent.trailers.take().or(self.trailers.take());
        let end = sent.end.take();
        drop(sent);
        match end {
            None => {}
            // The response is the server's own. What has become of the handler's doesn't matter.
            Some(_) if self.is_complete => {}
            Some(End::Complete) => self.is_complete = true,
            Some(End::HandlerFailed(failure)) => self.fail_handler(host, failure),
            Some(End::BodyFailed(failure)) => {
                error!(target: "mini_http", "the response's body failed: {}", failure.text);
                self.abort(host);
            }
        }
        self.pass_on(host)
    }

    /// Makes the server's own response: to a request that is refused, or whose handler has failed.
    pub(super) fn refuse<H: Host>(&mut self, host: &mut H, refusal: Refusal) {
        let text = format!("{}\n", refusal.text());
        let mut head = Response::new(());
        *head.status_mut() = refusal.status();
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        head.headers_mut().insert(header::CONTENT_TYPE, plain);
        self.pass_head(host, head, ResponseLength::Exact(text.len() as u64));
        self.add(host, text.into());
        self.is_complete = true;
    }

    /// Ends the response, because the future can't go on: its handler, or the response's body, waits without end.
    pub(super) fn give_up<H: Host>(&mut self, host: &mut H) -> Result<(), Gone> {
        match self.stage {
            Stage::Awaited => self.refuse(host, Refusal::handler_failed()),
            Stage::Begun { .. } | Stage::Ended => self.abort(host),
        }
        self.pass_on(host)
    }

    /// Writes what the host has room for, and ends the response if it is complete.
    ///
    /// # Errors
    /// The client is gone.
    pub(super) fn pass_on<H: Host>(&mut self, host: &mut H) -> Result<(), Gone> {
        let Stage::Begun { missing } = self.stage else {
            return Ok(());
        };
        if self.is_complete && missing == Some(0) && !self.last_part.is_empty() {
            self.queue.push_back(std::mem::take(&mut self.last_part));
        }
        while !self.queue.is_empty() {
            let room = self.writable(host)?;
            if room == 0 {
                return Ok(());
            }
            let part = next_part(&mut self.queue, room);
            self.room = 0;
            host.write(&part)?;
            self.is_unflushed = true;
            self.has_written = true;
        }
        if self.is_complete {
            self.end(host, missing);
        }
        Ok(())
    }

    /// Asks the host to send what was written. Called before a wait.
    pub(super) fn flush<H: Host>(&mut self, host: &mut H) -> Result<(), Gone> {
        if std::mem::take(&mut self.is_unflushed) {
            self.room = 0;
            return host.flush();
        }
        Ok(())
    }

    /// Called where the loop goes on without a wait. If this iteration has written nothing, sends what earlier ones
    /// have written, and finds a client that is gone. Not before: a host has no room while it sends, so that each part
    /// would take a wait.
    ///
    /// # Errors
    /// The client is gone.
    pub(super) fn flush_unless_writing<H: Host>(&mut self, host: &mut H) -> Result<(), Gone> {
        if std::mem::take(&mut self.has_written) || !self.has_begun() {
            return Ok(());
        }
        self.flush(host)?;
        self.ask_again();
        self.poll_room(host).map(drop)
    }

    /// Forgets how much room the host had: after a wait there may be more.
    pub(super) fn ask_again(&mut self) {
        self.room = 0;
    }
}

impl Download {
    fn begin<H: Host>(&mut self, host: &mut H, head: Response<()>, length: ResponseLength) {
        if self.has_begun() {
            // The request was refused meanwhile.
            return;
        }
        let status = head.status();
        let is_tunnel = self.is_connect && status.is_success();
        if !status.is_informational() && !is_tunnel {
            return self.pass_head(host, head, length);
        }
        error!(target: "mini_http", "the response {status} can't be sent by a component");
        self.refuse(
            host,
            match status {
                StatusCode::SWITCHING_PROTOCOLS => Refusal::no_upgrade(),
                _ if is_tunnel => Refusal::no_tunnels(),
                _ => Refusal::no_final_response(),
            },
        );
    }

    fn pass_head<H: Host>(&mut self, host: &mut H, mut head: Response<()>, length: ResponseLength) {
        let Hosted { has_body, promised } = for_host(&mut head, length, self.is_head);
        let has_body = has_body && promised != Some(0);
        host.begin(head, has_body);
        self.stage = match has_body {
            true => Stage::Begun { missing: promised },
            false => Stage::Ended,
        };
    }

    /// Adds a part of the body.
    fn add<H: Host>(&mut self, host: &mut H, data: Bytes) {
        let Stage::Begun { missing } = &mut self.stage else {
            return;
        };
        if self.is_complete || data.is_empty() {
            return;
        }
        let Some(missing) = missing else {
            return self.queue.push_back(data);
        };
        match missing.checked_sub(data.len() as u64) {
            Some(0) => {
                *missing = 0;
                self.last_part = data;
            }
            Some(left) => {
                *missing = left;
                self.queue.push_back(data);
            }
            None => {
                error!(target: "mini_http", "the response's body has more bytes than announced");
                self.abort(host);
            }
        }
    }

    fn end<H: Host>(&mut self, host: &mut H, missing: Option<u64>) {
        if missing.is_some_and(|missing| missing > 0) {
            error!(target: "mini_http", "the response's body has fewer bytes than announced");
            return self.abort(host);
        }
        self.stage = Stage::Ended;
        let mut trailers = self.trailers.take().filter(|_| missing.is_none());
        if let Some(trailers) = &mut trailers {
            keep_valid_trailers(trailers);
        }
        host.end(trailers.as_ref());
    }

    fn abort<H: Host>(&mut self, host: &mut H) {
        if matches!(self.stage, Stage::Begun { .. }) {
            self.queue.clear();
            self.stage = Stage::Ended;
            host.abort();
        }
    }

    fn fail_handler<H: Host>(&mut self, host: &mut H, failure: Failure) {
        let Failure { text, refusal } = failure;
        let refusal = if let Some(refusal) = refusal {
            debug!(target: "mini_http", "the handler returned the refusal of its request: {text}");
            refusal
        } else {
            error!(target: "mini_http", "the handler failed; responding with 500: {text}");
            Refusal::handler_failed()
        };
        self.refuse(host, refusal);
    }

    /// How many bytes the next write may have. The host isn't asked twice.
    fn writable<H: Host>(&mut self, host: &mut H) -> Result<usize, Gone> {
        if self.room == 0 {
            self.room = host.room()?;
        }
        Ok(self.room)
    }
}

/// Takes at most `most` bytes out of the queue. Small parts are joined.
fn next_part(queue: &mut VecDeque<Bytes>, most: usize) -> Bytes {
    let Some(mut first) = queue.pop_front() else {
        return Bytes::new();
    };
    if first.len() > most {
        let part = first.split_to(most);
        queue.push_front(first);
        return part;
    }
    if first.len() >= LARGE || queue.is_empty() {
        return first;
    }
    let mut joined = Vec::from(first);
    while let Some(next) = queue.front() {
        if next.len() >= LARGE || joined.len() + next.len() > most {
            break;
        }
        joined.extend_from_slice(next);
        queue.pop_front();
    }
    joined.into()
}
