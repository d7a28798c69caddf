//! Bytes as a script and as a configuration.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::files(bytes));
