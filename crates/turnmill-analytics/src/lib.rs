//! Metrics of conversation analytics as data: what they mean, and their SQL per dialect.
//!
//! What is absent here: this crate holds no driver, opens no connection, executes nothing and never
//! reads a clock. It makes queries and reads their rows. It knows the public tables, and the ledger
//! of records where the reader may see it.
//!
//! - [`METRICS`] are all metrics, and [`metric`] finds one. [`markdown`] is their reference.
//! - A [`Question`] says what is asked: a range, a time zone, filters, buckets, a period to compare
//!   with, and the [`Definitions`] of a hand-over, a fallback and the like.
//! - [`answer`](answer()) asks a store that implements [`ReadQueries`]. An [`Answer`] is one typed
//!   value with a documented JSON. [`Plan`] does the same without a store.
//! - [`Bucket`], [`Compare`], [`Last`] and [`Zone`] make UTC boundaries of local time.
//! - [`statistics`] has percentiles, intervals and tests.
//!
//! ```
//! use turnmill_analytics::{Plan, Question, StoreNames, Value, metric};
//! use turnmill_sql::Dialect;
//!
//! let sessions = metric("R3_sessions").unwrap();
//! let plan = Plan::new(sessions, &Question::default(), &StoreNames::default(), Dialect::Sqlite)?;
//! assert!(plan.queries[0].sql.starts_with("SELECT 0, count(*)"));
//! // A driver runs them and gives the rows of each query.
//! let answer = plan.answer(vec![vec![vec![Value::Integer(0), Value::Integer(553)]], Vec::new()]);
//! assert_eq!(answer.value("sessions").unwrap().value(), Some(553.0));
//! # Ok::<(), turnmill_analytics::TooManyBuckets>(())
//! ```

mod answer;
mod bucket;
mod business;
mod catalogue;
mod conversations;
mod definitions;
mod document;
mod draft;
mod examples;
mod funnel;
mod measure;
mod metric;
mod names;
mod paths;
mod question;
mod range;
mod releases;
mod run;
mod scope;
mod set_up;
mod texts;
mod value;
mod view;
mod zone;

pub mod boards;
pub mod statistics;

pub use answer::{Answer, Asked, NamedMeasure, Series, Table, VERSION};
pub use bucket::{Bucket, DayBlock, FINEST, MOST, TooManyBuckets, UnknownBucket};
pub use business::{Business, BusinessLine, UnknownLine};
pub use catalogue::{METRICS, metric};
pub use conversations::{
    Conversation, ConversationList, EventKind, ListFilters, ListOrder, ListPage, Listed, MarkerRow,
    OtherSession, SlotValue, TranscriptEvent, Turn, conversation, conversations, event_ids, sessions_named,
};
pub use definitions::{
    ABANDON_RESPONSES, Definitions, FALLBACK_INTENTS, FALLBACK_RESPONSES, GREETINGS, HANDOVER_COMMAND,
    HANDOVER_FLOW, HANDOVER_PARTS,
};
pub use document::markdown;
pub use examples::{Examples, TextStatus};
pub use funnel::{Funnel, MOST_STEPS, Step, UnknownStep};
pub use measure::{Change, Measure};
pub use metric::{Chart, Counted, Figure, Metric, Source, Unit};
pub use names::StoreNames;
pub use paths::{MOST_PATH_STEPS, PathOptions, Return};
pub use question::{
    Cohort, During, Ending, Filters, Over, Parts, Property, Question, UnknownDuring, UnknownEnding,
    UnknownProperty, When,
};
pub use range::{BadTime, Compare, Extent, Last, Range, Span, UnknownComparison, parse_time};
pub use releases::{Release, releases};
pub use run::{AskError, Plan, ReadQueries, answer};
pub use value::{Query, QueryResult, Row, Value};
pub use zone::{UnknownZone, Zone};
