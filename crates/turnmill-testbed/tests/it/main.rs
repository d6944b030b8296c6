//! Tests of the servers for tests.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure of a test is a panic")]

mod kafka;
mod leftovers;
mod postgres;
