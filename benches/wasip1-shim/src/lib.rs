//! Compiles only if `mio` is the shim. If cargo doesn't use the `[patch]` of the manifest, it only prints a warning.

#[cfg(all(target_os = "wasi", target_env = "p1"))]
const _: &str = mio::WASIP1_SHIM;
