//! Integration tests of the pipeline.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod drain;
mod formats;
mod log;
mod patterns;
mod serve;
mod sinks;
mod sinks_killed;
mod slow;
