//! [`CheckedConnection`]: a connection for tests and fuzzers.

use std::net::SocketAddr;

use super::state::{Reading, Writing};
use super::{Connection, Context, Shared};
use crate::limits::Limits;
use crate::time::Instant;

/// A connection with what its calls need. It checks after each call that the connection can't be
/// forgotten: the next step is the caller's or the handler's, or there is a deadline.
#[derive(Debug)]
pub struct CheckedConnection {
    /// The limits of the server.
    pub limits: Limits,
    /// The state that all connections share.
    pub shared: Shared,
    /// The connection.
    pub connection: Connection,
    /// The time of the next call.
    pub now: Instant,
}

impl CheckedConnection {
    /// A connection that was accepted at this time.
    #[must_use]
    pub fn new(limits: Limits, now: Instant) -> Self {
        Self::with(Shared::new(), limits, now, None)
    }

    /// A connection from this address that begins with a header of the PROXY protocol.
    #[cfg(feature = "proxy-protocol")]
    #[must_use]
    pub fn behind_proxy(limits: Limits, now: Instant, peer: Option<SocketAddr>) -> Self {
        Self::with(Shared::with_proxy_protocol(), limits, now, peer)
    }

    fn with(mut shared: Shared, limits: Limits, now: Instant, peer: Option<SocketAddr>) -> Self {
        let mut cx = Context {
            now,
            limits: &limits,
            shared: &mut shared,
        };
        let connection = Connection::new(1, peer, &mut cx);
        Self {
            limits,
            shared,
            connection,
            now,
        }
    }

    /// The same, where handlers make no tunnels, so that CONNECT is refused.
    #[must_use]
    pub fn without_tunnels(mut self) -> Self {
        self.shared.refuses_connect = true;
        self
    }

    /// Makes a call.
    ///
    /// # Panics
    ///
    /// If nothing would ever happen to the connection after it: a break of the contract of
    /// [`Connection::poll_timeout`].
    pub fn call<T>(&mut self, call: impl FnOnce(&mut Connection, &mut Context<'_>) -> T) -> T {
        let mut cx = Context {
            now: self.now,
            limits: &self.limits,
            shared: &mut self.shared,
        };
        let result = call(&mut self.connection, &mut cx);
        let has_deadline = self.connection.poll_timeout().is_some();
        let state = self.connection.state();
        assert!(has_deadline || self.must_act(), "no deadline in {state:?}");
        result
    }

    /// Whether the caller or its handler has to act next.
    fn must_act(&self) -> bool {
        let state = self.connection.state();
        match state.writing() {
            Writing::Closed => true,
            Writing::Closing => self.connection.pending_output() == 0,
            Writing::Open | Writing::Lingering => {
                let is_responding = matches!(state.reading(), Reading::Responding);
                is_responding || self.connection.is_in_use()
            }
        }
    }
}
