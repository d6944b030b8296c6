//! Rasa's marker language: conditions with names, evaluated after every event of a session.
//!
//! What is absent here: no clock, no threads, no async, no randomness, no database, no knowledge of where events come
//! from or of how sessions are cut (but for the batch evaluator, which cuts as Rasa's does). Nothing is read or
//! written, unless the feature `files` is on. Needs no other crate of turnmill.
//!
//! - [`MarkerSet::parse`] reads YAML or JSON, and reports everything that is wrong, with line and column.
//! - [`Program::compile`] makes a program of many markers, and [`Program::step`] takes one event: its cost grows with the
//!   markers that the event can touch, and with those that apply or move on without being touched.
//! - [`State`] is all that is kept of a session: some bits for each marker.
//! - [`explain`] tells event by event why a marker applied or did not.
//! - [`evaluate`] does the work of `rasa evaluate markers`, down to the bytes of its files.
//!
//! ```
//! use turnmill_markers::{Compatibility, MarkerEvent, MarkerSet, Program, SourceFile};
//!
//! let file = SourceFile::new("markers.yml", &b"ordered: {seq: [{slot_was_set: size}, {intent: confirm}]}"[..]);
//! let (set, _warnings) = MarkerSet::parse(&[file]).map_err(|mut errors| errors.remove(0))?;
//! let program = Program::of_set(&set, Compatibility::Documented);
//!
//! let mut state = program.start();
//! let events = [
//!     MarkerEvent::Action { name: "action_session_start" },
//!     MarkerEvent::Slot { name: "size", is_set: true },
//!     MarkerEvent::User { intent: Some("confirm"), full_retrieval_intent: None },
//! ];
//! let mut applied = Vec::new();
//! for (index, event) in events.into_iter().enumerate() {
//!     program.step(&mut state, event, |hit| applied.push((index, hit.pattern)))?;
//! }
//! assert_eq!(applied, [(2, 0)]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//!
//! `files` (off by default) finds and reads marker files below a path.

mod compile;
mod diagnostic;
mod event;
mod literal;
mod load;
mod node;
mod state;
mod step;
mod suggest;
mod tag;
mod value;
mod yaml;

pub mod evaluate;
pub mod explain;
#[cfg(feature = "files")]
pub mod files;

pub use compile::{Compatibility, Pattern, PatternId, Program};
pub use diagnostic::{Diagnostic, ErrorKind, Place, Warning};
pub use event::{MarkerEvent, OwnedMarkerEvent};
pub use load::{FileFormat, Marker, MarkerSet, SourceFile};
pub use node::{ConfigError, Node};
pub use state::{Adopted, ForeignState, State};
pub use step::Hit;
pub use tag::Tag;

/// Markers inside each other, at most.
pub const MAX_DEPTH: usize = 100;

/// Bytes of a marker file, at most.
pub const MAX_FILE_BYTES: usize = 1 << 20;

/// Values in a marker file, at most; an alias counts as all that it stands for.
pub const MAX_VALUES: usize = 100_000;
