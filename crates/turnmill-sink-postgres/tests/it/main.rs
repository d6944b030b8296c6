//! Tests of the store in PostgreSQL, on a real server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failure of a test is a panic")]

mod arrange;
mod concurrent;
mod contract;
mod equal;
mod examine;
mod failures;
mod growth;
mod interrupt;
mod laws;
mod opening;
mod order;
mod places;
mod pooler;
mod refused;
mod silent;
mod suite;
mod support;
mod tls;
