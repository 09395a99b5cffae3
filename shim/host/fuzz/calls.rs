//! Calls of a guest in any order with any arguments, and what its clients do meanwhile.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wasip1_host::fuzz_calls(bytes));
