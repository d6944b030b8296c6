//! `cargo +nightly fuzz run source_console`
#![no_main]

#[path = "../src/source.rs"]
mod source;

libfuzzer_sys::fuzz_target!(|data: &[u8]| source::source(turnmill_source::Container::Console, data));
