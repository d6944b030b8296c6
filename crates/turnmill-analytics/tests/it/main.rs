//! Tests of ranges, statistics and queries, without a database.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod boards;
mod document;
mod ranges;
mod statistics;
