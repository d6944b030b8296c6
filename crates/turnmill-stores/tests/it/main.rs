//! Stores by their URLs, against the real ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod suite;
mod urls;
mod views;
