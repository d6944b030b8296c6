//! Tests of the real binaries on real captures.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure of a test is a panic")]

mod bi;
mod boards;
mod commands;
mod compare;
mod ending;
mod facts;
mod files;
mod inputs;
mod kill;
mod lex;
mod published;
mod readme;
mod rebuild;
mod recipes;
mod secrets;
mod servers;
mod silent;
mod source_facts;
mod support;
mod terminal;
