//! What the connections of one event loop share: memory, and the date.

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};

use super::head::{FieldLine, RightHosts};
use super::memory::{Budget, BufferPool};
use crate::limits::Limits;
use crate::time::Instant;

/// What a connection is given with each call: the time, the limits, and what it shares with the
/// others.
#[derive(Debug)]
pub struct Context<'a> {
    /// The time of the call.
    pub now: Instant,
    /// The limits of the server.
    pub limits: &'a Limits,
    /// What all connections share.
    pub shared: &'a mut Shared,
}

/// What the connections of one event loop share.
#[derive(Debug, Default)]
pub struct Shared {
    pub(super) buffers: BufferPool,
    pub(super) budget: Budget,
    pub(super) date: Date,
    pub(super) heads: HeadArena,
    pub(super) is_stopping: bool,
}

impl Shared {
    /// Nothing shared yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells the wall clock's time, for `Date`, at a moment of the monotonic clock. Due again at
    /// [`date_expires`](Self::date_expires).
    pub fn set_date(&mut self, now: Instant, wall_clock: SystemTime) {
        self.date.set(now, wall_clock);
    }

    /// The server stops: from now on connections linger for a second at most.
    pub fn begin_to_stop(&mut self) {
        self.is_stopping = true;
    }

    /// When the next second begins and [`set_date`](Self::set_date) is to be called before an
    /// answer is made.
    #[must_use]
    pub fn date_expires(&self) -> Instant {
        self.date.expires
    }

    /// Bytes held for all connections, as counted against
    /// [`Limits::max_held`](crate::Limits::max_held).
    #[must_use]
    pub fn held(&self) -> usize {
        self.budget.held
    }

    /// The most bytes that were held at a time.
    #[must_use]
    pub fn held_peak(&self) -> usize {
        self.budget.peak
    }
}

/// The memory that heads are parsed with.
#[derive(Debug, Default)]
pub(super) struct HeadArena {
    pub(super) block: HeadBlock,
    /// The field lines of the last one.
    pub(super) lines: Vec<FieldLine>,
    pub(super) right_hosts: RightHosts,
}

/// Where heads are copied to: all fields of a request share one copy, in a block that is used again
/// when the requests in it are dropped.
#[derive(Debug, Default)]
pub(super) struct HeadBlock(BytesMut);

impl HeadBlock {
    /// The size of a block. A larger head gets memory of its own, so that a request that is kept
    /// never keeps more than this beside what is its own.
    const SIZE: usize = 4 << 10;

    /// A copy of a head's bytes, to be shared.
    pub(super) fn copy(&mut self, head: &[u8]) -> Bytes {
        if head.len() > Self::SIZE {
            return Bytes::copy_from_slice(head);
        }
        if self.0.capacity() < head.len() && !self.0.try_reclaim(Self::SIZE) {
            self.0 = BytesMut::with_capacity(Self::SIZE);
        }
        self.0.extend_from_slice(head);
        self.0.split().freeze()
    }

    /// The most memory that a kept head of this length keeps from being used again.
    pub(super) fn pinned_by(&self, length: usize) -> usize {
        length.max(Self::SIZE)
    }
}

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

    /// The whole field line.
    pub(super) fn line(&self) -> &[u8] {
        &self.block[Self::LINE]
    }

    /// How a plain answer begins: with the status line of 200, the date and the name of its last
    /// field, `Content-Length`. One copy is a third of what appending each of them costs.
    pub(super) fn plain_answer(&self) -> &[u8; 70] {
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
