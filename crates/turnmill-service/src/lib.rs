//! The operational side of `turnmill run`: settings, logging, metrics, HTTP and shutdown.
//!
//! What is absent here: sources, stores and drivers. This crate connects to neither Kafka nor a
//! database, and decides nothing about rows. It receives numbers and returns plain types.
//!
//! - [`settings`] reads `turnmill.toml`, environment variables and flags into one typed structure.
//! - [`logging`] writes text or JSON lines to standard error.
//! - [`Health`] is served at `/healthcheck`, [`metrics`] at `/metrics`.
//! - [`http`] serves both, and restricts access to all other paths.
//! - [`Lifecycle`] stops all components of a process on a signal or on the failure of one, within a
//!   time limit.

mod health;
pub mod http;
mod lifecycle;
pub mod logging;
pub mod metrics;
pub mod settings;

pub use health::{ConsumerAlive, Health, HealthReport, Phase};
pub use lifecycle::{Component, Ended, INTERRUPTED, Lifecycle, Shutdown, end_at_once};
