//! The `Date` field of responses.

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::time::Instant;

/// The `Date` field (RFC 9110 §6.6.1), made once a second.
#[derive(Debug)]
pub(super) struct Date {
    /// The field's line, with what stands around it in a plain answer.
    block: [u8; 70],
    expires: Instant,
}

impl Date {
    const LINE: Range<usize> = 17..54;
    /// The 29 bytes of an `IMF-fixdate` (RFC 9110 §5.6.7).
    const VALUE: Range<usize> = 23..52;

    /// When the next second begins.
    pub(super) fn expires(&self) -> Instant {
        self.expires
    }

    /// The whole field line.
    pub(super) fn line(&self) -> &[u8] {
        &self.block[Self::LINE]
    }

    /// How a plain answer begins: with the status line of 200, the date and the name of its last
    /// field, `Content-Length`. One copy is a third of what appending each of them costs.
    pub(super) fn plain_response_start(&self) -> &[u8; 70] {
        &self.block
    }

    pub(super) fn set(&mut self, now: Instant, wall_clock: SystemTime) {
        let value = httpdate::fmt_http_date(representable(wall_clock));
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

/// A runtime's clock may say anything; `httpdate` panics outside the years 1970 to 9999.
fn representable(wall_clock: SystemTime) -> SystemTime {
    const YEAR_9999: Duration = Duration::from_secs(253_402_300_799);
    match wall_clock.duration_since(UNIX_EPOCH) {
        Ok(since) if since <= YEAR_9999 => wall_clock,
        Ok(_) => UNIX_EPOCH + YEAR_9999,
        Err(_) => UNIX_EPOCH,
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
    fn a_mad_clock_does_no_harm() {
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
