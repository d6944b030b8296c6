//! Integration tests of the store contract on the memory store.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure of a test is a panic")]

mod calm;
mod captures;
mod laws;
mod mantle;
mod memory;
