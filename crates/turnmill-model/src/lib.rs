//! Defines the data of turnmill: events, the documented `rasa_*` tables, and the changes that
//! events make to them.
//!
//! What is absent here: this crate never reads a file, a socket or a clock. It knows no async, no
//! randomness and no format of events. It needs no C compiler, and keeps no state between two
//! calls.
//!
//! - [`Record`] is what a source delivers. A [`Decoder`] turns it into [`Event`]s, or returns why
//!   it is [`Refused`]. [`Decoders`] holds several by their names. They are in `turnmill-formats`.
//! - [`tables`] describes the public tables once, as data. Every writer and every digest
//!   uses this description.
//! - [`Changes`] are typed rows to insert, update and delete. The engine produces them, stores
//!   apply them.
//!
//! ```
//! use turnmill_model::{EventTime, SenderId, tables};
//!
//! // A sender's id depends on its key and its assistant. A time is the float that was written.
//! assert_eq!(SenderId::new(None, "u1"), SenderId::new(None, "u1"));
//! assert_ne!(SenderId::new(None, "u1"), SenderId::new(Some("bank"), "u1"));
//! assert!(EventTime::from_seconds(1_656_382_549.326_936).is_some());
//! assert_eq!(tables::public("rasa_event").unwrap().columns[0].name, "id");
//! ```
//!
//! # Features
//!
//! - `chrono`, off by default: converts [`EventTime`] and [`Micros`] to and from
//!   `chrono::DateTime<Utc>`, by `From` and `TryFrom`.

mod changes;
#[cfg(feature = "chrono")]
mod date_time;
mod decoders;
mod details;
mod event;
mod exchange;
mod id;
mod identity;
mod partition;
mod record;
mod settings;
mod time;
mod unwrap;

pub mod json;
pub mod tables;
pub mod text;

pub use changes::{Changes, End, Key, Mark, RowView, Rows, TableChanges};
#[cfg(feature = "chrono")]
pub use date_time::TimeOutOfRange;
pub use decoders::Decoders;
pub use details::{Details, Processing};
pub use event::{AgentStatus, AnonymisedAt, Body, Command, Event, FlowStatus, SessionRule, UserMessage};
pub use exchange::{Answer, Exchange, ExchangeFacts, NextStep, StateValue};
pub use id::{EventId, EventKey, IdentityDigest, SenderId, SessionId, UserId};
pub use identity::{EventIdentity, WrittenTime};
pub use partition::PartitionId;
pub use record::{
    AssistantName, AssistantNameBuf, Decoder, Reason, Record, Refused, SecretFilter, SourceFacts,
    SourceFactsBuf, TimeUnit, UnknownReason, UnknownTimeUnit,
};
pub use settings::{LexSettings, SessionIdMode, Settings, UnknownSessionIdMode};
pub use time::{EARLIEST_SECONDS, EventTime, LATEST_SECONDS, Micros};
pub use unwrap::{Unwrapped, UnwrappedOutcome, Unwrapper, Unwrapping};
