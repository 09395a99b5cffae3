//! What a client got, compared with what the handler responded.

use super::drive::{Drive, Exchange};
use super::response::{self, End, Received};
use crate::common::cases::Form;
use crate::common::responses;

/// Checks all that was sent on a connection: one response to each request, in order, as the handler
/// made it; then at most one refusal; nothing else. Returns the status of the refusal.
pub(crate) fn check(drive: &Drive) -> Option<u16> {
    let mut rest = drive.got.as_slice();
    let mut is_last = false;
    for (number, exchange) in drive.exchanges.iter().enumerate() {
        let is_current = number + 1 == drive.exchanges.len();
        if rest.starts_with(b"HTTP/1.1 100 ") {
            let Some((_, after)) = response::read(rest, false) else {
                return check_end(drive, rest);
            };
            rest = after;
        }
        if rest.is_empty() && is_current {
            return None;
        }
        assert!(!is_last, "a response after the last one");
        let Some((received, after)) = response::read(rest, exchange.is_head) else {
            return check_end(drive, rest);
        };
        if exchange.response.is_upgrade {
            check_upgrade(exchange, rest);
            assert!(is_current, "a request after an upgrade");
            return None;
        }
        is_last = check_one(drive, exchange, &received);
        if received.end != End::Complete {
            // The rest of it may not be taken yet.
            let is_pending = drive.checked.connection.pending_output() > 0 || drive.is_cut;
            assert!(after.is_empty(), "bytes after a truncated response");
            assert!(
                is_current || is_pending,
                "a truncated response isn't the last"
            );
            return None;
        }
        rest = after;
    }
    if rest.is_empty() {
        return None;
    }
    // A refusal of the next head, which may be one of HEAD.
    assert!(!is_last, "bytes after the last response");
    let Some((refusal, after)) = response::read(rest, false) else {
        return check_end(drive, rest);
    };
    assert!(after.is_empty(), "bytes after a refusal");
    assert!(refusal.status >= 400 && refusal.says_close, "{refusal:?}");
    Some(refusal.status)
}

/// Only output that wasn't all taken, or was cut off, may end within a head.
fn check_end(drive: &Drive, rest: &[u8]) -> Option<u16> {
    let is_pending = drive.checked.connection.pending_output() > 0;
    assert!(
        rest.is_empty() || is_pending || drive.is_cut,
        "a truncated head"
    );
    None
}

/// Checks a response that upgrades, and what follows it.
fn check_upgrade(exchange: &Exchange, bytes: &[u8]) {
    let read = responses::read_as(bytes, Form::Upgrades);
    let (received, _) = read.expect("a response that upgrades");
    assert_eq!(Some(received.status), exchange.response.status);
    assert!(
        exchange.response.parts.starts_with(&received.body),
        "other bytes than the handler has written"
    );
}

/// Checks the response to one request. Returns whether it must be the last one.
fn check_one(drive: &Drive, exchange: &Exchange, received: &Received) -> bool {
    let given = &exchange.response;
    let is_own = given.status == Some(received.status);
    if !is_own {
        // The server's own: the handler was too late, or passed a fault back.
        assert!(
            received.status >= 400,
            "{}, not {:?}",
            received.status,
            given.status
        );
        assert!(received.says_close && given.status.is_none());
        return true;
    }
    // The server's own response, with its own text.
    if received.status == 500 || received.status == 501 && exchange.is_connect {
        assert!(received.says_close);
        return true;
    }
    if exchange.is_head || [204, 205, 304].contains(&received.status) {
        assert!(received.body.is_empty());
        return received.says_close;
    }
    assert!(given.parts.starts_with(&received.body), "another body");
    let is_open = drive.checked.connection.pending_output() > 0
        || drive.is_cut
        || drive.checked.connection.request_in_progress();
    match received.end {
        End::Complete => {
            assert!(
                given.is_complete || given.length == Some(0),
                "an incomplete response looks complete"
            );
            let sends_trailers = exchange.takes_trailers && given.length.is_none();
            let expected = given.has_trailers && sends_trailers;
            assert_eq!(received.trailers == ["x-sum"], expected, "{received:?}");
        }
        End::UntilClose => assert!(exchange.is_http10 && received.says_close),
        End::Truncated => assert!(
            is_open || !given.is_complete,
            "a complete response looks truncated"
        ),
    }
    if received.end == End::Complete && given.is_complete {
        assert_eq!(
            received.body.len(),
            given.parts.len(),
            "not all of the body"
        );
    }
    if received.end == End::UntilClose && given.is_complete && !is_open {
        assert_eq!(
            received.body.len(),
            given.parts.len(),
            "not all of the body"
        );
    }
    received.says_close || !given.is_complete
}
