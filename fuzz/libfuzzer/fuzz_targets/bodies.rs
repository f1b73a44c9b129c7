//! Requests of `/v1` with any bodies.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| throttle_fuzz::bodies::run(data));
