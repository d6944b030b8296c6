//! Integration tests of the tables' documentation and of JSON as assistants write it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

mod docs;
mod json;
