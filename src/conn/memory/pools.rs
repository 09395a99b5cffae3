//! Pools of buffers and bodies, whose memory is used again.

use bytes::{Buf, Bytes};

/// Buffers between two uses. A connection takes one when something is unfinished, and gives it
/// back when it is done; so an idle connection owns none.
#[derive(Debug, Default)]
pub(in crate::conn) struct BufferPool {
    buffers: Vec<Vec<u8>>,
    pub(in crate::conn) bodies: BodyPool,
}

impl BufferPool {
    /// The most buffers that are kept. At half, 32 connections with unfinished heads or output allocate in each turn;
    /// at double, up to 4 MiB are kept for nothing after a burst.
    const MAX_BUFFERS: usize = 32;
    /// The largest buffer that is kept: one full read. At half, the buffer of each upload is allocated anew; at double,
    /// the pool keeps twice as much.
    pub(in crate::conn) const MAX_CAPACITY: usize = 64 << 10;

    /// An empty buffer.
    pub(in crate::conn) fn take(&mut self) -> Vec<u8> {
        self.buffers.pop().unwrap_or_default()
    }

    /// Takes a buffer's memory back. The buffer is left empty, without memory.
    pub(in crate::conn) fn give_back(&mut self, buffer: &mut Vec<u8>) {
        let mut buffer = std::mem::take(buffer);
        let is_worth_keeping = (1..=Self::MAX_CAPACITY).contains(&buffer.capacity());
        if is_worth_keeping && self.buffers.len() < Self::MAX_BUFFERS {
            buffer.clear();
            self.buffers.push(buffer);
        }
    }
}

/// Memory of large bodies that were sent, for those that are received next. Allocators return memory of this
/// size to the system, and to get it again for each body costs as much as to copy the body.
#[derive(Debug, Default)]
pub(in crate::conn) struct BodyPool {
    buffers: Vec<Vec<u8>>,
    /// The memory of all of them.
    bytes: usize,
}

impl BodyPool {
    /// A body up to this size is small, and needs no pool: allocators keep such memory themselves.
    const SMALL: usize = 64 << 10;
    /// The most memory of bodies that is kept: eight of 1 MiB. At half, large echoes on more than four connections get
    /// memory from the system for each body; at double, an idle server keeps 16 MiB.
    const MAX_BYTES: usize = 8 << 20;

    /// An empty buffer for a body of this length: not a smaller one, nor one of more than twice its
    /// size, which would be held for nothing, or of more than `most` bytes.
    pub(in crate::conn) fn take(&mut self, length: usize, most: usize) -> Option<Vec<u8>> {
        if length <= Self::SMALL {
            return None;
        }
        let fits = length..=length.saturating_mul(2).min(most);
        let is_fit = |buffer: &Vec<u8>| fits.contains(&buffer.capacity());
        let at = self.buffers.iter().rposition(is_fit)?;
        let buffer = self.buffers.swap_remove(at);
        self.bytes -= buffer.capacity();
        Some(buffer)
    }

    /// Keeps the memory of a body that was sent, if it is large enough and there is room, unless it is still
    /// shared.
    pub(in crate::conn) fn give_back(&mut self, mut body: Bytes) {
        body.advance(body.len());
        // Of a shared or static body, this buffer has no memory.
        let buffer = Vec::from(body);
        let is_large = buffer.capacity() > Self::SMALL;
        if is_large && self.bytes + buffer.capacity() <= Self::MAX_BYTES {
            self.bytes += buffer.capacity();
            self.buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_was_sent_leaves_its_memory_to_one_of_its_size() {
        let mut pool = BodyPool::default();
        let body = Bytes::from(vec![1; 200_000]);
        let (clone, place) = (body.clone(), body.as_ptr());
        pool.give_back(body);
        assert_eq!(pool.bytes, 0);
        pool.give_back(clone);
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
