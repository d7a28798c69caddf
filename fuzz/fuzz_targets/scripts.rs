//! Random scripts harm nobody: no panic, no limit that is far exceeded, and the next run is clean.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::scripts(bytes));
