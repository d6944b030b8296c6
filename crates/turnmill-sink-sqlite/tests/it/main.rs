//! Tests of the store in a SQLite file.
#![allow(clippy::unwrap_used, reason = "a failure of a test is a panic")]

mod concurrent;
mod contract;
mod equal;
mod examine;
mod formats;
mod interrupt;
mod laws;
mod metrics;
mod opening;
mod schema;
mod suite;
mod support;
