//! The [`Driver`]: the reactor and the state that all turns share. The loop uses it, and so does its mode (`mode.rs`),
//! which runs the handlers.

use std::collections::VecDeque;
use std::io::ErrorKind;

use crate::log::debug;
use poll_turns::Key;

use super::phase::{LATE_PIPELINES, MAX_LATE_TURNS, Phase};
use super::round_robin::{Slice, Turn};
use super::schedule::Schedule;
use super::slot::Slot;
use crate::conn::{CloseReason, Connection, Context, Seen};
use crate::handle::Handle;
use crate::reactor::Reactor;

/// The part of the loop that a turn needs. It is separate from the slots, so that a turn can borrow it together with
/// the slot of its connection.
pub(super) struct Driver<'a, R: Reactor> {
    pub(super) reactor: R,
    pub(super) handle: &'a Handle,
    pub(super) catch_panics: bool,
    /// The argument of each call of a [`Connection`](crate::conn::Connection). Its time is when the wait of this
    /// iteration returned.
    pub(super) cx: Context<'a>,
    pub(super) schedule: Schedule,
    /// Connections whose last turn ended before their work did, in the order in which they get further turns.
    pub(super) backlog: VecDeque<Key>,
    /// What this iteration of the loop has cost.
    pub(super) slice: Slice,
    /// How far the loop is with stopping.
    pub(super) phase: Phase,
    /// The buffer that all connections are read into.
    pub(super) buffer: Box<[u8]>,
}

impl<R: Reactor> Driver<'_, R> {
    /// Reads once into the buffer, at most `limit` bytes. Returns the number of bytes, where 0 is the end of the
    /// stream; or `None` if there is nothing to read now, or if the read has failed.
    #[inline]
    pub(super) fn read_some<X>(
        &mut self,
        slot: &mut Slot<R::Stream, X>,
        limit: usize,
    ) -> Option<usize> {
        let id = slot.connection.id();
        let buffer = &mut self.buffer[..limit];
        match self.reactor.read(&mut slot.stream, buffer) {
            Ok(0) => {
                debug!(target: "mini_http", "conn {id}: end of the client's stream");
                slot.readiness.readable = false;
                return Some(0);
            }
            Ok(length) => {
                debug!(target: "mini_http", "conn {id}: read {length} bytes");
                // After a short read the socket is empty. But if the reactor has reported the end of the stream,
                // another read has to return it.
                let is_drained = length < buffer.len() && !slot.readiness.read_closed;
                slot.readiness.readable = !(is_drained && R::SHORT_IS_LAST);
                return Some(length);
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => slot.readiness.readable = false,
                ErrorKind::Interrupted => {}
                _ => {
                    debug!(target: "mini_http", "conn {id}: read: {error}");
                    self.lose(slot);
                }
            },
        }
        None
    }

    /// Ends a connection whose stream has failed.
    #[cold]
    pub(super) fn lose<X>(&mut self, slot: &mut Slot<R::Stream, X>) {
        let connection = &slot.connection;
        let reason = match connection.request_in_progress() || connection.is_upgraded() {
            true => CloseReason::ClientGone,
            false => CloseReason::IoError,
        };
        slot.connection.abandon(&mut self.cx, reason);
    }

    /// Counts a connection that is closed, logs it, and reports it to observers.
    pub(super) fn record_close(&mut self, connection: &mut Connection, reason: CloseReason) {
        self.handle.count_closed(reason);
        let id = connection.id();
        debug!(target: "mini_http", "conn {id}: closed: {}", reason.explain());
        if connection.is_observed() {
            self.report(connection, Seen::Closed(reason));
        }
    }

    /// Called for a request while the server stops. Makes the response to it the last one, unless there is more
    /// input. Such input is read now, and kept until the response has been made.
    #[cold]
    pub(super) fn read_further<X>(&mut self, slot: &mut Slot<R::Stream, X>, turn: &mut Turn) {
        if slot.connection.is_ending() || slot.connection.has_kept_input() {
            return;
        }
        let can_keep = slot.connection.can_keep(&self.cx, self.buffer.len());
        if can_keep && slot.late_turns < MAX_LATE_TURNS {
            slot.late_turns += u8::from(matches!(self.phase, Phase::Closing(_)));
            match self.read_some(slot, self.buffer.len()) {
                // The end of the stream is handled after the response, too: it will be read again.
                Some(0) => slot.readiness.readable = true,
                Some(length) => {
                    turn.add_bytes(length);
                    return slot
                        .connection
                        .keep_input(&mut self.cx, &self.buffer[..length]);
                }
                None => {}
            }
        }
        slot.connection.close_after_response(CloseReason::Stopped);
    }

    /// Whether the next response of each connection has to be its last. Reads the clock, because handlers may have
    /// taken long since the iteration began.
    pub(super) fn is_too_late_for_pipelines(&self) -> bool {
        match self.phase {
            Phase::Serving | Phase::Grace(_) => false,
            Phase::Closing(since) => self.reactor.now() >= since + LATE_PIPELINES,
            Phase::Over => true,
        }
    }
}
