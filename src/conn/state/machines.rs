//! The states of the four small state machines. Their transitions are in `state.rs`.

use crate::conn::CloseReason;

/// How input from the client is treated. `B` is what is known of a request whose body is being gathered. In the
/// state of a connection it is the request itself, so that `Body` can't exist without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading<B = ()> {
    /// A header of the PROXY protocol is awaited, before the first request.
    ProxyHeader,
    /// No byte of the next request has arrived.
    Idle,
    /// A head has begun.
    Head,
    /// The head is complete; its body is being gathered for the handler.
    Body(B),
    /// Where bodies stream: the handler has the head, and gets the body in parts.
    Streaming,
    /// A complete request is with the handler.
    Responding,
    /// Input is of the protocol to which the connection was upgraded.
    Upgraded,
    /// No further request is read; input is dropped.
    Discarding,
    /// The client's stream has ended.
    Ended,
}

/// What may still be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    /// Further responses may follow.
    Open,
    /// The last response is queued.
    Closing,
    /// All output is sent and the writing side is shut down.
    Lingering,
    /// Nothing more is sent or read; the connection is to be closed.
    Closed,
}

/// Whether another request will be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepAlive {
    /// The connection persists (RFC 9112 §9.3).
    Persist,
    /// It closes once the queued output is sent, for this reason.
    Close(CloseReason),
}

/// How far the response to the request with the handler is, where bodies stream. Where they don't, a
/// response is queued in one step, and this stays `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseState {
    /// No request is with the handler.
    None,
    /// The handler has the head of a request, and hasn't responded.
    Awaited,
    /// The head of the response is queued; parts of its body follow.
    Begun,
    /// The connection was upgraded: output is of another protocol.
    Upgraded,
}
