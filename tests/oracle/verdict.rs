//! Checks what a client has received against the requests that the handler saw and the responses that it made.

use super::drive::{Drive, Seen};
use super::handler::Given;
use super::request::elements;
use crate::common::responses::{self, Response};
use mini_http::CloseReason;

/// Checks everything that was sent on a connection: one response to each request, in order, as the handler
/// made it; then at most one refusal; nothing else. `refused_head` says whether the request after
/// the last one seen is a HEAD.
///
/// Returns the number of bytes before the refusal, and its status.
pub(crate) fn check(drive: &Drive, refused_head: bool) -> (usize, Option<u16>) {
    let length = drive.got.len();
    let mut rest = drive.got.as_slice();
    let mut has_closed = false;
    let mut is_refused = false;
    for (seen, given) in drive.seen.iter().zip(&drive.given) {
        assert!(!has_closed, "a response after one that says close");
        let is_head = seen.method == "HEAD";
        if expects_continue(seen) {
            let Some((interim, after)) = read(drive, rest, false) else {
                return (length - rest.len(), None);
            };
            assert_eq!((interim.status, interim.fields.len()), (100, 0));
            rest = after;
        }
        let Some((response, after)) = read(drive, rest, is_head) else {
            return (length - rest.len(), None);
        };
        rest = after;
        if response.status == 503 && given.status != 503 && drive.is_short_of_memory() {
            // A large response is sent only if there is room for it.
            assert!(given.body.len() > 16 << 10 && response.says_close());
            is_refused = true;
        } else {
            check_response(&response, seen, given);
        }
        has_closed = response.says_close();
        if given.closes() || !persists(seen) {
            assert!(has_closed, "closes, but doesn't say close");
        }
        if has_closed {
            assert!(drive.close_reason().is_some(), "says close, but stays open");
        }
    }
    if !rest.is_empty() && rest.starts_with(b"HTTP/1.1 100 ") {
        let Some((interim, after)) = read(drive, rest, false) else {
            return (length - rest.len(), None);
        };
        assert!(interim.fields.is_empty());
        rest = after;
    }
    let refusal = refusal(drive, rest, refused_head);
    let is_last = refusal.is_none() || !has_closed;
    assert!(is_last, "a refusal after a response that says close");
    if refusal.is_some() || !is_refused {
        check_end(drive, refusal.is_some(), has_closed);
    }
    (length - rest.len(), refusal)
}

/// Reads a response. If the connection was closed early, the last one may be incomplete.
fn read<'a>(drive: &Drive, bytes: &'a [u8], is_head: bool) -> Option<(Response, &'a [u8])> {
    match responses::read(bytes, is_head) {
        Ok(read) => Some(read),
        Err(_) if is_unfinished(drive) => None,
        Err(problem) => panic!("{problem}"),
    }
}

fn is_unfinished(drive: &Drive) -> bool {
    drive.is_cut || drive.pending_output() > 0
}

fn expects_continue(seen: &Seen) -> bool {
    // `000` is a length of 0, too.
    let is_zero = |value: &[u8]| value.iter().all(|digit| *digit == b'0');
    let has_length = seen.values("content-length").any(|value| !is_zero(value));
    let has_body = has_length || seen.values("transfer-encoding").next().is_some();
    has_body && !seen.is_http10 && seen.values("expect").next().is_some()
}

fn persists(seen: &Seen) -> bool {
    let says = |option: &[u8]| {
        let lists = seen.values("connection");
        lists
            .flat_map(elements)
            .any(|one| one.trim_ascii().eq_ignore_ascii_case(option))
    };
    !says(b"close") && (!seen.is_http10 || says(b"keep-alive"))
}

fn check_response(response: &Response, seen: &Seen, given: &Given) {
    let is_head = seen.method == "HEAD";
    if given.fails() {
        assert_eq!(response.status, 500);
        assert!(response.says_close());
        return;
    }
    assert_eq!(response.status, given.status);
    let has_body = !is_head && ![204, 205, 304].contains(&given.status);
    let body: &[u8] = if has_body { &given.body } else { b"" };
    assert!(response.body == body, "another body");
    let own = [
        "connection",
        "content-length",
        "transfer-encoding",
        "trailer",
    ];
    for (name, value) in given.fields.iter().filter(|(name, _)| !own.contains(name)) {
        let mut values = response.values(name);
        assert!(
            values.any(|other| other == value.as_bytes()),
            "{name} is lost"
        );
    }
    if is_head && ![204, 205, 304].contains(&given.status) {
        let length = match given
            .fields
            .iter()
            .find(|(name, _)| *name == "content-length")
        {
            Some((_, length)) if given.body.is_empty() => (*length).to_owned(),
            _ => given.body.len().to_string(),
        };
        assert!(response.values("content-length").eq([length.as_bytes()]));
    }
    let keeps = response.values("connection").any(|list| {
        list.split(|byte| *byte == b',')
            .any(|one| one.trim_ascii() == b"keep-alive")
    });
    assert_eq!(keeps, seen.is_http10 && !response.says_close());
}

/// The status of the response to a request that the handler didn't see.
fn refusal(drive: &Drive, bytes: &[u8], is_head: bool) -> Option<u16> {
    if bytes.is_empty() {
        return None;
    }
    let (response, after) = read(drive, bytes, is_head)?;
    assert!(after.is_empty(), "bytes after a refusal");
    let known = [400, 408, 413, 414, 417, 431, 501, 503, 505];
    assert!(
        known.contains(&response.status),
        "refused with {}",
        response.status
    );
    assert!(response.says_close(), "a refusal that doesn't say close");
    Some(response.status)
}

fn check_end(drive: &Drive, has_refusal: bool, says_close: bool) {
    let Some(reason) = drive.close_reason() else {
        assert!(
            !has_refusal && !says_close,
            "a last response, but no reason to close"
        );
        return;
    };
    if has_refusal {
        assert!(
            reason.is_refusal() || reason == CloseReason::Stopped,
            "refused for {reason:?}"
        );
    } else if !is_unfinished(drive) {
        assert!(!reason.is_refusal(), "{reason:?} without a response");
    }
    let must_say = matches!(
        reason,
        CloseReason::ClientAskedClose
            | CloseReason::Http10
            | CloseReason::HandlerAskedClose
            | CloseReason::HandlerFailed
    );
    if must_say && !is_unfinished(drive) {
        assert!(says_close, "{reason:?}, but no response says close");
    }
}
