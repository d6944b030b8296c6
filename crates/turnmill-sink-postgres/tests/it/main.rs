//! Tests of the store in PostgreSQL, on a real server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failure of a test is a panic")]

mod concurrent;
mod contract;
mod equal;
mod failures;
mod laws;
mod opening;
mod places;
mod suite;
mod summary;
mod support;
mod tls;
