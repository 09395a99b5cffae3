//! What a client may cost: every bound in bytes, in number and in time, with its default.

use std::time::Duration;

use poll_turns::Key;

use crate::error::{Error, ErrorKind, Result};

/// The bounds that keep one client from hurting the process or the other clients.
///
/// All are on by default. Set them with [`Server::limits`](crate::Server::limits):
///
/// ```no_run
/// # fn main() -> mini_http::Result<()> {
/// let mut server = mini_http::Server::new("127.0.0.1:3000")?;
/// server.limits(|limits| limits.max_body = 1 << 20);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of a request's head: request line, fields and the empty line. Default 64 KiB; more
    /// gets 431 (RFC 6585 §5).
    pub max_head: usize,
    /// Bytes of a request line without its CRLF. Default 8 KiB, which RFC 9112 §3 asks for at
    /// least; more gets 414.
    pub max_request_line: usize,
    /// Field lines of a request's head, and of its trailer section. Default 100, at most
    /// [`MAX_FIELDS`](Self::MAX_FIELDS); more gets 431.
    pub max_fields: usize,
    /// Bytes of a request's body. Default 16 MiB; more gets 413: at once when `Content-Length`
    /// announces it, in place of `100 Continue` too. Goes together with
    /// [`max_held`](Self::max_held), which all bodies share: one that is larger than that gets 503.
    pub max_body: u64,
    /// Bytes of all chunk extensions of a body (RFC 9112 §7.1.1). Default 4 KiB; more gets 400.
    pub max_chunk_extensions: usize,
    /// Bytes of a trailer section (RFC 9112 §7.1.2). Default 8 KiB; more gets 431.
    pub max_trailers: usize,
    /// Bytes of answers waiting to be sent on a connection, after which no further request of it
    /// is read or handled until the client has taken some. Default 64 KiB. One answer may be
    /// larger.
    pub max_pending_output: usize,
    /// Connections accepted before the others get their turn. Default 64.
    pub accepts_per_turn: usize,
    /// Open connections. Default 10,000. At the limit the longest idle connection is closed for a
    /// newcomer; when none is idle, newcomers wait in the listener's backlog.
    ///
    /// On WASI 0.2 the socket of a closed connection may linger; see
    /// [`Counters::lingering`](crate::Counters::lingering). Those that do take none of these places, but
    /// there are never more open and lingering sockets together than twice this many, and two.
    pub max_connections: usize,
    /// Bytes held for all connections together: unfinished heads and bodies, and answers waiting
    /// to be sent. Default 256 MiB, and 64 MiB on WASI. What would go over it gets 503 and is
    /// closed: a body that comes, and an answer of more than 16 KiB (unless it is static or shared, or
    /// nothing else is held). Smaller answers are made all the same, but for each connection one
    /// at a time.
    ///
    /// Set it to several times [`max_body`](Self::max_body). A body without `Content-Length` can take
    /// up to four times what has come of it, within `max_body`.
    ///
    /// An answer of [`Bytes`](crate::Bytes) is counted when it isn't shared: when the handler keeps no
    /// clone of it. That is looked at when it is made, and again in each
    /// [`rate_window`](Self::rate_window). What a handler holds itself is never counted.
    pub max_held: usize,
    /// The time a head may take from its first byte. Default 30 s; then 408.
    pub head_timeout: Duration,
    /// The time a connection may be idle: before its first request, or between two. Default 75 s;
    /// then it is closed.
    pub idle_timeout: Duration,
    /// The least average rate, in bytes a second, at which a body must arrive and an answer be
    /// taken. Default 500. Measured over each [`rate_window`](Self::rate_window). While more than half
    /// of [`max_held`](Self::max_held) is held, a body or answers that hold much of it have to be
    /// faster: by at least a twelfth of that in a window. 0 turns both off: then a body that never
    /// comes is waited for for ever, and keeps its memory.
    pub min_rate: u32,
    /// The time over which the rate is measured, and so the grace at the start of a body or an
    /// answer. Default 10 s. A body that is too slow gets 408; an answer that is not taken is cut.
    pub rate_window: Duration,
    /// The time for which input is still read and dropped after a last answer, so that a client
    /// that is sending sees the answer and not a reset (RFC 9112 §9.6). Default 10 s.
    pub linger_timeout: Duration,
    /// The bytes that are read and dropped in that time. Default 64 MiB.
    pub max_linger: u64,
}

impl Limits {
    /// The most that [`max_fields`](Self::max_fields) can be set to.
    pub const MAX_FIELDS: usize = 512;

    /// The most that [`max_request_line`](Self::max_request_line) can be set to.
    pub const MAX_REQUEST_LINE: usize = 65_534;

    /// Refuses settings that would make a server that can't work.
    pub(crate) fn check(&self) -> Result<()> {
        let positive: [(&str, bool); 12] = [
            ("max_head", self.max_head > 0),
            ("max_request_line", self.max_request_line > 0),
            ("max_fields", self.max_fields > 0),
            ("max_pending_output", self.max_pending_output > 0),
            ("accepts_per_turn", self.accepts_per_turn > 0),
            ("max_connections", self.max_connections > 0),
            ("max_held", self.max_held > 0),
            ("head_timeout", !self.head_timeout.is_zero()),
            ("idle_timeout", !self.idle_timeout.is_zero()),
            ("rate_window", !self.rate_window.is_zero()),
            ("linger_timeout", !self.linger_timeout.is_zero()),
            ("max_linger", self.max_linger > 0),
        ];
        for (name, is_positive) in positive {
            if !is_positive {
                return Err(setting(format!(
                    "the limit {name} is 0: set it to at least 1"
                )));
            }
        }
        if self.max_fields > Self::MAX_FIELDS {
            let (set, most) = (self.max_fields, Self::MAX_FIELDS);
            return Err(setting(format!(
                "the limit max_fields is {set}: set it to at most {most}"
            )));
        }
        // `http::Uri` takes no more; and heads are counted in 32 bits.
        let upper = [
            (
                "max_request_line",
                self.max_request_line,
                Self::MAX_REQUEST_LINE,
            ),
            ("max_head", self.max_head, 1 << 30),
        ];
        for (name, set, most) in upper {
            if set > most {
                return Err(setting(format!(
                    "the limit {name} is {set}: set it to at most {most}"
                )));
            }
        }
        if self.max_connections > Key::MAX_SLOTS {
            let (set, most) = (self.max_connections, Key::MAX_SLOTS);
            return Err(setting(format!(
                "the limit max_connections is {set}: this machine can tell at most {most} apart"
            )));
        }
        Ok(())
    }
}

fn setting(message: String) -> Error {
    Error::new(ErrorKind::Setting, message)
}

impl Default for Limits {
    fn default() -> Self {
        let mib = 1 << 20;
        Self {
            max_head: 64 << 10,
            max_request_line: 8 << 10,
            max_fields: 100,
            max_body: 16 << 20,
            max_chunk_extensions: 4 << 10,
            max_trailers: 8 << 10,
            max_pending_output: 64 << 10,
            accepts_per_turn: 64,
            max_connections: 10_000,
            max_held: if cfg!(target_os = "wasi") {
                64 * mib
            } else {
                256 * mib
            },
            head_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            min_rate: 500,
            rate_window: Duration::from_secs(10),
            linger_timeout: Duration::from_secs(10),
            max_linger: 64 << 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_in_range() {
        assert!(Limits::default().check().is_ok());
    }

    #[test]
    fn a_limit_of_zero_is_named_in_the_error() {
        let limits = Limits {
            max_head: 0,
            ..Limits::default()
        };
        let error = limits.check().expect_err("0 bytes of head");
        assert_eq!(error.kind(), ErrorKind::Setting);
        assert!(error.to_string().contains("max_head"), "{error}");
    }

    #[test]
    fn max_fields_has_an_upper_bound() {
        let limits = Limits {
            max_fields: Limits::MAX_FIELDS + 1,
            ..Limits::default()
        };
        assert!(limits.check().is_err());
    }
}
