//! Metrics of the analytics tables as data, with their SQL per dialect.
//!
//! What is absent here: this crate holds no driver, opens no connection and executes nothing. It
//! only makes strings. It knows only the public tables.
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

mod bucket;
mod range;
mod zone;

pub mod metrics;
pub mod statistics;

pub use bucket::{Bucket, DayBlock, FINEST, MOST, TooManyBuckets, UnknownBucket};
pub use range::{BadTime, Compare, Extent, Last, Range, Span, UnknownComparison, parse_time};
pub use zone::{UnknownZone, Zone};
