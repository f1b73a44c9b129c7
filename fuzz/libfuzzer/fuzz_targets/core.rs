//! Commands of the core, compared with its model.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| throttle_fuzz::core::run(data));
