//! Batches of a journal, and pieces of a snapshot.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| throttle_fuzz::journal::run(data));
