//! The functions that the fuzz targets call. The checks are part of the tests, so that every `cargo test` replays what
//! the fuzzer has found.

#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "../../tests/oracle/mod.rs"]
mod oracle;

/// See `tests/oracle/connection.rs`.
pub fn connection(data: &[u8]) {
    oracle::connection::check(data);
}

/// See `tests/oracle/head.rs`.
pub fn head(data: &[u8]) {
    oracle::head::check(data);
}

/// See `tests/oracle/streaming/mod.rs`.
pub fn streaming(data: &[u8]) {
    oracle::streaming::check(data);
}

/// See `tests/oracle/chunked.rs`.
pub fn chunked(data: &[u8]) {
    oracle::chunked::check(data);
}

/// See `tests/oracle/proxy.rs`.
pub fn proxy(data: &[u8]) {
    oracle::proxy::check(data);
}
