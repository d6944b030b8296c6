//! The outside of the service `turnmill run`: settings, logging, metrics, HTTP, and stopping.
//!
//! What is absent here: any source, store or driver. This crate knows neither Kafka nor a database; it gets numbers and gives
//! plain types. It decides nothing about rows, and prints nothing unless it is told to.
//!
//! - [`settings`] reads `turnmill.toml`, the environment and flags into one typed structure.
//! - [`logging`] writes text or JSON lines to standard error.
//! - [`Health`] is what `/healthcheck` tells; [`metrics`] what `/metrics` tells.
//! - [`http`] serves both, and lets others in only as far as they may come.
//! - [`Lifecycle`] ends a process as a whole: by signal, in time, and never by halves.

mod health;
pub mod http;
mod lifecycle;
pub mod logging;
pub mod metrics;
pub mod settings;

pub use health::{ConsumerAlive, Health, HealthReport, Phase};
pub use lifecycle::{Component, Ended, Lifecycle, Shutdown};
