//! Tests of the service while everything around it fails: after each fault the tables are those of
//! an undisturbed replay.
//!
//! All tests share one private broker and one private PostgreSQL, so they run one after another.
//! Every random choice comes from a seed that is printed; `TURNMILL_FAULT_SEED` sets it.
//! `TURNMILL_SOAK_SECS` makes the soak longer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::print_stderr, reason = "seeds and figures")]

mod bed;
mod brokers;
mod crew;
mod database;
mod drill;
mod memory;
mod poison;
mod processes;
mod soak;
mod stream;
#[path = "../it/support.rs"]
#[allow(dead_code, reason = "the other target uses the rest")]
mod support;
