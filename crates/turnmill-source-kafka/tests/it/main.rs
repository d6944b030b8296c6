//! The source and the producer against a real broker.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod faults;
mod foreign;
mod group;
mod range;
mod reader;
mod security;
mod sending;
mod settings;
