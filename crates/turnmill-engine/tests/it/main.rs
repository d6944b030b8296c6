//! Tests of the engine alone: no store, no history but what the test keeps.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure of a test is a panic")]

mod conversation;
mod dialogs;
mod facts;
mod replay;
mod timeline;
mod worked_example;
