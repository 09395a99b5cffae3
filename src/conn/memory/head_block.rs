//! [`HeadBlock`]: memory for copies of heads. Several requests share one block.

use bytes::{Bytes, BytesMut};

/// Where heads are copied to: all fields of a request share one copy, in a block that is used again
/// when the requests in it are dropped.
#[derive(Debug, Default)]
pub(in crate::conn) struct HeadBlock(BytesMut);

impl HeadBlock {
    /// The size of a block. A larger head gets memory of its own. So a request that is kept
    /// never keeps more than this of other requests' memory.
    const SIZE: usize = 4 << 10;

    /// A copy of a head's bytes, to be shared.
    pub(in crate::conn) fn copy(&mut self, head: &[u8]) -> Bytes {
        if head.len() > Self::SIZE {
            return Bytes::copy_from_slice(head);
        }
        if self.0.capacity() < head.len() && !self.0.try_reclaim(Self::SIZE) {
            self.0 = BytesMut::with_capacity(Self::SIZE);
        }
        self.0.extend_from_slice(head);
        self.0.split().freeze()
    }

    /// How much memory can't be used again, at most, while a head of this length is kept.
    pub(in crate::conn) fn pinned_by(length: usize) -> usize {
        length.max(Self::SIZE)
    }
}
