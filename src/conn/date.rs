//! The `Date` field of responses.

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::time::{Instant, http_date};

/// The `Date` field (RFC 9110 §6.6.1), formatted once a second.
#[derive(Debug)]
pub(super) struct Date {
    /// The field line, with the text before and after it in a plain response.
    block: [u8; 70],
    expires: Instant,
}

impl Date {
    const LINE: Range<usize> = 17..54;
    /// The 29 bytes of an `IMF-fixdate` (RFC 9110 §5.6.7).
    const VALUE: Range<usize> = 23..52;

    /// When the next second begins: `set` is due again.
    pub(super) fn expires(&self) -> Instant {
        self.expires
    }

    /// The whole field line.
    pub(super) fn line(&self) -> &[u8] {
        &self.block[Self::LINE]
    }

    /// The start of a plain response: the status line of 200, the `Date` line, and the name of the
    /// last field, `Content-Length`. One copy costs a third of appending each part.
    pub(super) fn plain_response_start(&self) -> &[u8; 70] {
        &self.block
    }

    /// Formats `wall_clock`, which is the time at `now`.
    pub(super) fn set(&mut self, now: Instant, wall_clock: SystemTime) {
        let value = http_date(wall_clock);
        if value.len() == Self::VALUE.len() {
            self.block[Self::VALUE].copy_from_slice(value.as_bytes());
        }
        let nanos = wall_clock
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.subsec_nanos());
        self.expires = now + Duration::from_nanos(1_000_000_000 - u64::from(nanos));
    }
}

impl Default for Date {
    fn default() -> Self {
        Self {
            block: *b"HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\ncontent-length: ",
            expires: Instant::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_expires_when_the_next_second_begins() {
        let mut date = Date::default();
        date.set(
            Instant::from_nanos(50),
            UNIX_EPOCH + Duration::new(784_111_777, 999_999_990),
        );
        assert_eq!(date.line(), b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
        assert_eq!(date.expires, Instant::from_nanos(60));
    }

    #[test]
    fn dates_out_of_range_are_clamped() {
        let mut date = Date::default();
        date.set(Instant::default(), UNIX_EPOCH - Duration::from_secs(9));
        assert_eq!(date.line(), b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n");
        date.set(
            Instant::default(),
            UNIX_EPOCH + Duration::from_secs(1 << 40),
        );
        assert_eq!(date.line(), b"date: Fri, 31 Dec 9999 23:59:59 GMT\r\n");
    }
}
