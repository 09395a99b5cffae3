//! The [`Mode`] of the loop: what becomes of the requests.

use std::net::SocketAddr;

use poll_turns::Key;

use super::driver::Driver;
use super::round_robin::Turn;
use super::slot::Slot;
use crate::reactor::Reactor;

/// What becomes of the requests. The loop accepts, reads, writes and closes; its mode feeds the
/// connection's state machine, runs handlers, and passes their responses to the machine.
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

    /// Drops what it has kept for a connection that is closed.
    fn close(&mut self, exchange: Self::Exchange);
}
