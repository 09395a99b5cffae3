//! Memory that is reused from one parsed head to the next.

use super::fields::ValidHosts;
use crate::conn::memory::HeadBlock;

/// Buffers and caches for parsing heads.
#[derive(Debug, Default)]
pub(in crate::conn) struct HeadArena {
    /// The memory that recent small heads are copied to.
    pub(super) block: HeadBlock,
    /// Recent valid values of `Host`.
    pub(super) valid_hosts: ValidHosts,
}
