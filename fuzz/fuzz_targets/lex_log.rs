//! `cargo +nightly fuzz run lex_log`
#![no_main]

#[path = "../src/bodies.rs"]
#[allow(dead_code, reason = "each target runs one of the bodies")]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::lex_log(data));
