//! Bytes of a connection.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| throttle_fuzz::http::run(data));
