//! Tests of the service and its tools as processes, against real servers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod browser;
mod configuration;
mod dead_letters;
mod lex;
mod markers;
mod markers_document;
mod markers_store;
mod operator;
mod pages;
mod questions;
mod report;
mod service;
mod silent;
mod sinks;
mod standby;
mod support;
mod tls;
mod tools;
