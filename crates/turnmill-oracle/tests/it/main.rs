//! Tests of the oracle: against the captures of a real server, against the rules one by one, and of the laws.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod captures;
mod content;
mod laws;
mod other_formats;
mod packages;
mod rules;
mod script;
mod tidy;
mod worked_example;
