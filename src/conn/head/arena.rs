//! The memory that heads are parsed with.

use super::fields::RightHosts;
use super::tokens::FieldLine;
use crate::conn::memory::HeadBlock;

/// What the parsing of one head leaves for the next.
#[derive(Debug, Default)]
pub(in crate::conn) struct HeadArena {
    pub(super) block: HeadBlock,
    /// The field lines of the last one.
    pub(super) lines: Vec<FieldLine>,
    pub(super) right_hosts: RightHosts,
}
