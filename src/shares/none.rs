//! The types of `pool.rs` for WASI, where there is one worker. They have no values, so that the compiler leaves out
//! the code that uses them.

/// The pools of a server with several workers: there is none.
#[derive(Clone, Debug)]
pub(crate) enum Pools {}

/// A worker's share of a limit: there is none.
#[derive(Debug)]
pub(crate) enum Share {}

impl Pools {
    pub(crate) fn connections(&self) -> Share {
        match *self {}
    }

    pub(crate) fn held(&self) -> Share {
        match *self {}
    }

    pub(crate) fn requests(&self) -> Share {
        match *self {}
    }
}

impl Share {
    pub(crate) fn covers(&self, _used: usize) -> bool {
        match *self {}
    }

    pub(crate) fn reach(&self, _used: usize) {
        match *self {}
    }

    pub(crate) fn slice(&self) -> usize {
        match *self {}
    }

    pub(crate) fn taken(&self) -> usize {
        match *self {}
    }

    pub(crate) fn used_by_others(&self) -> usize {
        match *self {}
    }

    pub(crate) fn give_back_spare(&self, _used: usize) {
        match *self {}
    }

    pub(crate) fn want(&self, _used: usize) -> bool {
        match *self {}
    }

    pub(crate) fn is_wanted(&self) -> bool {
        match *self {}
    }
}
