//! Errors of stores and sinks. The class of an error decides how the pipeline goes on, never its
//! message.

use std::time::Duration;
use turnmill_model::PartitionId;

/// The class of an error, which tells how to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It may pass (connection lost, lock held, disk full). The same batch is retried later.
    Retryable {
        /// Least time to wait, if the store knows one.
        after: Option<Duration>,
    },
    /// A row of the batch can never be written. The batch is written without the record at fault,
    /// which becomes a dead letter.
    Poison,
    /// An operator has to change something first; the message names it.
    Fatal,
    /// Another writer has committed meanwhile. Cached state is out of date and has to be loaded
    /// again.
    Fenced,
}

/// The error of a call to a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store cannot be reached, or is busy.
    #[error("the store is not available: {detail}")]
    Unavailable {
        /// What was attempted, for people.
        detail: String,
        /// The driver's error.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The store has cancelled a statement that took too long. Smaller batches may be fast enough.
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
    /// The stored position is not where the batch begins: another writer has committed records of
    /// the partition.
    #[error("another writer has committed: {key} is at {}, expected {}", shown(stored), shown(expected))]
    PositionMoved {
        /// The partition.
        key: PartitionId,
        /// The stored position; `None` if there is none.
        stored: Option<String>,
        /// The position at which the batch begins.
        expected: Option<String>,
    },
    /// A sender or a row has changed since the batch was made.
    #[error("another writer has committed: {detail}")]
    Fenced {
        /// What differs.
        detail: String,
    },
    /// The store was written by a newer turnmill.
    #[error(
        "the store has schema version {found}, and this turnmill supports versions up to {known}: use a newer turnmill"
    )]
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
    #[error(
        "the store is damaged: {detail}; `turnmill verify` lists all findings, and `turnmill rebuild` makes lost rows \
         again from an intact history"
    )]
    Damaged {
        /// What was found.
        detail: String,
    },
}

impl StoreError {
    /// Returns the error for a store whose rebuild with other settings is not finished. Its rows
    /// fit no settings for now.
    #[must_use]
    pub fn rebuild_under_way() -> Self {
        let detail = "a rebuild with other settings or another version is not finished: run `turnmill rebuild` with them";
        Self::Unusable { detail: detail.into(), source: None }
    }

    /// Returns the error for patterns of revision `found` where `expected` was required.
    #[must_use]
    pub fn patterns_changed(found: u64, expected: u64) -> Self {
        Self::Fenced { detail: format!("the patterns have revision {found}, expected {expected}") }
    }

    /// Returns the class, which decides how to go on.
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

/// Formats a position for a message.
fn shown(position: &Option<String>) -> &str {
    position.as_deref().unwrap_or("no position")
}

impl From<turnmill_engine::UnreadableState> for StoreError {
    fn from(error: turnmill_engine::UnreadableState) -> Self {
        Self::Damaged { detail: error.to_string() }
    }
}
