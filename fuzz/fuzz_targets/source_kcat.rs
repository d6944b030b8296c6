//! `cargo +nightly fuzz run source_kcat`
#![no_main]

#[path = "../src/source.rs"]
mod source;

libfuzzer_sys::fuzz_target!(|data: &[u8]| source::source(turnmill_source::Container::Kcat, data));
