//! One turn of a connection: pending output is written, input is read, and the mode passes requests to the handler.

use std::io::{ErrorKind, IoSlice};

use crate::log::debug;
use poll_turns::Key;

use super::driver::Driver;
use super::mode::Mode;
use super::phase::{LATE_BODIES, MAX_LATE_TURNS, Phase};
use super::round_robin::Turn;
use super::slot::Slot;
use crate::conn::{CloseReason, Connection, Seen, Step};
use crate::reactor::{Interest, Reactor};
use crate::time::Instant;

/// How a turn ended.
enum End {
    /// Nothing more can be done now.
    Done,
    /// The quantum was used up before the work was done.
    Unfinished,
    Close(CloseReason),
}

impl<R: Reactor> Driver<'_, R> {
    /// Gives a connection a turn with this quantum. If the connection has to be closed, returns the reason.
    pub(super) fn drive<M: Mode<R>>(
        &mut self,
        mode: &mut M,
        key: Key,
        slot: &mut Slot<R::Stream, M::Exchange>,
        quantum: usize,
    ) -> Option<CloseReason> {
        let mut turn = self.slice.begin_turn(quantum, slot.deficit);
        let late_turns = slot.late_turns;
        match self.phase {
            Phase::Serving | Phase::Grace(_) => {}
            Phase::Closing(since) => self.allow_late_read(slot, since),
            Phase::Over => mode.cut_off(&mut self.cx, &mut slot.connection),
        }
        let end = self.take_turn(mode, slot, &mut turn);
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
        self.update_interest(mode, slot);
        let is_held_back = mode.is_held_back(&slot.exchange);
        if is_held_back {
            // Its request is still to be read, however late it may begin.
            slot.late_turns = late_turns;
        }
        let now = self.cx.now;
        self.schedule.update(key.index(), slot, is_held_back, now);
        None
    }

    /// Writes, reads and handles requests until nothing more can be done now, or the quantum is used up.
    #[inline]
    fn take_turn<M: Mode<R>>(
        &mut self,
        mode: &mut M,
        slot: &mut Slot<R::Stream, M::Exchange>,
        turn: &mut Turn,
    ) -> End {
        loop {
            if let Some(reason) = self.flush(slot, turn) {
                return End::Close(reason);
            }
            let can_advance = mode.can_advance(&self.cx, slot);
            let can_go_on =
                slot.connection.has_usable_input(&self.cx) && mode.may_receive(&self.cx, slot);
            let can_read = slot.readiness.readable
                && mode.wants_input(&self.cx, slot)
                && mode.may_receive(&self.cx, slot);
            if turn.is_over() {
                return match slot.can_write() || can_advance || can_go_on || can_read {
                    true => End::Unfinished,
                    false => End::Done,
                };
            }
            if can_go_on {
                mode.handle_input(self, slot, 0, turn);
            } else if can_read {
                self.read(mode, slot, turn);
            } else if can_advance {
                mode.advance(self, slot, turn);
            } else if mode.is_held_back(&slot.exchange) || !self.stop_waiting(slot) {
                return End::Done;
            }
        }
    }

    /// Reads once, and handles the input.
    fn read<M: Mode<R>>(
        &mut self,
        mode: &mut M,
        slot: &mut Slot<R::Stream, M::Exchange>,
        turn: &mut Turn,
    ) {
        let limit = mode.read_limit(&self.cx, &slot.connection, self.buffer.len());
        match self.read_some(slot, limit) {
            Some(0) => mode.handle_end_of_input(self, slot),
            Some(length) => {
                turn.add_bytes(length);
                mode.handle_input(self, slot, length, turn);
            }
            None => {}
        }
    }

    /// Registers with the reactor whether the connection is to be read, and whether it has output to write.
    fn update_interest<M: Mode<R>>(&mut self, mode: &M, slot: &mut Slot<R::Stream, M::Exchange>) {
        let interest = Interest {
            read: mode.wants_input(&self.cx, slot) && !mode.is_held_back(&slot.exchange),
            write: slot.connection.pending_output() > 0,
        };
        if interest != slot.interest {
            slot.interest = interest;
            self.reactor.set_interest(&mut slot.stream, interest);
        }
    }

    /// Writes pending output until a write would block, and takes the steps that follow. If the connection has to
    /// be closed, returns the reason.
    fn flush<X>(&mut self, slot: &mut Slot<R::Stream, X>, turn: &mut Turn) -> Option<CloseReason> {
        loop {
            if slot.can_write() {
                if !turn.may_write() {
                    return None;
                }
                self.write(slot, turn);
                continue;
            }
            let step = slot.connection.poll_step(&mut self.cx);
            if step == Step::ShutdownWrite && slot.connection.is_observed() {
                // A response that ends with the connection may have no write left to report this.
                self.report(&mut slot.connection, Seen::Sent);
            }
            match step {
                Step::Wait => return None,
                Step::ShutdownWrite => match self.reactor.shutdown_write(&mut slot.stream) {
                    Ok(()) => return None,
                    // The client is gone.
                    Err(error) => {
                        let id = slot.connection.id();
                        debug!(target: "mini_http", "conn {id}: shutdown: {error}");
                        self.lose(slot);
                    }
                },
                Step::Close(reason) => return Some(reason),
            }
        }
    }

    /// Writes once.
    fn write<X>(&mut self, slot: &mut Slot<R::Stream, X>, turn: &mut Turn) {
        let mut slices = [IoSlice::new(&[]); Connection::MAX_SLICES];
        let filled = slot.connection.poll_output(&mut slices);
        let offered: usize = slices[..filled].iter().map(|slice| slice.len()).sum();
        let id = slot.connection.id();
        let slices = &slices[..filled];
        let written = match slot.connection.ends_after_output() {
            true => self.reactor.write_last(&mut slot.stream, slices),
            false => self.reactor.write(&mut slot.stream, slices),
        };
        match written {
            Ok(written) => {
                debug!(target: "mini_http", "conn {id}: wrote {written} bytes");
                turn.add_bytes(written);
                // Some runtimes return 0 instead of `WouldBlock`, so 0 counts as not writable.
                slot.readiness.writable = written == offered || written > 0 && !R::SHORT_IS_LAST;
                slot.connection.handle_written(&mut self.cx, written);
                if slot.connection.is_observed() {
                    self.report(&mut slot.connection, Seen::Sent);
                }
                if slot.connection.pending_output() == 0 {
                    debug!(target: "mini_http", "conn {id}: done writing");
                }
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => slot.readiness.writable = false,
                ErrorKind::Interrupted => {}
                _ => {
                    debug!(target: "mini_http", "conn {id}: write: {error}");
                    self.lose(slot);
                }
            },
        }
    }

    /// Called after the grace of a stop (`stop.rs`). Marks the connection readable, so that it is read before it is
    /// closed: the reactor may not have reported input that has arrived. The number of these reads is limited, and so
    /// is the time for bodies.
    #[cold]
    fn allow_late_read<X>(&self, slot: &mut Slot<R::Stream, X>, since: Instant) {
        if !slot.connection.is_ending() && !slot.connection.request_in_progress() {
            let is_late = slot.connection.is_reading_body() && self.cx.now >= since + LATE_BODIES;
            slot.readiness.readable = slot.late_turns < self.max_late_turns() && !is_late;
            slot.late_turns +=
                u8::from(slot.readiness.readable && slot.connection.wants_input(&self.cx));
        }
    }

    /// In how many turns a connection may be read after the grace. It is read in one, however late it is.
    fn max_late_turns(&self) -> u8 {
        match self.is_too_late_for_pipelines() {
            true => 1,
            false => MAX_LATE_TURNS,
        }
    }

    /// If the grace is over, ends the connection's wait for input. Returns whether this changed anything.
    fn stop_waiting<X>(&mut self, slot: &mut Slot<R::Stream, X>) -> bool {
        matches!(self.phase, Phase::Closing(_)) && slot.connection.stop(&mut self.cx)
    }
}
