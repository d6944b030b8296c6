//! `cargo +nightly fuzz run source_tracker`
#![no_main]

#[path = "../src/source.rs"]
mod source;

libfuzzer_sys::fuzz_target!(|data: &[u8]| source::source(turnmill_source::Container::Tracker, data));
