//! Checks the connection's state machine: for any input, in any pieces, at any pace of the client, and with other
//! events in between. `fuzz/README.md` lists what must hold.

use super::choices::Choices;
use super::drive::{Drive, Seen};
use super::handler::Given;
use super::request::{Body, Head, Read, read_head};
use super::{chunked, verdict};
use mini_http::Limits;
use std::time::Duration;

pub(crate) fn check(data: &[u8]) {
    let (bytes, mut choices) = Choices::split(data);
    let limits = limits(&mut choices);
    let handler = choices.next();
    let flags = choices.next();
    let ends = flags & 1 != 0;

    let plain = plain(bytes, &limits, handler, ends);
    let is_head = is_next_head(bytes, bytes.len(), &plain.seen);
    let (sent, status) = verdict::check(&plain, is_head);
    compare(&plain, status, &Expected::new(bytes, &limits, handler));

    let may_differ = limits.max_held != Limits::default().max_held;
    let mut drive = Drive::new(limits.clone(), handler);
    let mut may_differ = script(&mut drive, bytes, &mut choices, flags & 8 != 0) || may_differ;
    // Handle the rest of the input, or end in the middle.
    if flags & 4 == 0 {
        finish(&mut drive, bytes, ends);
    } else {
        may_differ = true;
    }
    let (drive_sent, drive_status) = check_beside(&drive, &plain, bytes);
    if !may_differ {
        let (count, all) = (drive.seen.len(), plain.seen.len());
        assert_eq!(count, all, "fewer requests than in one piece");
        assert_eq!(drive.close_reason(), plain.close_reason());
        assert_eq!(drive.is_shut, plain.is_shut);
        // The text of a refusal may depend on where the input was cut. Everything else may not.
        assert!(
            drive.got[..drive_sent] == plain.got[..sent],
            "other responses"
        );
        assert_eq!(drive_status, status);
    }
    // With the minimum rate disabled, a client may stay silent without end.
    if limits.min_rate > 0 {
        drive.silence(flags & 2 == 0);
    }
    check_beside(&drive, &plain, bytes);
}

/// Compares a run with the one in one piece: as far as it went, it must have the same requests, with their responses.
fn check_beside(drive: &Drive, plain: &Drive, bytes: &[u8]) -> (usize, Option<u16>) {
    let count = drive.seen.len();
    assert!(count <= plain.seen.len(), "more requests than in one piece");
    let seen = &plain.seen[..count];
    let are_same = drive
        .seen
        .iter()
        .zip(seen)
        .all(|(one, other)| one.is_same(other));
    assert!(are_same, "other requests than in one piece");
    // The next request may be refused before its method has arrived.
    verdict::check(drive, is_next_head(bytes, drive.fed, seen))
}

/// Small limits and large ones.
pub(crate) fn limits(choices: &mut Choices<'_>) -> Limits {
    let mut limits = Limits::default();
    let kind = choices.next();
    if kind & 1 != 0 {
        limits.max_pending_output = choices.one_of(&[300, 1, 70]);
    }
    if kind & 2 != 0 {
        limits.max_held = choices.one_of(&[1 << 20, 0, 50, 400, 70_000]);
    }
    if kind & 4 != 0 {
        // Not so small that HEAD can't be read.
        limits.max_head = choices.one_of(&[300, 10, 60]);
        limits.max_request_line = choices.one_of(&[100, 5, 20]);
        limits.max_fields = choices.one_of(&[100, 1, 2]);
    }
    if kind & 8 != 0 {
        limits.max_body = choices.one_of(&[100, 0, 5]);
        limits.max_chunk_extensions = choices.one_of(&[100, 0, 5]);
        limits.max_trailers = choices.one_of(&[100, 0, 10]);
    }
    if kind & 16 != 0 {
        limits.max_linger = choices.one_of(&[100, 1, 10]);
    }
    if kind & 32 != 0 {
        limits.min_rate = choices.one_of(&[500, 0, 1, 1_000_000]);
        limits.rate_window = Duration::from_millis(choices.one_of(&[10_000, 1, 999]));
    }
    limits
}

/// The run that the other is compared with: the same bytes in one piece, all output taken at once, no time that passes,
/// unlimited memory.
pub(crate) fn plain(bytes: &[u8], limits: &Limits, handler: u8, ends: bool) -> Drive {
    let mut limits = limits.clone();
    limits.max_held = usize::MAX;
    limits.max_pending_output = usize::MAX;
    let mut drive = Drive::new(limits, handler);
    drive.read(bytes, usize::MAX);
    drive.drain();
    if ends && drive.wants_input() {
        drive.end();
        drive.drain();
    }
    drive
}

/// Runs the choices: in which pieces the bytes come, and what happens between them. Returns whether
/// something has happened after which fewer requests may be handled.
fn script(drive: &mut Drive, bytes: &[u8], choices: &mut Choices<'_>, is_disturbed: bool) -> bool {
    let mut may_differ = false;
    while !choices.is_empty() && drive.closed.is_none() {
        let choice = choices.next();
        let amount = usize::from(choice >> 3);
        let can_read = drive.wants_input();
        let read = |drive: &mut Drive, count: usize, requests: usize| {
            let left = &bytes[drive.read..];
            if can_read && !left.is_empty() {
                drive.read(&left[..count.min(left.len())], requests);
            }
        };
        match choice & 7 {
            0 => read(drive, amount + 1, usize::MAX),
            1 => read(drive, 16 * (amount + 1), usize::MAX),
            2 => read(drive, 8 * (amount + 1), 1),
            3 => {
                drive.write(amount);
            }
            4 => {
                drive.write(1 << amount);
            }
            5 | 6 if is_disturbed => {
                disturb(drive, choice);
                may_differ = true;
            }
            5 => drive.go_on(1),
            _ => drive.go_on(usize::MAX),
        }
        drive.write(0);
    }
    may_differ
}

/// Causes an event other than reading or writing.
fn disturb(drive: &mut Drive, choice: u8) {
    let amount = choice >> 3;
    match (choice & 7, amount) {
        (5, 0) => drive.pass_deadline(),
        (5, _) => drive.pass(Duration::from_millis(1 << (amount % 18))),
        (_, 0) => drive.stop(),
        (_, 1) => drive.abandon(),
        (_, 2) => drive.stops_in_handler = true,
        (_, 3) if drive.wants_input() => drive.end(),
        (_, _) => drive.go_on(1),
    }
}

/// Takes all output and reads what is left.
fn finish(drive: &mut Drive, bytes: &[u8], ends: bool) {
    drive.drain();
    while drive.read < bytes.len() && drive.wants_input() {
        drive.read(&bytes[drive.read..], usize::MAX);
        drive.drain();
    }
    if ends && drive.wants_input() {
        drive.end();
        drive.drain();
    }
}

/// Whether the request after those in `seen` is a HEAD, according to the first `fed` bytes. `seen` is from the run
/// in one piece.
pub(crate) fn is_next_head(bytes: &[u8], fed: usize, seen: &[Seen]) -> bool {
    let left = seen.last().map_or(bytes.len(), |last| last.left);
    let mut rest = &bytes[bytes.len() - left..fed];
    for _ in 0..2 {
        rest = rest.strip_prefix(b"\r\n").unwrap_or(rest);
    }
    rest.starts_with(b"HEAD ")
}

/// The requests in some bytes, by the reference.
struct Expected {
    requests: Vec<(Head, Vec<u8>)>,
    /// The statuses with which the request after them may be refused.
    refused: Option<Vec<u16>>,
    /// Whether it is known what comes after them.
    is_known: bool,
}

impl Expected {
    fn new(bytes: &[u8], limits: &Limits, handler: u8) -> Self {
        let mut expected = Self {
            requests: Vec::new(),
            refused: None,
            is_known: true,
        };
        let mut rest = bytes;
        while !rest.is_empty() {
            let (head, length) = match read_head(rest, limits) {
                Read::Whole(head, length) => (head, length),
                Read::Refused(statuses) => {
                    expected.refused = Some(statuses.into_iter().collect());
                    break;
                }
                Read::Unfinished => break,
            };
            if head.may_be_refused {
                expected.is_known = false;
                break;
            }
            let behind = &rest[length..];
            let body = match head.body {
                Body::Length(length) => usize::try_from(length)
                    .ok()
                    .and_then(|length| behind.split_at_checked(length))
                    .map(|(body, rest)| (body.to_vec(), rest)),
                Body::Chunked => chunked::read(behind, limits)
                    .map(|(body, left)| (body, &behind[behind.len() - left..])),
            };
            let Some((body, behind)) = body else {
                break;
            };
            rest = behind;
            let given = Given::new(handler, expected.requests.len());
            let is_last = !head.persists || given.closes();
            expected.requests.push((head, body));
            if is_last {
                break;
            }
        }
        expected
    }
}

fn compare(plain: &Drive, status: Option<u16>, expected: &Expected) {
    for (seen, (head, body)) in plain.seen.iter().zip(&expected.requests) {
        assert_eq!(seen.shown(), head.shown());
        assert!(seen.body == *body, "another body");
    }
    let (seen, known) = (plain.seen.len(), expected.requests.len());
    assert!(seen >= known, "{seen} requests seen, fewer than {known}");
    if expected.is_known {
        assert_eq!(seen, known, "more requests than the reference finds");
        if let Some(statuses) = &expected.refused {
            assert!(
                status.is_some_and(|status| statuses.contains(&status)),
                "the status is {status:?}, not {statuses:?}"
            );
        }
    }
}
