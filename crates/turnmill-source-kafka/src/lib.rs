//! Kafka as a source of conversation events, and as a destination for rows and dead letters.
//!
//! What is absent here: decoding of events, a database, an async runtime, reading of environment
//! variables, and creation of topics.
//!
//! Positions come from the caller of [`start`](turnmill_source::GroupControl::start). Offsets that
//! are committed to the group only inform its tools.
//! - [`KafkaGroup`] reads topics in a consumer group, or a [`KafkaRange`] of them without one. It
//!   is a [`GroupSource`](turnmill_source::GroupSource) with its own poll thread.
//! - [`KafkaProducer`] sends records, and reports for each whether it was delivered.
//! - [`RowTopic`] and [`DeadLetterTopic`] are [sinks](turnmill_sink::Sink): they send the changed
//!   rows of a store to a topic, or its dead letters.
//! - [`KafkaSettings`] has the documented settings under their documented names;
//!   [`check_connectivity`] tries them.
//!
//! The crate builds librdkafka, in C. It skips no offset silently. If the log no longer has a
//! stored position, the first batch reports [`Opened::Replaced`](turnmill_source::Opened::Replaced)
//! or [`Opened::Gap`](turnmill_source::Opened::Gap).
//!
//! # Features
//!
//! - `tls` (on by default): SSL and SCRAM, with a bundled OpenSSL whose build takes two or three
//!   minutes.
//! - `tls-system`: the same with the system's OpenSSL.
//!
//! gzip, snappy, lz4 and zstd can always be read.

mod check;
mod context;
mod dead_letter_topic;
mod error;
mod group;
mod merge;
mod poll;
mod producer;
mod row_topic;
mod settings;
mod sink_topic;

pub use check::{Connectivity, GroupFound, TopicFound, check_connectivity};
pub use dead_letter_topic::DeadLetterTopic;
pub use error::KafkaError;
pub use group::KafkaGroup;
pub use producer::{Delivery, KafkaProducer, OutgoingRecord, ProducerSettings};
pub use row_topic::RowTopic;
pub use settings::{Edge, KafkaRange, KafkaSettings, SaslMechanism, SecurityProtocol};
