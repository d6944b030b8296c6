//! Kafka as a source of conversation events, and as the place where dead letters are mirrored.
//!
//! What is absent here: no decoding of events, no database, no async runtime, no reading of environment variables, and
//! no creation of topics. Offsets committed to a group are for its tools; what counts are the positions that
//! [`start`](turnmill_source::GroupControl::start) is given.
//!
//! - [`KafkaGroup`] reads topics in a consumer group, or a [`KafkaRange`] of them without one. It is a
//!   [`GroupSource`](turnmill_source::GroupSource) with a poll thread of its own.
//! - [`KafkaProducer`] sends records, and says of each whether it was delivered.
//! - [`DeadLetterTopic`] is a [`Sink`](turnmill_sink::Sink) that sends the dead letters of a store to a topic.
//! - [`KafkaSettings`] has the documented settings by their documented names; [`check_connectivity`] tries them.
//!
//! It builds librdkafka, in C. It does not skip anything silently: a stored position that the log does not have any
//! more is told with the first batch, as [`Opened::Replaced`](turnmill_source::Opened::Replaced) or
//! [`Opened::Gap`](turnmill_source::Opened::Gap).
//!
//! # Features
//!
//! - `tls` (on by default): SSL and SCRAM, with an OpenSSL that is built along. It takes two or three minutes.
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
mod settings;

pub use check::{Connectivity, GroupFound, TopicFound, check_connectivity};
pub use dead_letter_topic::DeadLetterTopic;
pub use error::KafkaError;
pub use group::KafkaGroup;
pub use producer::{Delivery, KafkaProducer, OutgoingRecord, ProducerSettings};
pub use settings::{Edge, KafkaRange, KafkaSettings, SaslMechanism, SecurityProtocol};
