//! What the analytics tables are read for: metrics as data, with their SQL per dialect.
//!
//! What is absent here: this crate holds no driver, opens no connection and executes nothing; it only makes strings. It knows
//! the public tables and no other.
//!
//! - [`metrics`] gives the ten metrics of conversation analytics as queries.
//!
//! ```
//! use turnmill_analytics::metrics::{Options, all};
//! use turnmill_sql::Dialect;
//!
//! for metric in all(Dialect::Postgres, &Options::default()) {
//!     assert!(metric.sql.starts_with("SELECT "), "{}: {}", metric.name, metric.doc);
//! }
//! ```

pub mod metrics;
