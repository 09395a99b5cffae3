//! [`Proxy`]: what the scenes need from a proxy.

use std::net::SocketAddr;

use crate::Outcome;

/// A proxy in front of the instances, which are numbered from 0. It ends when this is dropped.
pub(super) trait Proxy: Send {
    /// Where it listens.
    fn address(&self) -> SocketAddr;

    /// Takes an instance out of the rotation. Returns when it gets no more requests.
    fn drain(&mut self, instance: usize) -> Outcome;

    /// Puts an instance, which accepts connections again, back into the rotation.
    fn readmit(&mut self, instance: usize) -> Outcome;

    /// Fails if it has ended.
    fn check(&mut self) -> Outcome;
}
