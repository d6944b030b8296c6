//! Rasa's marker language: named conditions, evaluated after every event of a session.
//!
//! What is absent here: a clock, threads, async, randomness, a database, and knowledge of where
//! events come from. Except for the batch evaluator, which splits sessions as Rasa's does, the
//! crate does not know how sessions are split. It does no I/O unless the feature `files` is on. It
//! needs no other crate of turnmill.
//!
//! - [`MarkerSet::parse`] reads YAML or JSON and reports every error, with line and column.
//! - [`Program::compile`] compiles many markers to a program. [`Program::step`] takes one event.
//!   Its cost grows with the markers that the event can touch, and with those that apply or advance
//!   without being touched.
//! - [`State`] is all that is kept of a session: some bits for each marker.
//! - [`explain`] shows event by event why a marker applied or did not.
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
pub use diagnostic::{Diagnostic, ErrorKind, Location, Warning};
pub use event::{MarkerEvent, OwnedMarkerEvent};
pub use load::{FileFormat, Marker, MarkerSet, SourceFile};
pub use node::{ConfigError, Node};
pub use state::{Adopted, ForeignState, State};
pub use step::Hit;
pub use tag::Tag;

/// Maximum nesting of markers.
pub const MAX_DEPTH: usize = 100;

/// Maximum size of a marker file in bytes.
pub const MAX_FILE_BYTES: usize = 1 << 20;

/// Maximum number of values in a marker file. An alias counts as all that it refers to.
pub const MAX_VALUES: usize = 100_000;
