//! What a request shows, and the file of tokens.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| throttle_fuzz::security::run(data));
