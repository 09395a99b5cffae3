//! The clocks. Servers read two of them often, so these two don't go through wasmtime-wasi.

use std::time::SystemTime;

use wasmtime::Caller;

use super::{Call, inner};
use crate::instance::{Instance, split};

/// The realtime clock: nanoseconds since 1970.
pub(crate) const REALTIME: u32 = 0;
/// The monotonic clock: nanoseconds since the instance began.
pub(crate) const MONOTONIC: u32 = 1;

pub(super) fn clock_time_get(
    caller: &mut Caller<'_, Instance>,
    clock: u32,
    precision: u64,
    out: u32,
) -> Call {
    let time = match clock {
        REALTIME => realtime(),
        MONOTONIC => caller.data().monotonic(),
        _ => return inner::clock_time_get(caller, clock, precision, out),
    };
    let (mut memory, _) = split(caller)?;
    Ok(memory.put(out, time.to_le_bytes())?)
}

pub(crate) fn realtime() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64)
}
