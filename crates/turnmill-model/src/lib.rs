//! The data that turnmill is about: events and how Rasa writes them, the documented `rasa_*` tables, and the changes
//! that events make to them.
//!
//! What is absent here: this crate never reads a file, a socket or a clock, knows no async and no randomness, needs no
//! C compiler, and keeps no state between two calls.
//!
//! - [`Record`] is what a source delivers; a [`Decoder`] turns it into [`Event`]s or says why it is [`Refused`].
//!   [`rasa::RasaDecoder`] reads every event type of Rasa Open Source and of CALM assistants.
//! - [`tables`] describes the fifteen public tables once, as data: every writer and every digest is driven by it.
//! - [`Changes`] are typed rows to insert, update and delete; the engine produces them, stores apply them.
//!
//! ```
//! use turnmill_model::{rasa::RasaDecoder, Decoder, Record, Settings};
//!
//! let decoder = RasaDecoder::new(&Settings::default());
//! let payload = br#"{"sender_id": "u1", "event": "restart", "timestamp": 1656382549.326936}"#;
//! let mut events = Vec::new();
//! decoder.decode(&Record { payload, ..Record::default() }, &mut events)?;
//! assert_eq!(events[0].event_type, "restart");
//! # Ok::<(), turnmill_model::Refused>(())
//! ```
//!
//! # Features
//!
//! - `chrono`, off by default: converts [`EventTime`] and [`Micros`] to and from
//!   `chrono::DateTime<Utc>`, by `From` and `TryFrom`.

mod changes;
#[cfg(feature = "chrono")]
mod date_time;
mod event;
mod id;
mod identity;
mod record;
mod settings;
mod time;

pub mod json;
pub mod rasa;
pub mod tables;
pub mod text;

pub use changes::{Changes, End, Key, Mark, RowView, Rows, TableChanges};
#[cfg(feature = "chrono")]
pub use date_time::TimeOutOfRange;
pub use event::{AnonymisedAt, Body, Command, Event, FlowStatus, SessionRule, UserMessage};
pub use id::{EventId, EventKey, IdentityDigest, SenderId, SessionId, UserId};
pub use identity::{EventIdentity, WrittenTime};
pub use record::{
    AssistantName, AssistantNameBuf, Decoder, Reason, Record, Refused, SourceFacts, SourceFactsBuf, TimeUnit,
    UnknownReason, UnknownTimeUnit,
};
pub use settings::{SessionIdMode, Settings};
pub use time::{EARLIEST_SECONDS, EventTime, LATEST_SECONDS, Micros};
