//! `cargo +nightly fuzz run json_canonical`
#![no_main]

#[path = "../src/bodies.rs"]
#[allow(dead_code, reason = "each target runs one of the bodies")]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::json_canonical(data));
