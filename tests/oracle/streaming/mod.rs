//! Checks the state machine of a connection whose bodies stream: for any input, in any pieces, and whatever the handler
//! does with the body and the response in the meantime. `fuzz/README.md` lists what must hold.

mod drive;
mod response;
mod same;
mod verdict;

use self::drive::Drive;
use super::choices::Choices;
use super::connection;
use super::drive::Drive as Plain;
use mini_http::Limits;
use std::time::Duration;

pub(crate) fn check(data: &[u8]) {
    let (bytes, mut choices) = Choices::split(data);
    let flags = choices.next();
    let limits = limits(&mut choices);
    if flags & 1 == 0 {
        return same::check(bytes, &limits, choices, flags & 2 != 0);
    }
    let plain = plain(bytes, &limits, false);
    let refused = [&plain, &self::plain(bytes, &limits, true)].map(|plain| status(bytes, plain));
    let mut drive = Drive::new(limits.clone());
    while !choices.is_empty() && drive.closed.is_none() {
        drive.step(bytes, &mut choices);
    }
    let check = |drive: &Drive| {
        drive.check(bytes, &plain.seen);
        if let Some(status) = verdict::check(drive) {
            drive.check_refusal(bytes, status, plain.seen.len(), &refused);
        }
    };
    check(&drive);
    if flags & 4 == 0 {
        drive.finish(bytes, flags & 8 != 0);
        check(&drive);
    }
    // With the minimum rate disabled, a client may send and take nothing without end.
    if limits.min_rate > 0 {
        drive.silence(flags & 16 == 0);
    }
    check(&drive);
}

/// Small limits and large ones.
fn limits(choices: &mut Choices<'_>) -> Limits {
    let mut limits = connection::limits(choices);
    let kind = choices.next();
    if kind & 1 != 0 {
        limits.handler_timeout = Some(Duration::from_secs(choices.one_of(&[20, 1, 70])));
    }
    if kind & 2 != 0 {
        limits.half_closed_timeout = Duration::from_secs(choices.one_of(&[3, 1, 100]));
    }
    limits
}

/// The requests in the same bytes where bodies are collected, whatever their length.
fn plain(bytes: &[u8], limits: &Limits, ends: bool) -> Plain {
    let mut limits = limits.clone();
    limits.max_body = u64::MAX;
    connection::plain(bytes, &limits, 0, ends)
}

/// The status with which the bytes after the requests are refused.
fn status(bytes: &[u8], plain: &Plain) -> Option<u16> {
    let is_head = connection::is_next_head(bytes, bytes.len(), &plain.seen);
    super::verdict::check(plain, is_head).1
}
