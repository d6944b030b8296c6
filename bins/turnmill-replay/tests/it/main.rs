//! Tests of the real binaries on real captures.

mod commands;
mod facts;
mod kill;
mod readme;
mod support;
