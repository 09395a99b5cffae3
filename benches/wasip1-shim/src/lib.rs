//! Compiles only if `mio` is the shim, because for an unused patch cargo only prints a warning.

#[cfg(all(target_os = "wasi", target_env = "p1"))]
const _: &str = mio::WASIP1_SHIM;
