//! What the connections of one event loop share: memory, its budget, and the date.

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Buf, Bytes, BytesMut};

use super::head::{FieldLine, RightHosts};
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

/// Buffers between two uses. A connection takes one when something is unfinished, and gives it
/// back when it is done; so an idle connection owns none.
#[derive(Debug, Default)]
pub(super) struct BufferPool {
    buffers: Vec<Vec<u8>>,
    pub(super) bodies: BodyPool,
}

impl BufferPool {
    const MAX_BUFFERS: usize = 32;
    const MAX_CAPACITY: usize = 64 << 10;

    /// An empty buffer.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.buffers.pop().unwrap_or_default()
    }

    /// Takes a buffer's memory back, leaving it empty and without any.
    pub(super) fn give_back(&mut self, buffer: &mut Vec<u8>) {
        let mut buffer = std::mem::take(buffer);
        let is_worth_keeping = (1..=Self::MAX_CAPACITY).contains(&buffer.capacity());
        if is_worth_keeping && self.buffers.len() < Self::MAX_BUFFERS {
            buffer.clear();
            self.buffers.push(buffer);
        }
    }
}

/// Memory of large bodies that were sent, for those that come. Allocators give memory of this size
/// back to the system, and what is fetched anew for each body costs as much as it costs to copy it.
#[derive(Debug, Default)]
pub(super) struct BodyPool {
    buffers: Vec<Vec<u8>>,
    /// The memory of all of them.
    bytes: usize,
    /// Blocks of bodies that have come.
    blocks: Vec<Vec<u8>>,
}

impl BodyPool {
    /// The blocks of a large body that comes. A body up to this size is small, and needs no pool.
    pub(super) const BLOCK: usize = 64 << 10;
    /// The most memory of bodies that is kept.
    const MAX_BYTES: usize = 8 << 20;
    const MAX_BLOCKS: usize = 32;

    /// An empty buffer for a body of this length: not a smaller one, nor one of more than twice its
    /// size, which would be held for nothing, or of more than `most` bytes.
    pub(super) fn take(&mut self, length: usize, most: usize) -> Option<Vec<u8>> {
        let fits = length..=length.saturating_mul(2).min(most);
        let is_fit = |buffer: &Vec<u8>| fits.contains(&buffer.capacity());
        let at = self.buffers.iter().rposition(is_fit)?;
        let buffer = self.buffers.swap_remove(at);
        self.bytes -= buffer.capacity();
        Some(buffer)
    }

    /// Keeps the memory of a body that was sent, if it is worth it and there is room, unless somebody
    /// else still has a part of it.
    pub(super) fn give_back(&mut self, mut body: Bytes) {
        body.advance(body.len());
        // Of one that is shared or static, this is nothing.
        let buffer = Vec::from(body);
        let is_large = buffer.capacity() > Self::BLOCK;
        if is_large && self.bytes + buffer.capacity() <= Self::MAX_BYTES {
            self.bytes += buffer.capacity();
            self.buffers.push(buffer);
        }
    }

    /// An empty block.
    pub(super) fn take_block(&mut self) -> Option<Vec<u8>> {
        self.blocks.pop()
    }

    /// Keeps a block of a body that has come.
    pub(super) fn keep_block(&mut self, mut block: Vec<u8>) {
        if block.capacity() == Self::BLOCK && self.blocks.len() < Self::MAX_BLOCKS {
            block.clear();
            self.blocks.push(block);
        }
    }
}

/// The bytes held for all connections.
#[derive(Debug, Default)]
pub(super) struct Budget {
    held: usize,
    peak: usize,
}

impl Budget {
    /// Replaces what one connection holds.
    pub(super) fn replace(&mut self, before: usize, after: usize) {
        self.held = self.held.saturating_sub(before).saturating_add(after);
        self.peak = self.peak.max(self.held);
    }

    /// Whether nothing is held.
    pub(super) fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Whether more than half of what can be held is.
    pub(super) fn is_scarce(&self, limits: &Limits) -> bool {
        self.held > limits.max_held / 2
    }

    /// Whether `more` bytes can be held within the limits.
    pub(super) fn has_room(&self, more: usize, limits: &Limits) -> bool {
        self.held.saturating_add(more) <= limits.max_held
    }

    /// Bytes that can be held beside those that are.
    pub(super) fn room(&self, limits: &Limits) -> usize {
        limits.max_held.saturating_sub(self.held)
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

    #[test]
    fn a_body_that_was_sent_leaves_its_memory_to_one_of_its_size() {
        let mut pool = BodyPool::default();
        let body = Bytes::from(vec![1; 200_000]);
        let (somebody_elses, place) = (body.clone(), body.as_ptr());
        pool.give_back(body);
        assert_eq!(pool.bytes, 0);
        pool.give_back(somebody_elses);
        pool.give_back(Bytes::from_static(&[0; 100_000]));
        assert_eq!(pool.bytes, 200_000);
        for (length, most) in [(99_999, 1 << 20), (200_001, 1 << 20), (100_000, 199_999)] {
            assert!(pool.take(length, most).is_none());
        }
        let buffer = pool.take(100_000, 200_000).expect("it is large enough");
        assert!(buffer.is_empty() && buffer.capacity() == 200_000);
        assert_eq!((buffer.as_ptr(), pool.bytes), (place, 0));
        for _ in 0..100 {
            pool.give_back(Bytes::from(vec![1; 1 << 20]));
        }
        assert_eq!(pool.bytes, BodyPool::MAX_BYTES);
    }

    #[test]
    fn buffers_are_used_again_but_not_hoarded() {
        let mut pool = BufferPool::default();
        let mut small = b"abc".to_vec();
        pool.give_back(&mut small);
        assert_eq!(small.capacity(), 0);
        let again = pool.take();
        assert!(again.is_empty() && again.capacity() >= 3);
        pool.give_back(&mut Vec::with_capacity(BufferPool::MAX_CAPACITY * 2));
        assert_eq!(pool.take().capacity(), 0);
    }
}
