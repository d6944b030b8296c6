//! The data that turnmill is about: events, the documented `rasa_*` tables, and the changes that events make to them.
//!
//! What is absent here: this crate never reads a file, a socket or a clock, knows no async, no randomness and no format of
//! events, needs no C compiler, and keeps no state between two calls.
//!
//! - [`Record`] is what a source delivers; a [`Decoder`] turns it into [`Event`]s or says why it is [`Refused`]. Decoders are
//!   in `turnmill-formats`.
//! - [`tables`] describes the fifteen public tables once, as data: every writer and every digest is driven by it.
//! - [`Changes`] are typed rows to insert, update and delete; the engine produces them, stores apply them.
//!
//! ```
//! use turnmill_model::{EventTime, SenderId, tables};
//!
//! // A sender's id is a function of its key and its assistant; a time is the float that was written.
//! assert_eq!(SenderId::new(None, "u1"), SenderId::new(None, "u1"));
//! assert_ne!(SenderId::new(None, "u1"), SenderId::new(Some("bank"), "u1"));
//! assert!(EventTime::from_seconds(1_656_382_549.326_936).is_some());
//! assert_eq!(tables::public("rasa_event").unwrap().columns[0].name, "id");
//! ```

mod changes;
mod event;
mod id;
mod identity;
mod partition;
mod record;
mod settings;
mod time;

pub mod json;
pub mod tables;
pub mod text;

pub use changes::{Changes, End, Key, Mark, RowView, Rows, TableChanges};
pub use event::{AnonymisedAt, Body, Command, Event, FlowStatus, SessionRule, UserMessage};
pub use id::{EventId, EventKey, IdentityDigest, SenderId, SessionId, UserId};
pub use identity::{EventIdentity, WrittenTime};
pub use partition::PartitionId;
pub use record::{
    AssistantName, AssistantNameBuf, Decoder, Reason, Record, Refused, SourceFacts, SourceFactsBuf, TimeUnit,
    UnknownReason, UnknownTimeUnit,
};
pub use settings::{SessionIdMode, Settings};
pub use time::{EARLIEST_SECONDS, EventTime, LATEST_SECONDS, Micros};
