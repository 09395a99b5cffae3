//! Doesn't compile unless `mio` is the shim: cargo only warns about a patch that is not used.

#[cfg(all(target_os = "wasi", target_env = "p1"))]
const _: &str = mio::WASIP1_SHIM;
