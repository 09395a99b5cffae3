//! One connection moved on: written, read, and its requests given to the handler.

use std::io::{ErrorKind, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use http::Response;
use log::{debug, error};

use super::{EventLoop, Idle};
use crate::body::Body;
use crate::conn::{CloseReason, Connection, Step};
use crate::key::Key;
use crate::log_text::Escaped;
use crate::reactor::{Interest, Reactor, Readiness};
use crate::request::Request;

/// What a connection may do in one turn, before the others get theirs.
#[derive(Default)]
struct Turn {
    reads: usize,
    requests: usize,
    written: usize,
    /// The handler has taken long enough.
    is_late: bool,
}

impl Turn {
    const REQUESTS: usize = 64;
    const WRITTEN: usize = 1 << 20;
    /// The time is looked at after so many requests, and the turn is over after so long.
    const LOOK_EVERY: usize = 8;
    const TIME: Duration = Duration::from_millis(20);

    fn is_over(&self) -> bool {
        self.is_late || self.requests >= Self::REQUESTS || self.written >= Self::WRITTEN
    }
}

impl<R, B, H> EventLoop<'_, R, H>
where
    R: Reactor,
    B: Body,
    H: FnMut(Request) -> Response<B>,
{
    /// Remembers what the reactor has reported, and acts on it.
    pub(super) fn ready(&mut self, key: Key, reported: Readiness) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        slot.readiness.readable |= reported.readable || reported.read_closed;
        slot.readiness.writable |= reported.writable;
        slot.readiness.read_closed |= reported.read_closed;
        if !slot.is_queued {
            self.drive(key);
        }
    }

    /// Writes, reads and handles until nothing more can be done now, or the turn is over.
    pub(super) fn drive(&mut self, key: Key) {
        let mut turn = Turn::default();
        let has_more = loop {
            if !self.flush(key, &mut turn) {
                return;
            }
            if turn.is_over() || turn.reads >= self.reads_per_turn {
                break self.can_write(key) || self.can_go_on(key) || self.can_read(key);
            }
            if self.can_go_on(key) {
                self.handle_input(key, 0, &mut turn);
            } else if self.can_read(key) {
                turn.reads += 1;
                self.read(key, &mut turn);
            } else {
                break false;
            }
        };
        let slot = self
            .slots
            .get_mut(key)
            .filter(|slot| has_more && !slot.is_queued);
        if let Some(slot) = slot {
            slot.is_queued = true;
            self.unfinished.push(key);
        }
        self.update(key);
    }

    /// Writes what there is, as far as it can be written now, and takes the step that follows.
    /// Tells whether the connection still exists.
    fn flush(&mut self, key: Key, turn: &mut Turn) -> bool {
        loop {
            let Some(slot) = self.slots.get_mut(key) else {
                return false;
            };
            let mut cx = self.common.cx();
            if slot.connection.pending_output() > 0 && slot.readiness.writable {
                if turn.written >= Turn::WRITTEN {
                    return true;
                }
                let mut slices = [IoSlice::new(&[]); Connection::MAX_SLICES];
                let filled = slot.connection.poll_output(&mut slices);
                let offered: usize = slices[..filled].iter().map(|slice| slice.len()).sum();
                let id = slot.connection.id();
                match self.reactor.write(&mut slot.stream, &slices[..filled]) {
                    Ok(written) => {
                        debug!(target: "mini_http", "conn {id}: wrote {written} bytes");
                        turn.written += written;
                        slot.readiness.writable = written == offered || !R::SHORT_IS_LAST;
                        slot.connection.handle_written(&mut cx, written);
                        if slot.connection.pending_output() == 0 {
                            debug!(target: "mini_http", "conn {id}: done writing");
                        }
                    }
                    Err(error) => match error.kind() {
                        ErrorKind::WouldBlock => slot.readiness.writable = false,
                        ErrorKind::Interrupted => {}
                        _ => {
                            debug!(target: "mini_http", "conn {id}: write: {error}");
                            slot.connection.abandon(&mut cx, CloseReason::IoError);
                        }
                    },
                }
                continue;
            }
            match slot.connection.poll_step(&mut cx) {
                Step::Wait => return true,
                Step::ShutdownWrite => match self.reactor.shutdown_write(&mut slot.stream) {
                    Ok(()) => return true,
                    // The client is gone.
                    Err(error) => {
                        let id = slot.connection.id();
                        debug!(target: "mini_http", "conn {id}: shutdown: {error}");
                        slot.connection.abandon(&mut cx, CloseReason::IoError);
                    }
                },
                Step::Close(reason) => {
                    self.close(key, reason);
                    return false;
                }
            }
        }
    }

    /// Reads once, and handles what came.
    fn read(&mut self, key: Key, turn: &mut Turn) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        let id = slot.connection.id();
        match self.reactor.read(&mut slot.stream, &mut self.buffer) {
            Ok(0) => {
                debug!(target: "mini_http", "conn {id}: end of the client's stream");
                slot.readiness.readable = false;
                self.with_connection(key, |connection, cx| connection.handle_end_of_input(cx));
            }
            Ok(length) => {
                debug!(target: "mini_http", "conn {id}: read {length} bytes");
                // A short read has drained the socket, unless its end stands behind it.
                let is_drained = length < self.buffer.len() && !slot.readiness.read_closed;
                slot.readiness.readable = !(is_drained && R::SHORT_IS_LAST);
                self.handle_input(key, length, turn);
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => slot.readiness.readable = false,
                ErrorKind::Interrupted => {}
                _ => {
                    debug!(target: "mini_http", "conn {id}: read: {error}");
                    self.with_connection(key, |connection, cx| {
                        connection.abandon(cx, CloseReason::IoError);
                    });
                }
            },
        }
    }

    /// Feeds the first `length` bytes of the buffer to the connection, and answers its requests.
    fn handle_input(&mut self, key: Key, length: usize, turn: &mut Turn) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        let connection = &mut slot.connection;
        let mut cx = self.common.cx();
        let mut input = &self.buffer[..length];
        while let Some(request) = connection.handle_input(&mut cx, &mut input) {
            turn.requests += 1;
            self.handle.count_request();
            let id = connection.id();
            debug!(
                target: "mini_http",
                "conn {id}: begin processing {}",
                Escaped(format!("{} {}", request.method(), request.uri()).as_bytes())
            );
            let answer = if self.catch_panics {
                catch_unwind(AssertUnwindSafe(|| (self.handler)(request)))
            } else {
                Ok((self.handler)(request))
            };
            if self.handle.is_stopping() {
                connection.close_after_answer(CloseReason::Stopped);
            }
            match answer {
                Ok(response) => connection.respond(&mut cx, response),
                Err(_) => {
                    error!(target: "mini_http", "conn {id}: the handler panicked; answering 500");
                    connection.respond_to_panic(&mut cx);
                }
            }
            if turn.requests.is_multiple_of(Turn::LOOK_EVERY) {
                turn.is_late = self.reactor.now().saturating_since(cx.now) >= Turn::TIME;
            }
            if turn.is_late || turn.requests >= Turn::REQUESTS {
                return connection.keep_input(&mut cx, input);
            }
        }
    }

    fn can_write(&mut self, key: Key) -> bool {
        self.slots
            .get_mut(key)
            .is_some_and(|slot| slot.readiness.writable && slot.connection.pending_output() > 0)
    }

    fn can_go_on(&mut self, key: Key) -> bool {
        let cx = self.common.cx();
        self.slots
            .get_mut(key)
            .is_some_and(|slot| slot.connection.can_go_on(&cx))
    }

    fn can_read(&mut self, key: Key) -> bool {
        let cx = self.common.cx();
        self.slots
            .get_mut(key)
            .is_some_and(|slot| slot.readiness.readable && slot.connection.wants_input(&cx))
    }

    /// Brings the reactor's interest, the deadline and the idle list in line with a connection.
    pub(super) fn update(&mut self, key: Key) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        let cx = self.common.cx();
        let interest = Interest {
            read: slot.connection.wants_input(&cx),
            write: slot.connection.pending_output() > 0,
        };
        if interest != slot.interest {
            slot.interest = interest;
            self.reactor.set_interest(&mut slot.stream, interest);
        }
        let deadline = slot.connection.poll_timeout();
        if let Some(deadline) = deadline {
            self.wheel.set(key.index(), deadline);
        }
        // A connection that was used has another deadline, and goes to the end of the list as the
        // shortest idle.
        let until = deadline.filter(|_| slot.connection.is_expendable());
        if until != slot.idle.map(|idle| idle.until) {
            if slot.idle.is_some() {
                self.idle.remove(&mut self.idle_links, key.index());
            }
            if until.is_some() {
                self.idle.push(&mut self.idle_links, key.index());
            }
            let since = cx.now;
            slot.idle = until.map(|until| Idle { since, until });
        }
    }

    fn close(&mut self, key: Key, reason: CloseReason) {
        let Some(slot) = self.slots.remove(key) else {
            return;
        };
        if slot.idle.is_some() {
            self.idle.remove(&mut self.idle_links, key.index());
        }
        self.wheel.cancel(key.index());
        self.handle.count_closed(reason);
        let id = slot.connection.id();
        debug!(target: "mini_http", "conn {id}: closed: {}", reason.explain());
        self.reactor.close(slot.stream);
    }
}
