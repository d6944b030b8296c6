//! Real servers for turnmill's tests: [PostgreSQL](postgres) and [Kafka](kafka), with private data on free ports of
//! 127.0.0.1.
//!
//! What is absent here: anything that stands in for a server. No mocks, no containers, no async runtime, and no clients
//! beyond what is needed to administer a server. Never published, never used outside of tests; for Unix only. A call that fails
//! panics, as a test would: only starting a server returns an error.
//!
//! - Most tests share one server of a kind: [`postgres::database`] and [`kafka::topic`] give a test a database or topic of
//!   its own there. `TURNMILL_TEST_POSTGRES_URL` and `TURNMILL_TEST_KAFKA` name servers that run already; `turnmill-testbed
//!   run` sets them. Otherwise each test process starts one when the first test asks.
//! - Tests of failures start servers of their own, to stop, kill and start them again.
//! - [`proxy`] stands between a client and a server, and falls silent when a test wants it.
//! - On a machine where a server cannot run a test is skipped, which is [noted](skip). A server that is installed and does
//!   not start fails the test.
//! - [`documents`] finds the commands of a Markdown document, and compares what they print with what it shows.
//! - No server outlives the process that started it, even if that is killed, and neither do its files.
#![allow(
    clippy::panic,
    clippy::print_stderr,
    reason = "for tests only: what fails here is a failure of the test, and the test's output is the place to say so"
)]

mod find;
mod supervisor;
mod unavailable;

pub mod documents;
pub mod kafka;
pub mod postgres;
pub mod proxy;
pub mod tls;

pub use unavailable::{Unavailable, or_skip, skip};
