//! Bytes as what scripts remember, in RON, JSON and postcard.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::saves(bytes));
