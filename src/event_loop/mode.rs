//! The [`Mode`] of the loop: what happens with the requests.

use std::time::Duration;

use poll_turns::{Key, Table};

use super::driver::Driver;
use super::round_robin::Turn;
use super::slot::Slot;
use crate::conn::{CloseReason, Connection, Context};
use crate::reactor::Reactor;
use crate::time::Instant;

/// What happens with the requests. The loop accepts, reads, writes and closes. Its mode passes input to the
/// connection's state machine, runs handlers, and passes their responses to the machine.
///
/// The default methods are for modes in which a request is done when the handler returns. They are inlined, so
/// such a mode doesn't pay for what only the other mode needs.
pub(super) trait Mode<R: Reactor> {
    /// The state that the mode keeps for each connection.
    type Exchange;

    /// Returns the state for a connection that was just accepted.
    fn open(&mut self, key: Key) -> Self::Exchange;

    /// Passes the first `length` bytes of the driver's buffer to the connection, and handles the requests in them.
    /// If `length` is 0, the connection goes on with the input that it has kept.
    fn handle_input(
        &mut self,
        driver: &mut Driver<'_, R>,
        slot: &mut Slot<R::Stream, Self::Exchange>,
        length: usize,
        turn: &mut Turn,
    );

    /// Called when the client has ended its stream.
    #[inline]
    fn handle_end_of_input(
        &mut self,
        driver: &mut Driver<'_, R>,
        slot: &mut Slot<R::Stream, Self::Exchange>,
    ) {
        slot.connection.handle_end_of_input(&mut driver.cx);
    }

    /// Whether the connection should be read.
    #[inline]
    fn wants_input(&self, cx: &Context<'_>, slot: &Slot<R::Stream, Self::Exchange>) -> bool {
        slot.connection.wants_input(cx)
    }

    /// The largest read into a buffer of this length.
    #[inline]
    fn read_limit(&self, cx: &Context<'_>, connection: &Connection, buffer: usize) -> usize {
        let _ = (cx, connection);
        buffer
    }

    /// Whether the connection may receive a request now. If not, the mode remembers it, and wakes it as soon as it
    /// may.
    #[inline]
    fn may_receive(
        &mut self,
        cx: &Context<'_>,
        slot: &mut Slot<R::Stream, Self::Exchange>,
    ) -> bool {
        let _ = (cx, slot);
        true
    }

    /// Whether the connection waits because [`may_receive`](Self::may_receive) returned false. While it waits, it
    /// isn't read, and no deadline ends it but that of its output.
    #[inline]
    fn is_held_back(&self, exchange: &Self::Exchange) -> bool {
        let _ = exchange;
        false
    }

    /// Whether the request can go on without input, for example because its future was woken.
    #[inline]
    fn can_advance(&self, cx: &Context<'_>, slot: &Slot<R::Stream, Self::Exchange>) -> bool {
        let _ = (cx, slot);
        false
    }

    /// Lets the request go on: called if [`can_advance`](Self::can_advance) returned true.
    #[inline]
    fn advance(
        &mut self,
        driver: &mut Driver<'_, R>,
        slot: &mut Slot<R::Stream, Self::Exchange>,
        turn: &mut Turn,
    ) {
        let _ = (driver, slot, turn);
    }

    /// With several workers: gives back what this one doesn't need of its shares.
    #[inline]
    fn give_back_spare(&mut self) {}

    /// The time until something is due that the reactor doesn't report, such as a timer. Zero if something is due
    /// now. Called directly before the reactor waits.
    #[inline]
    fn timeout(
        &mut self,
        driver: &Driver<'_, R>,
        slots: &Table<Slot<R::Stream, Self::Exchange>>,
    ) -> Option<Duration> {
        let _ = (driver, slots);
        None
    }

    /// Called when the reactor's wait has ended, before any turn.
    #[inline]
    fn handle_wait(&mut self) {}

    /// Called when the connections with an event have had their turns, and before
    /// [`next_woken`](Self::next_woken).
    #[inline]
    fn begin_wakes(&mut self, now: Instant) {
        let _ = now;
    }

    /// Returns what was woken next.
    #[inline]
    fn next_woken(&mut self, driver: &mut Driver<'_, R>) -> Woken {
        let _ = driver;
        Woken::Nothing
    }

    /// Called for a connection that [`next_woken`](Self::next_woken) has returned. Returns whether it needs a turn.
    #[inline]
    fn take_woken(&mut self, cx: &Context<'_>, slot: &mut Slot<R::Stream, Self::Exchange>) -> bool {
        let _ = (cx, slot);
        false
    }

    /// Whether no task runs beside the connections. A server that stops waits for that.
    #[inline]
    fn is_idle(&self) -> bool {
        true
    }

    /// Closes a connection at once: the deadline for stopping has passed.
    #[inline]
    fn cut_off(&mut self, cx: &mut Context<'_>, connection: &mut Connection) {
        connection.abandon(cx, CloseReason::Stopped);
    }

    /// Drops the tasks that run beside the connections: the deadline for stopping has passed.
    #[inline]
    fn give_up(&mut self) {}

    /// Whether a connection is reset instead of closed.
    #[inline]
    fn wants_reset(&self, connection: &Connection) -> bool {
        let _ = connection;
        false
    }

    /// Drops the state of a connection that is closed for this reason.
    fn close(&mut self, exchange: Self::Exchange, reason: CloseReason);
}

/// What was woken: by a waker, or because another request has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// Nothing more.
    Nothing,
    /// A connection, which gets a turn.
    Connection(Key),
    /// Something else, such as a task. The mode has already run it.
    Other,
}
