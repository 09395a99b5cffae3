//! The memory that heads are parsed with.

use super::fields::RightHosts;
use crate::conn::memory::HeadBlock;

/// What the parsing of one head leaves for the next.
#[derive(Debug, Default)]
pub(in crate::conn) struct HeadArena {
    pub(super) block: HeadBlock,
    pub(super) right_hosts: RightHosts,
}
