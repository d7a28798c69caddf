//! A script can't tell an image from a file level that ran just now.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::image(bytes));
