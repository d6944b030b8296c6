//! What a runner tells, and how it ends.

use std::time::Duration;

use turnmill_sink::outbox::{ChangeBatch, SinkState};
use turnmill_sink::{SinkError, StoreError};

/// What happens to a change that a sink refuses for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnRefusal {
    /// The runner stops with [`OutboxError::Refused`]. The outbox keeps what comes after, up to the sink's bound.
    #[default]
    Stop,
    /// The change is left out, told and counted; the rest of its batch is given again.
    Skip,
}

/// Something that a runner tells.
#[derive(Debug)]
#[non_exhaustive]
pub enum SinkEvent<'e> {
    /// The sink has written a batch.
    Delivered {
        /// The batch.
        batch: &'e ChangeBatch,
        /// How long it took.
        took: Duration,
    },
    /// Where the sink stands; about once a second.
    Progress {
        /// Its state.
        state: &'e SinkState,
    },
    /// The sink failed and is given the batch again.
    Retrying {
        /// The batch.
        batch: &'e ChangeBatch,
        /// Why.
        error: &'e SinkError,
        /// After how long.
        pause: Duration,
    },
    /// A change was left out, because the sink refuses it for good.
    Skipped {
        /// Which one, and why: always [`OutboxError::Refused`].
        refused: &'e OutboxError,
    },
    /// The store failed and is tried again.
    StoreRetrying {
        /// Why.
        error: &'e StoreError,
        /// After how long.
        pause: Duration,
    },
    /// Another process feeds the sink.
    Standby,
}

/// Why a runner ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// The store cannot go on.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The sink refuses a change for good.
    #[error("the sink `{sink}` refuses {} of batch {batch}: {detail}", named(change))]
    Refused {
        /// The sink.
        sink: String,
        /// Which batch.
        batch: String,
        /// Operation, table and key; `None` if the sink refuses the batch as a whole.
        change: Option<String>,
        /// Why.
        detail: String,
    },
    /// The sink cannot go on until a person changes something.
    #[error("the sink `{sink}` cannot take batch {batch}: {detail}")]
    Sink {
        /// The sink.
        sink: String,
        /// Which batch.
        batch: String,
        /// What is wrong.
        detail: String,
    },
    /// The sink was removed from the store meanwhile.
    #[error("the sink `{sink}` was removed from the store")]
    Removed {
        /// The sink.
        sink: String,
    },
}

fn named(change: &Option<String>) -> String {
    change.as_ref().map_or_else(|| "all".into(), |change| format!("`{change}`"))
}
