//! What the loop reports about requests that are observed: handler calls, writes and closes, with the time.

use super::driver::Driver;
use crate::conn::{Connection, Context, Seen};
use crate::reactor::Reactor;

impl<R: Reactor> Driver<'_, R> {
    /// Whether requests are observed.
    #[inline]
    pub(super) fn is_watched(&self) -> bool {
        self.cx.shared.watch.is_some()
    }

    /// Reports something, with the current time of the clock.
    #[inline]
    pub(super) fn report(&mut self, connection: &mut Connection, seen: Seen<'_>) {
        report(&self.reactor, &mut self.cx, connection, seen);
    }
}

/// Reports something, with the current time of the clock.
#[cold]
#[inline(never)]
pub(super) fn report<R: Reactor>(
    reactor: &R,
    cx: &mut Context<'_>,
    connection: &mut Connection,
    seen: Seen<'_>,
) {
    connection.report(cx.shared, reactor.now(), seen);
}
