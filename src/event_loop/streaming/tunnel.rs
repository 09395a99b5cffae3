//! Upgraded connections: the loop passes bytes between the connection and the [`Pipe`], which the program uses.

use std::io::ErrorKind;
use std::sync::Arc;

use bytes::Bytes;

use super::Streaming;
use super::exchange::Exchange;
use crate::conn::state::Writing;
use crate::conn::{CloseReason, Connection, Context, MIN_ROOM};
use crate::event_loop::driver::Driver;
use crate::event_loop::slot::Slot;
use crate::incoming::QUEUE;
use crate::reactor::Reactor;
use crate::upgrade::Pipe;

/// What the loop keeps for an upgraded connection.
pub(super) struct Tunnel {
    pipe: Arc<Pipe>,
    /// What was last reported to the user's side about the output.
    reported: Sent,
    /// Whether it must be reported when more is sent. Otherwise that is left to the next exchange: before that, the
    /// user can't be waiting for it.
    must_report: bool,
}

/// How far the connection has sent its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sent {
    unsent: usize,
    is_shut: bool,
}

impl Sent {
    fn by(connection: &Connection) -> Self {
        let writing = connection.state().writing();
        Self {
            unsent: connection.pending_output(),
            is_shut: matches!(writing, Writing::Lingering | Writing::Closed),
        }
    }
}

impl Tunnel {
    pub(super) fn new(pipe: Arc<Pipe>, connection: &Connection) -> Self {
        Self {
            pipe,
            reported: Sent::by(connection),
            must_report: true,
        }
    }

    /// Whether output was sent, and that must be reported.
    pub(super) fn has_news(&self, connection: &Connection) -> bool {
        self.must_report && self.reported != Sent::by(connection)
    }

    /// Passes input on.
    pub(super) fn push(&self, cx: &mut Context<'_>, connection: &mut Connection, data: Bytes) {
        let queued = self.pipe.push(data);
        connection.set_upgraded_queue(cx, queued);
    }

    pub(super) fn end_input(&self) {
        self.pipe.end_input();
    }

    /// Passes output to the connection, and ends or drops it as the user wants. Returns whether the pipe is still used.
    fn exchange(&mut self, cx: &mut Context<'_>, connection: &mut Connection) -> bool {
        let Sent { unsent, is_shut } = Sent::by(connection);
        let room = match cx.shared.has_room(cx.limits) {
            true => QUEUE,
            false => MIN_ROOM,
        };
        let mut wishes = self.pipe.exchange(unsent, is_shut, room);
        if !wishes.output.is_empty() {
            connection.send_upgraded(cx, &mut wishes.output);
        }
        self.pipe.give_back(wishes.output);
        if wishes.is_dropped {
            connection.drop_upgraded(cx);
            return false;
        }
        if wishes.is_closing {
            connection.end_upgraded(cx);
        }
        connection.set_upgraded_queue(cx, wishes.queued);
        (self.reported, self.must_report) = (Sent::by(connection), wishes.awaits_sending);
        true
    }

    /// The connection is closed.
    pub(super) fn close(&self, reason: CloseReason) {
        self.pipe.close(match reason {
            CloseReason::Upgraded => None,
            CloseReason::WriteTimeout => Some(ErrorKind::TimedOut),
            CloseReason::Stopped | CloseReason::ServerFailed => Some(ErrorKind::ConnectionAborted),
            _ => Some(ErrorKind::ConnectionReset),
        });
    }
}

impl<'h, H> Streaming<'h, H> {
    /// Lets an upgraded connection go on.
    pub(super) fn pass_bytes<R: Reactor>(
        driver: &mut Driver<'_, R>,
        slot: &mut Slot<R::Stream, Exchange<'h>>,
    ) {
        slot.exchange.take_wake();
        if let Some(tunnel) = &mut slot.exchange.tunnel
            && !tunnel.exchange(&mut driver.cx, &mut slot.connection)
        {
            slot.exchange.tunnel = None;
        }
    }
}
