#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mini_http_fuzz::proxy(data));
