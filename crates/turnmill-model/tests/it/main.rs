//! Integration tests of the tables' documentation and of JSON as assistants write it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

mod changes;
mod date_time;
mod docs;
mod json;
