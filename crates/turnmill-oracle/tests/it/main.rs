//! Tests of the oracle: against captures of a real server, against each rule, and against the laws.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod captures;
mod content;
mod laws;
mod lex;
mod other_formats;
mod packages;
mod rules;
mod script;
mod tidy;
mod words;
mod worked_example;
