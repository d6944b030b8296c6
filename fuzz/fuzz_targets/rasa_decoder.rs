//! `cargo +nightly fuzz run rasa_decoder`
#![no_main]

#[path = "../src/bodies.rs"]
#[allow(dead_code, reason = "each target runs one of the bodies")]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::rasa_decoder(data));
