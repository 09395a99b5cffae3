//! Why a connection was closed.

/// Why a connection was closed. Each close has one reason; it is logged with the connection's number
/// and counted in [`Counters`](crate::Counters).
///
/// Some closes are planned: they follow the last response, which says `Connection: close`, or the end of
/// the client's stream. If a planned close fails, the failure is the reason. So a client that asks to close
/// and then doesn't take its response is counted under [`WriteTimeout`](Self::WriteTimeout), and one that
/// resets the connection before it has the response under [`IoError`](Self::IoError). Once the system has
/// taken all output, the planned reason is final. A request that was refused is counted as refused, even
/// if the response to it could not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The client ended its stream between two requests.
    ClientClosed,
    /// The client sent `Connection: close` (RFC 9112 §9.6).
    ClientAskedClose,
    /// An HTTP/1.0 client did not ask for a persistent connection (RFC 9112 §9.3).
    ///
    /// Or the length of its response was not known: then the end of the connection is the end of the
    /// response (RFC 9112 §6.3).
    Http10,
    /// The handler's response has `Connection: close`, or it is one to CONNECT that makes no tunnel.
    HandlerAskedClose,
    /// The handler panicked or failed, or returned an interim status (1xx). The client got 500.
    HandlerFailed,
    /// The request was malformed (400), or asked for something this server does not implement
    /// (417, 501, 505).
    BadRequest,
    /// The client's stream ended within a request (400).
    IncompleteRequest,
    /// The request's head or body exceeds the limits (413, 414, 431).
    TooLarge,
    /// The head took longer than [`head_timeout`](crate::Limits::head_timeout) (408).
    HeadTimeout,
    /// The body arrived more slowly than [`min_rate`](crate::Limits::min_rate) (408).
    BodyTimeout,
    /// The client took its responses more slowly than [`min_rate`](crate::Limits::min_rate). On an
    /// [upgraded](crate::upgrade()) connection: it took nothing for [`rate_window`](crate::Limits::rate_window).
    WriteTimeout,
    /// No request came within [`idle_timeout`](crate::Limits::idle_timeout).
    IdleTimeout,
    /// The memory held for all connections had reached [`max_held`](crate::Limits::max_held) (503).
    Overloaded,
    /// It was the longest idle connection when a new one came at
    /// [`max_connections`](crate::Limits::max_connections).
    Evicted,
    /// The server was stopped.
    Stopped,
    /// The server ended with the connection open: [`start`](crate::Server::start) returned an error, or
    /// passed on a panic of the handler.
    ServerFailed,
    /// A read or write failed while no request was with the handler; usually the client reset the connection. On an
    /// [upgraded](crate::upgrade()) connection: the program had dropped it, but not all of its output was sent.
    IoError,
    /// A response was not completed: its body failed, or had more or fewer bytes than it had
    /// announced.
    ResponseFailed,
    /// The client was gone, by a reset or a failed read or write: before its request had its complete
    /// response from the handler, or while the program used its [upgraded](crate::upgrade()) connection.
    ClientGone,
    /// The client had ended its stream, and its response was not complete within
    /// [`half_closed_timeout`](crate::Limits::half_closed_timeout).
    HalfClosedTimeout,
    /// The handler had no response within [`handler_timeout`](crate::Limits::handler_timeout) (503).
    HandlerTimeout,
    /// The handler left more of the request's body unread than is worth receiving.
    BodyUnread,
    /// The connection was [upgraded](crate::upgrade()) to another protocol, and has ended normally: both sides have
    /// ended their streams, or the program has dropped it and all of its output was sent.
    Upgraded,
    /// The connection did not begin with a valid header of the PROXY protocol. There was no response.
    BadProxyHeader,
    /// The header of the PROXY protocol took longer than
    /// [`proxy_header_timeout`](crate::Limits::proxy_header_timeout).
    ProxyHeaderTimeout,
}

impl CloseReason {
    /// Every reason, in the order of declaration.
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
        Self::ServerFailed,
        Self::IoError,
        Self::ResponseFailed,
        Self::ClientGone,
        Self::HalfClosedTimeout,
        Self::HandlerTimeout,
        Self::BodyUnread,
        Self::Upgraded,
        Self::BadProxyHeader,
        Self::ProxyHeaderTimeout,
    ];

    /// The reason's index in [`ALL`](Self::ALL).
    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    /// Whether the close is part of an orderly exchange: it was to follow the last response, and nothing had
    /// failed. The reason of a later failure replaces this one.
    pub(crate) const fn is_planned(self) -> bool {
        matches!(
            self,
            Self::ClientClosed
                | Self::ClientAskedClose
                | Self::Http10
                | Self::HandlerAskedClose
                | Self::Stopped
                | Self::BodyUnread
                | Self::Upgraded
        )
    }

    /// Whether the connection was closed because a request was refused; see [`Refusal`](crate::Refusal).
    ///
    /// `false` for [`HandlerFailed`](Self::HandlerFailed), because nothing was wrong with the request, and for
    /// [`Stopped`](Self::Stopped), which closes connections with and without a request. Also for
    /// [`BadProxyHeader`](Self::BadProxyHeader): no request was read.
    #[must_use]
    pub const fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::BadRequest
                | Self::IncompleteRequest
                | Self::TooLarge
                | Self::HeadTimeout
                | Self::BodyTimeout
                | Self::Overloaded
                | Self::HandlerTimeout
        )
    }

    /// The reason in words, as in the log.
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
            Self::WriteTimeout => "the client took the response too slowly",
            Self::IdleTimeout => "idle for too long",
            Self::Overloaded => "the memory limit of all connections was reached",
            Self::Evicted => {
                "the longest idle one at the connection limit, closed for a new connection"
            }
            Self::Stopped => "the server was stopped",
            Self::ServerFailed => "the server failed",
            Self::IoError => "the connection failed",
            Self::ResponseFailed => {
                "the response's body failed, or had another length than announced"
            }
            Self::ClientGone => {
                "the client was gone before its request or upgraded connection had ended"
            }
            Self::HalfClosedTimeout => {
                "the client had ended its stream, and the response took too long"
            }
            Self::HandlerTimeout => "the handler did not respond in time",
            Self::BodyUnread => "the handler left too much of the body unread",
            Self::Upgraded => "upgraded to another protocol, which has ended",
            Self::BadProxyHeader => "there was no valid PROXY header",
            Self::ProxyHeaderTimeout => "the PROXY header did not arrive in time",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_at_its_index() {
        for (index, reason) in CloseReason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), index);
        }
    }
}
