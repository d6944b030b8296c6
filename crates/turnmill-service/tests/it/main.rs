//! Integration tests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may")]

mod attacks;
mod documents;
mod endpoints;
mod http;
mod lifecycle;
mod logging;
mod secrets;
mod settings;
mod support;
