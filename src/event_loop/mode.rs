//! The [`Mode`] of the loop: what becomes of the requests.

use std::net::SocketAddr;
use std::time::Duration;

use poll_turns::{Key, Table};

use super::driver::Driver;
use super::round_robin::Turn;
use super::slot::Slot;
use crate::conn::{CloseReason, Connection, Context};
use crate::reactor::Reactor;

/// What becomes of the requests. The loop accepts, reads, writes and closes; its mode feeds the
/// connection's state machine, runs handlers, and passes their responses to the machine.
///
/// Most methods have a body for modes in which nothing goes on between two calls of the handler. They are
/// inlined: such a mode doesn't pay for the others.
pub(super) trait Mode<R: Reactor> {
    /// What the mode keeps for each connection.
    type Exchange;

    /// Makes what it keeps for a connection that was just accepted.
    fn open(&mut self, key: Key, peer: Option<SocketAddr>) -> Self::Exchange;

    /// Feeds the first `length` bytes of the driver's buffer to the connection. Without any, it goes on with
    /// the kept input.
    fn handle_input(
        &mut self,
        driver: &mut Driver<'_, R>,
        slot: &mut Slot<R::Stream, Self::Exchange>,
        length: usize,
        turn: &mut Turn,
    );

    /// The client has ended its stream.
    #[inline]
    fn handle_end_of_input(
        &mut self,
        driver: &mut Driver<'_, R>,
        slot: &mut Slot<R::Stream, Self::Exchange>,
    ) {
        slot.connection.handle_end_of_input(&mut driver.cx);
    }

    /// Whether the connection is to be read.
    #[inline]
    fn wants_input(&self, cx: &Context<'_>, slot: &Slot<R::Stream, Self::Exchange>) -> bool {
        slot.connection.wants_input(cx)
    }

    /// How much is read at once, if the buffer is this long.
    #[inline]
    fn read_limit(&self, cx: &Context<'_>, connection: &Connection, buffer: usize) -> usize {
        let _ = (cx, connection);
        buffer
    }

    /// Whether the connection may receive a request now. If not, the mode sees to it that it gets a turn when
    /// it may.
    #[inline]
    fn may_receive(
        &mut self,
        cx: &Context<'_>,
        slot: &mut Slot<R::Stream, Self::Exchange>,
    ) -> bool {
        let _ = (cx, slot);
        true
    }

    /// Whether the connection waits until it may receive a request. Then it isn't read, and no deadline ends it.
    #[inline]
    fn is_held_back(&self, exchange: &Self::Exchange) -> bool {
        let _ = exchange;
        false
    }

    /// Whether a request can go on without input.
    #[inline]
    fn can_advance(&self, cx: &Context<'_>, slot: &Slot<R::Stream, Self::Exchange>) -> bool {
        let _ = (cx, slot);
        false
    }

    /// Lets the request go on.
    #[inline]
    fn advance(
        &mut self,
        driver: &mut Driver<'_, R>,
        slot: &mut Slot<R::Stream, Self::Exchange>,
        turn: &mut Turn,
    ) {
        let _ = (driver, slot, turn);
    }

    /// The time until something happens that the reactor doesn't report; zero if there is something to do.
    /// Called directly before the reactor waits.
    #[inline]
    fn timeout(
        &mut self,
        driver: &Driver<'_, R>,
        slots: &Table<Slot<R::Stream, Self::Exchange>>,
    ) -> Option<Duration> {
        let _ = (driver, slots);
        None
    }

    /// The reactor's wait has ended.
    #[inline]
    fn handle_wait(&mut self, driver: &Driver<'_, R>) {
        let _ = driver;
    }

    /// What was woken next.
    #[inline]
    fn next_woken(&mut self, driver: &mut Driver<'_, R>) -> Woken {
        let _ = driver;
        Woken::Nothing
    }

    /// Takes a connection's wake-up. Returns whether it needs a turn.
    #[inline]
    fn take_woken(&mut self, cx: &Context<'_>, slot: &mut Slot<R::Stream, Self::Exchange>) -> bool {
        let _ = (cx, slot);
        false
    }

    /// Whether nothing goes on beside the connections.
    #[inline]
    fn is_idle(&self) -> bool {
        true
    }

    /// The time to stop is over: the connection is closed at once.
    #[inline]
    fn cut_off(&mut self, cx: &mut Context<'_>, connection: &mut Connection) {
        connection.abandon(cx, CloseReason::Stopped);
    }

    /// The time to stop is over: drops what goes on beside the connections.
    #[inline]
    fn give_up(&mut self) {}

    /// Whether a connection is to be reset instead of closed.
    #[inline]
    fn wants_reset(&self, connection: &Connection) -> bool {
        let _ = connection;
        false
    }

    /// Drops what it has kept for a connection that is closed.
    fn close(&mut self, exchange: Self::Exchange);
}

/// What was woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// Nothing more.
    Nothing,
    /// A connection, which gets a turn.
    Connection(Key),
    /// Something else, which the mode has seen to.
    Other,
}
