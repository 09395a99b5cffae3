//! Why a connection ends.

/// Why a connection was closed: decided where the cause is seen, logged with the connection's
/// number, and counted in [`Counters`](crate::Counters).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The client ended its stream between two requests.
    ClientClosed,
    /// The client said `Connection: close`.
    ClientAskedClose,
    /// An HTTP/1.0 client that did not ask for a persistent connection.
    Http10,
    /// The handler's response said `Connection: close`.
    HandlerAskedClose,
    /// The handler panicked, or gave no final answer; the request got 500.
    HandlerFailed,
    /// The request was malformed or asked for what this server does not do.
    BadRequest,
    /// The client's stream ended within a request.
    IncompleteRequest,
    /// The request's head or body is larger than the limits.
    TooLarge,
    /// The head did not arrive in time.
    HeadTimeout,
    /// The body arrived too slowly.
    BodyTimeout,
    /// The client took its answer too slowly.
    WriteTimeout,
    /// Nothing came for the idle time.
    IdleTimeout,
    /// The bytes held for all connections had reached their limit.
    Overloaded,
    /// Closed for a newcomer at the limit of connections, as the longest idle.
    Evicted,
    /// The server was stopped.
    Stopped,
    /// A read or write failed: mostly a reset by the client.
    IoError,
}

impl CloseReason {
    /// Every reason.
    pub const ALL: &'static [Self] = &[
        Self::ClientClosed,
        Self::ClientAskedClose,
        Self::Http10,
        Self::HandlerAskedClose,
        Self::HandlerFailed,
        Self::BadRequest,
        Self::IncompleteRequest,
        Self::TooLarge,
        Self::HeadTimeout,
        Self::BodyTimeout,
        Self::WriteTimeout,
        Self::IdleTimeout,
        Self::Overloaded,
        Self::Evicted,
        Self::Stopped,
        Self::IoError,
    ];

    /// The reason's place in [`ALL`](Self::ALL).
    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    /// Whether a request was refused.
    #[must_use]
    pub const fn is_refusal(self) -> bool {
        match self {
            Self::BadRequest
            | Self::IncompleteRequest
            | Self::TooLarge
            | Self::HeadTimeout
            | Self::BodyTimeout
            | Self::Overloaded => true,
            Self::ClientClosed
            | Self::ClientAskedClose
            | Self::Http10
            | Self::HandlerAskedClose
            | Self::HandlerFailed
            | Self::WriteTimeout
            | Self::IdleTimeout
            | Self::Evicted
            | Self::Stopped
            | Self::IoError => false,
        }
    }

    /// The reason in words, as the log says it.
    #[must_use]
    pub const fn explain(self) -> &'static str {
        match self {
            Self::ClientClosed => "the client ended its stream",
            Self::ClientAskedClose => "the client asked to close",
            Self::Http10 => "HTTP/1.0 without keep-alive",
            Self::HandlerAskedClose => "the handler asked to close",
            Self::HandlerFailed => "the handler failed",
            Self::BadRequest => "bad request",
            Self::IncompleteRequest => "the client's stream ended within a request",
            Self::TooLarge => "the request is larger than the limits",
            Self::HeadTimeout => "the head did not arrive in time",
            Self::BodyTimeout => "the body arrived too slowly",
            Self::WriteTimeout => "the client took the answer too slowly",
            Self::IdleTimeout => "idle for too long",
            Self::Overloaded => "the memory limit of all connections was reached",
            Self::Evicted => "idle for longest when a newcomer came at the limit of connections",
            Self::Stopped => "the server was stopped",
            Self::IoError => "the connection failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_stands_at_its_index() {
        for (place, reason) in CloseReason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), place);
        }
    }
}
