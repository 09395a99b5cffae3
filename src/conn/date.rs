//! The `Date` field of responses.

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::calendar::{MONTHS, YEAR_9999, date_of};
use crate::time::Instant;

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
        // A runtime's clock may return anything.
        let since = wall_clock.duration_since(UNIX_EPOCH).unwrap_or_default();
        let value = imf_fixdate(since.as_secs().min(YEAR_9999));
        self.block[Self::VALUE].copy_from_slice(&value);
        let nanos = u64::from(since.subsec_nanos());
        self.expires = now + Duration::from_nanos(1_000_000_000 - nanos);
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

/// The text of a second since 1970, up to the year 9999. With `httpdate`, a module would contain how a `Duration` is shown
/// in its panics: 2 kB.
fn imf_fixdate(second: u64) -> [u8; 29] {
    // The first day was a Thursday.
    const WEEKDAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
    let days = second / 86_400;
    let (year, month, day) = date_of(days);
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    text[..3].copy_from_slice(WEEKDAYS[(days % 7) as usize]);
    write_digits(&mut text[5..7], day);
    text[8..11].copy_from_slice(MONTHS[month - 1].as_bytes());
    write_digits(&mut text[12..16], year);
    write_digits(&mut text[17..19], second / 3600 % 24);
    write_digits(&mut text[20..22], second / 60 % 60);
    write_digits(&mut text[23..25], second % 60);
    text
}

fn write_digits(text: &mut [u8], mut number: u64) {
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
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
    fn dates_are_those_of_httpdate() {
        // Each day at another time, up to the year 2106.
        for day in 0..50_000u64 {
            let second = day * 86_400 + day * 7919 % 86_400;
            let expected = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
            assert_eq!(imf_fixdate(second), *expected.as_bytes());
        }
    }

    #[test]
    fn times_out_of_range_are_clamped() {
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
