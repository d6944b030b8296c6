//! `cargo +nightly fuzz run markers`
#![no_main]

#[path = "../src/markers.rs"]
mod markers;

libfuzzer_sys::fuzz_target!(|data: &[u8]| markers::markers(data));
