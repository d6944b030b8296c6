//! Real servers for turnmill's tests: [PostgreSQL](postgres) and [Kafka](kafka), with private data
//! on free ports of 127.0.0.1.
//!
//! What is absent here: substitutes for servers, such as mocks or containers, an async runtime, and
//! clients beyond the administration of a server. The crate is never published, never used outside
//! of tests, and for Unix only. A failing call panics, as a test would. Only the start of a server
//! returns an error.
//!
//! - Most tests share one server of each kind. [`postgres::database`] and [`kafka::topic`] give a
//!   test its own database or topic there. `TURNMILL_TEST_POSTGRES_URL` and `TURNMILL_TEST_KAFKA`
//!   name running servers; `turnmill-testbed run` sets them. Otherwise each test process starts a
//!   server when its first test needs it.
//! - Tests of failures start their own servers, and stop, kill and restart them.
//! - [`proxy`] forwards between a client and a server, and falls silent on request.
//! - A test whose server this machine cannot run is skipped, which is [noted](skip). An installed
//!   server that does not start fails the test.
//! - [`documents`] finds the commands of a Markdown document, and compares their output with the
//!   shown one.
//! - No server and none of its files outlive the process that started it, even if that is killed.
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
