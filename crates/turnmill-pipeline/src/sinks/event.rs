//! Events and errors of a runner.

use std::time::Duration;

use turnmill_sink::outbox::{ChangeBatch, SinkState};
use turnmill_sink::{SinkError, StoreError};

/// What happens to a change that a sink refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnRefusal {
    /// The runner stops with [`OutboxError::Refused`]. The outbox keeps later changes, up to the
    /// sink's bound.
    #[default]
    Stop,
    /// The change is skipped, reported and counted; the rest of its batch is written again.
    Skip,
}

/// Event of a runner.
#[derive(Debug)]
#[non_exhaustive]
pub enum SinkEvent<'e> {
    /// The sink has written a batch.
    Delivered {
        /// The batch.
        batch: &'e ChangeBatch,
        /// Time taken.
        took: Duration,
    },
    /// Progress of the sink, about once a second.
    Progress {
        /// State of the sink.
        state: &'e SinkState,
    },
    /// The sink failed; the batch is retried.
    Retrying {
        /// The batch.
        batch: &'e ChangeBatch,
        /// Error.
        error: &'e SinkError,
        /// Pause before the next attempt.
        pause: Duration,
    },
    /// A change was skipped, because the sink refused it.
    Skipped {
        /// The change and the reason: always [`OutboxError::Refused`].
        refused: &'e OutboxError,
    },
    /// The store failed and is retried.
    StoreRetrying {
        /// Error.
        error: &'e StoreError,
        /// Pause before the next attempt.
        pause: Duration,
    },
    /// Another process writes to the sink.
    Standby,
}

/// Why a runner ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The sink refused a change.
    #[error("sink `{sink}` refused {} of batch {batch}: {detail}", named(change))]
    Refused {
        /// The sink.
        sink: String,
        /// Batch.
        batch: String,
        /// Operation, table and key; `None` if the whole batch was refused.
        change: Option<String>,
        /// Why.
        detail: String,
    },
    /// The sink failed with an error that an operator has to fix.
    #[error("sink `{sink}` failed at batch {batch}: {detail}")]
    Sink {
        /// The sink.
        sink: String,
        /// Batch.
        batch: String,
        /// Error.
        detail: String,
    },
    /// The thread of a sink could not be started, or it panicked.
    #[error("the thread of sink `{sink}` failed")]
    Thread {
        /// The sink.
        sink: String,
        /// Why.
        source: std::io::Error,
    },
    /// The sink was removed from the store.
    #[error("sink `{sink}` was removed from the store")]
    Removed {
        /// The sink.
        sink: String,
    },
}

fn named(change: &Option<String>) -> String {
    change.as_ref().map_or_else(|| "all".into(), |change| format!("`{change}`"))
}
