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

mod answer;
mod bucket;
mod catalogue;
mod definitions;
mod document;
mod draft;
mod funnel;
mod measure;
mod metric;
mod names;
mod question;
mod range;
mod run;
mod scope;
mod texts;
mod value;
mod view;
mod zone;

pub mod metrics;
pub mod statistics;

pub use answer::{Answer, Asked, NamedMeasure, Series, Table, VERSION};
pub use bucket::{Bucket, DayBlock, FINEST, MOST, TooManyBuckets, UnknownBucket};
pub use catalogue::{METRICS, metric};
pub use definitions::{Definitions, HANDOVER_COMMAND, HANDOVER_FLOW, HANDOVER_PARTS};
pub use document::markdown;
pub use funnel::{Funnel, MOST_STEPS, Step, UnknownStep};
pub use measure::{Change, Measure};
pub use metric::{Chart, Counted, Figure, Metric, Source, Unit};
pub use names::StoreNames;
pub use question::{Ending, Filters, Over, Question, UnknownEnding, When};
pub use range::{BadTime, Compare, Extent, Last, Range, Span, UnknownComparison, parse_time};
pub use run::{AskError, Plan, ReadQueries, answer};
pub use value::{Query, Row, Value};
pub use zone::{UnknownZone, Zone};
