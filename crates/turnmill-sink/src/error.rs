//! Errors of stores and sinks, by class: the class decides what the pipeline does, never the message.

use std::time::Duration;
use turnmill_model::PartitionId;

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It may pass by itself (connection lost, lock held, disk full): the same batch is tried again, later.
    Retryable {
        /// How long to wait at least, if the store knows.
        after: Option<Duration>,
    },
    /// A row of the batch can never be written: the batch is tried without the record at fault, which becomes a dead letter.
    Poison,
    /// A person has to change something first; the message names what.
    Fatal,
    /// Another writer has moved on: what is in memory is out of date and has to be loaded again.
    Fenced,
}

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store cannot be reached or is busy just now.
    #[error("the store is not available: {detail}")]
    Unavailable {
        /// What was attempted, for people.
        detail: String,
        /// The driver's error.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The store has ended a statement because it took too long. Less work at a time may be done in time.
    #[error("the store ended a statement that took too long: {detail}")]
    TimeLimit {
        /// Which statement, and the setting that limits it.
        detail: String,
    },
    /// The store refuses a row.
    #[error("the store refuses a row: {detail}")]
    Refused {
        /// The constraint or limit at fault.
        detail: String,
    },
    /// A position is not where the batch begins: another writer has committed records of the same partition.
    #[error("another writer has moved on: {key} is at {}, expected {}", told(stored), told(expected))]
    PositionMoved {
        /// Which position.
        key: PartitionId,
        /// Where the store has it; `None` if it has none.
        stored: Option<String>,
        /// Where the batch begins.
        expected: Option<String>,
    },
    /// A sender or a row is not as it was when the batch was made.
    #[error("another writer has moved on: {detail}")]
    Fenced {
        /// What differs.
        detail: String,
    },
    /// The store was written by a newer turnmill.
    #[error("the database has schema version {found} and this turnmill knows {known}: use a newer turnmill")]
    Newer {
        /// Version found.
        found: u32,
        /// Newest version known.
        known: u32,
    },
    /// The store was filled with other settings.
    #[error(
        "the store was filled with {setting} = {stored}, now it is {configured}: restore the setting, \
         or make the rows again with `turnmill rebuild`"
    )]
    Settings {
        /// Name of the setting.
        setting: &'static str,
        /// Its value when the store was filled.
        stored: String,
        /// Its value now.
        configured: String,
    },
    /// The store cannot be used as it is.
    #[error("{detail}")]
    Unusable {
        /// What is wrong and what to change.
        detail: String,
        /// The driver's error.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// What the store holds contradicts itself.
    #[error("the store is damaged: {detail}")]
    Damaged {
        /// What was found.
        detail: String,
    },
}

impl StoreError {
    /// Rows are being made again with other settings, so for now they fit none.
    #[must_use]
    pub fn rebuild_under_way() -> Self {
        let detail = "a rebuild with other settings or another version is not finished: run `turnmill rebuild` with them";
        Self::Unusable { detail: detail.into(), source: None }
    }

    /// The patterns have the revision `found` and not the one that was expected.
    #[must_use]
    pub fn patterns_changed(found: u64, expected: u64) -> Self {
        Self::Fenced { detail: format!("the patterns have revision {found}, expected {expected}") }
    }

    /// The class, which decides how to go on.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Unavailable { .. } | Self::TimeLimit { .. } => Class::Retryable { after: None },
            Self::Refused { .. } => Class::Poison,
            Self::PositionMoved { .. } | Self::Fenced { .. } => Class::Fenced,
            Self::Newer { .. } | Self::Settings { .. } | Self::Unusable { .. } | Self::Damaged { .. } => {
                Class::Fatal
            }
        }
    }
}

/// A position as an error shows it.
fn told(position: &Option<String>) -> &str {
    position.as_deref().unwrap_or("no position")
}

impl From<turnmill_engine::UnreadableState> for StoreError {
    fn from(error: turnmill_engine::UnreadableState) -> Self {
        Self::Damaged { detail: error.to_string() }
    }
}
