//! One connection moved on: written, read, and its requests given to the handler.

use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};

use http::Response;
use log::{debug, error};
use poll_turns::Key;

use super::Slot;
use super::round_robin::{Slice, Turn};
use super::schedule::Schedule;
use super::stop::Phase;
use crate::body::Body;
use crate::conn::{CloseReason, Connection, Context, Step};
use crate::handle::Handle;
use crate::log_text::Escaped;
use crate::reactor::{Interest, Reactor};
use crate::request::Request;

/// What moves a connection on: all of the loop that its turn needs.
pub(super) struct Driver<'a, R: Reactor, H> {
    pub(super) reactor: R,
    pub(super) handler: H,
    pub(super) handle: &'a Handle,
    pub(super) catch_panics: bool,
    /// What every call of a connection is given; its time is that at which this iteration's wait
    /// returned.
    pub(super) cx: Context<'a>,
    pub(super) schedule: Schedule,
    /// Connections whose last turn ended before their work did.
    pub(super) backlog: VecDeque<Key>,
    /// What this iteration of the loop has cost.
    pub(super) slice: Slice,
    /// How far the loop is with stopping.
    pub(super) phase: Phase,
    /// Where all connections' bytes are read to.
    pub(super) buffer: Box<[u8]>,
}

/// How a turn has ended.
enum End {
    /// Nothing more can be done now.
    Done,
    /// There is more to do than the turn allowed.
    Unfinished,
    Close(CloseReason),
}

impl<R, B, H> Driver<'_, R, H>
where
    R: Reactor,
    B: Body,
    H: FnMut(Request) -> Response<B>,
{
    /// Gives a connection a turn with this quantum. Returns why it is to be closed, if it is.
    pub(super) fn drive(
        &mut self,
        key: Key,
        slot: &mut Slot<R::Stream>,
        quantum: usize,
    ) -> Option<CloseReason> {
        let mut turn = self.slice.begin_turn(quantum, slot.deficit);
        self.look_again(slot);
        let end = self.take_turn(slot, &mut turn);
        self.slice.end_turn(&turn);
        let has_more = match end {
            End::Close(reason) => return Some(reason),
            End::Done => false,
            End::Unfinished => true,
        };
        slot.deficit = if has_more { 0 } else { turn.left() };
        if has_more && !slot.is_queued {
            slot.is_queued = true;
            self.backlog.push_back(key);
        }
        self.show_interest(slot);
        self.schedule.update(key.index(), slot, self.cx.now);
        None
    }

    /// Writes, reads and handles requests until nothing more can be done now, or the turn is over.
    #[inline]
    fn take_turn(&mut self, slot: &mut Slot<R::Stream>, turn: &mut Turn) -> End {
        loop {
            if let Some(reason) = self.flush(slot, turn) {
                return End::Close(reason);
            }
            let can_go_on = slot.connection.has_usable_input(&self.cx);
            let can_read = slot.readiness.readable && slot.connection.wants_input(&self.cx);
            if turn.is_over() {
                return match slot.can_write() || can_go_on || can_read {
                    true => End::Unfinished,
                    false => End::Done,
                };
            }
            if can_go_on {
                self.handle_input(slot, 0, turn);
            } else if can_read {
                self.read(slot, turn);
            } else if !self.stop_waiting(slot) {
                return End::Done;
            }
        }
    }

    /// Tells the reactor which directions would be acted upon now.
    fn show_interest(&mut self, slot: &mut Slot<R::Stream>) {
        let interest = Interest {
            read: slot.connection.wants_input(&self.cx),
            write: slot.connection.pending_output() > 0,
        };
        if interest != slot.interest {
            slot.interest = interest;
            self.reactor.set_interest(&mut slot.stream, interest);
        }
    }

    /// Writes what there is, as far as it can be written now, and takes the step that follows.
    /// Tells why the connection is to be closed, if it is.
    fn flush(&mut self, slot: &mut Slot<R::Stream>, turn: &mut Turn) -> Option<CloseReason> {
        loop {
            if slot.can_write() {
                if !turn.may_write() {
                    return None;
                }
                self.write(slot, turn);
                continue;
            }
            match slot.connection.poll_step(&mut self.cx) {
                Step::Wait => return None,
                Step::ShutdownWrite => match self.reactor.shutdown_write(&mut slot.stream) {
                    Ok(()) => return None,
                    // The client is gone.
                    Err(error) => {
                        let id = slot.connection.id();
                        debug!(target: "mini_http", "conn {id}: shutdown: {error}");
                        slot.connection.abandon(&mut self.cx, CloseReason::IoError);
                    }
                },
                Step::Close(reason) => return Some(reason),
            }
        }
    }

    /// Writes once.
    fn write(&mut self, slot: &mut Slot<R::Stream>, turn: &mut Turn) {
        let mut slices = [IoSlice::new(&[]); Connection::MAX_SLICES];
        let filled = slot.connection.poll_output(&mut slices);
        let offered: usize = slices[..filled].iter().map(|slice| slice.len()).sum();
        let id = slot.connection.id();
        match self.reactor.write(&mut slot.stream, &slices[..filled]) {
            Ok(written) => {
                debug!(target: "mini_http", "conn {id}: wrote {written} bytes");
                turn.add_bytes(written);
                // A runtime that says 0 where it means `WouldBlock` is not asked again now.
                slot.readiness.writable = written == offered || written > 0 && !R::SHORT_IS_LAST;
                slot.connection.handle_written(&mut self.cx, written);
                if slot.connection.pending_output() == 0 {
                    debug!(target: "mini_http", "conn {id}: done writing");
                }
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => slot.readiness.writable = false,
                ErrorKind::Interrupted => {}
                _ => {
                    debug!(target: "mini_http", "conn {id}: write: {error}");
                    slot.connection.abandon(&mut self.cx, CloseReason::IoError);
                }
            },
        }
    }

    /// Reads once, and handles what came.
    fn read(&mut self, slot: &mut Slot<R::Stream>, turn: &mut Turn) {
        match self.read_some(slot) {
            Some(0) => slot.connection.handle_end_of_input(&mut self.cx),
            Some(length) => {
                turn.add_bytes(length);
                self.handle_input(slot, length, turn);
            }
            None => {}
        }
    }

    /// Reads once into the buffer; 0 is the end of the stream.
    #[inline]
    pub(super) fn read_some(&mut self, slot: &mut Slot<R::Stream>) -> Option<usize> {
        let id = slot.connection.id();
        match self.reactor.read(&mut slot.stream, &mut self.buffer) {
            Ok(0) => {
                debug!(target: "mini_http", "conn {id}: end of the client's stream");
                slot.readiness.readable = false;
                return Some(0);
            }
            Ok(length) => {
                debug!(target: "mini_http", "conn {id}: read {length} bytes");
                // A short read has drained the socket, unless its end stands behind it.
                let is_drained = length < self.buffer.len() && !slot.readiness.read_closed;
                slot.readiness.readable = !(is_drained && R::SHORT_IS_LAST);
                return Some(length);
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => slot.readiness.readable = false,
                ErrorKind::Interrupted => {}
                _ => {
                    debug!(target: "mini_http", "conn {id}: read: {error}");
                    slot.connection.abandon(&mut self.cx, CloseReason::IoError);
                }
            },
        }
        None
    }

    /// Feeds the first `length` bytes of the buffer to the connection, and answers its requests.
    fn handle_input(&mut self, slot: &mut Slot<R::Stream>, length: usize, turn: &mut Turn) {
        let mut input = &self.buffer[..length];
        while let Some(request) = slot.connection.handle_input(&mut self.cx, &mut input) {
            let must_check_time = turn.add_request();
            self.handle.count_request();
            let id = slot.connection.id();
            debug!(
                target: "mini_http",
                "conn {id}: begin processing {}",
                Escaped(format!("{} {}", request.method(), request.uri()).as_bytes())
            );
            let mut answer = if self.catch_panics {
                catch_unwind(AssertUnwindSafe(|| (self.handler)(request)))
            } else {
                Ok((self.handler)(request))
            };
            if self.handle.is_stopping() {
                if self.is_too_late_for_pipelines() {
                    slot.connection.close_after_response(CloseReason::Stopped);
                } else if input.is_empty() {
                    input = &[];
                    self.read_behind(slot, turn);
                }
            }
            let connection = &mut slot.connection;
            match &mut answer {
                Ok(response) => connection.respond_in_place(&mut self.cx, response),
                Err(_) => {
                    error!(target: "mini_http", "conn {id}: the handler panicked; answering 500");
                    connection.respond_to_panic(&mut self.cx);
                }
            }
            if must_check_time && self.slice.check_time(self.reactor.now()) {
                turn.end();
            }
            if turn.is_over() {
                return connection.keep_input(&mut self.cx, input);
            }
        }
    }
}

impl<S> Slot<S> {
    fn can_write(&self) -> bool {
        self.readiness.writable && self.connection.pending_output() > 0
    }
}
