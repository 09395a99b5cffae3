//! Tests with a guest module and real sockets.

#[cfg(test)]
mod edges;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzz;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod polling;
#[cfg_attr(not(test), allow(dead_code, reason = "the fuzz target uses a part"))]
mod puppet;
#[cfg(test)]
mod sockets;
#[cfg_attr(not(test), allow(dead_code, reason = "the fuzz target uses a part"))]
mod wild;
