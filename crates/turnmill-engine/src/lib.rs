//! Turns conversation events into row changes: the engine of turnmill.
//!
//! What is absent here: this crate never reads a file, a socket or a clock. It knows no async, no
//! randomness and no database. Between two calls it keeps only what it is given, and one cache:
//! [`Patterns`] holds the programs that were compiled from the patterns, in a `Mutex`. No row
//! depends on whether the cache is filled. The same events give the same rows anywhere.
//!
//! A [`Timeline`] is one sender's state. [`Engine::run`] applies a batch of that sender's events to
//! it and writes typed rows into [`Changes`]. [`Step::NeedsReplay`] answers an event that is not
//! newer than the sender's newest one: it is a duplicate or late. [`Replay`] then finds out which
//! rows it changes.
//!
//! ```
//! use turnmill_engine::{Engine, Step, Timeline};
//! use turnmill_formats::rasa::RasaDecoder;
//! use turnmill_model::{Changes, Decoder, Record, Settings};
//!
//! let settings = Settings::default();
//! let (decoder, engine) = (RasaDecoder::new(&settings), Engine::new(&settings));
//! let lines = [
//!     r#"{"sender_id": "u1", "event": "action", "timestamp": 1656382549.1, "name": "action_session_start"}"#,
//!     r#"{"sender_id": "u1", "event": "session_started", "timestamp": 1656382549.2}"#,
//!     r#"{"sender_id": "u1", "event": "user", "timestamp": 1656382549.9, "text": "hi", "parse_data": {}}"#,
//! ];
//! let mut events = Vec::new();
//! for line in lines {
//!     decoder.decode(&Record { payload: line.as_bytes(), ..Record::default() }, &mut events)?;
//! }
//! let mut timeline = Timeline::new(events[0].sender, &events[0].sender_key, None);
//! let mut changes = Changes::default();
//! let mut run = engine.run(&mut timeline, &mut changes);
//! for event in &events {
//!     assert_eq!(run.apply(event), Step::Applied);
//! }
//! run.finish();
//! assert_eq!(changes.sessions.inserts.len(), 1);
//! assert_eq!(changes.turns.inserts.len(), 1);
//! # Ok::<(), turnmill_model::Refused>(())
//! ```

use std::sync::Arc;

use turnmill_model::{Changes, Settings};

mod beginning;
mod calls;
mod dialogs;
mod diff;
mod exchange;
mod facts;
mod mark;
mod patterns;
mod placement;
mod progress;
mod prune;
mod replay;
mod rows;
mod run;
mod runs;
mod stack;
mod state;
mod timeline;
mod visits;

pub use beginning::{Beginning, EdgeEvent};
pub use dialogs::OWN_SKILLS;
pub use mark::marker_event;
pub use patterns::{Pattern, Patterns, Scope};
pub use progress::{Finished, NamedSession};
pub use replay::{Replay, ReplayOutcome, Replayed};
pub use run::{Run, Step};
pub use timeline::{Checkpoint, Recency, SenderName, Timeline, UnreadableState, VERSION};

/// Events between two checkpoints of a sender.
///
/// A late event costs the replay of at most about this many events before it, plus those after it
/// until nothing changes any more.
const CHECKPOINT_EVERY: u16 = 32;

/// Rows that a replay gathers before it compares them. They take some megabytes.
const GATHERED: usize = 16_384;

/// Applies the session and row rules, with their settings.
///
/// It is cheap to make and to share: all state is in [`Timeline`]s.
#[derive(Clone, Debug)]
pub struct Engine {
    settings: Settings,
    checkpoint_every: u16,
    gathered: usize,
    patterns: Arc<Patterns>,
}

impl Engine {
    /// Makes an engine with `settings`, which must be those of the decoder.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let (checkpoint_every, gathered) = (CHECKPOINT_EVERY, GATHERED);
        Self { settings: settings.clone(), checkpoint_every, gathered, patterns: Arc::default() }
    }

    /// Sets how many events a sender has at least between two checkpoints (32 unless set).
    #[must_use]
    pub fn checkpoint_every(mut self, events: u16) -> Self {
        self.checkpoint_every = events;
        self
    }

    /// Sets how many rows a [`Replay`] gathers before it compares them and keeps only the
    /// differences (16,384 unless set).
    ///
    /// This bounds the memory of a long replay, besides one entry for each row that has to be
    /// written. [`Replay::take_final`] returns these in pieces of about this size.
    #[must_use]
    pub fn gather(mut self, changes: usize) -> Self {
        self.gathered = changes;
        self
    }

    /// Sets the patterns with which markers are evaluated; none unless set.
    #[must_use]
    pub fn with_patterns(mut self, patterns: Arc<Patterns>) -> Self {
        self.patterns = patterns;
        self
    }

    /// Returns the patterns with which markers are evaluated.
    #[must_use]
    pub fn patterns(&self) -> &Arc<Patterns> {
        &self.patterns
    }

    /// Starts a run that applies events of one sender, whose state is `timeline`, and writes rows
    /// into `out`.
    pub fn run<'r>(&'r self, timeline: &'r mut Timeline, out: &'r mut Changes) -> Run<'r> {
        let progress = progress::Progress::new(timeline, out);
        Run::new(self, timeline, out, progress)
    }
}
