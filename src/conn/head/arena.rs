//! Memory that is reused from one parsed head to the next.

use super::fields::RightHosts;
use super::tokens::FieldLine;
use crate::conn::memory::HeadBlock;

/// Buffers and caches for parsing heads.
#[derive(Debug, Default)]
pub(in crate::conn) struct HeadArena {
    /// Holds the bytes of recent small heads.
    pub(super) block: HeadBlock,
    /// The field lines of the head being parsed.
    pub(super) lines: Vec<FieldLine>,
    pub(super) right_hosts: RightHosts,
}
