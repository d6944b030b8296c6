//! Receivers of row changes.

use std::future::{Future, ready};

use crate::Class;
use crate::outbox::ChangeBatch;

/// Receives the row changes of every transaction. It has one required method.
///
/// # Protocol
///
/// - A runner (`OutboxRunner` of `turnmill-pipeline`) calls [`write`](Self::write) with one batch
///   at a time, and waits until it returns. Ingest does not wait.
/// - Batches come in commit order. The first ones of a new sink are pages of a snapshot, which
///   begins with [`Operation::Reset`](crate::outbox::Operation::Reset).
/// - `Ok` means that the batch is durable. The sink's position moves after one or more batches.
///   After a crash, or while the store is unavailable, the batches after the position are repeated:
///   in the same order and with the same content.
/// - After an error of class [`Retryable`](Class::Retryable) or [`Fenced`](Class::Fenced), the
///   runner writes the same batch again after a pause, without limit. [`Poison`](Class::Poison)
///   means that the sink can never accept a change. The runner then stops, or it skips that change
///   and writes the rest of the batch again; this is a setting. [`Fatal`](Class::Fatal) ends the
///   runner.
///
/// ```
/// use turnmill_sink::outbox::{ChangeBatch, Operation};
/// use turnmill_sink::{Sink, SinkError};
///
/// /// Counts user messages.
/// #[derive(Default)]
/// struct Count(usize);
///
/// impl Sink for Count {
///     async fn write(&mut self, batch: &ChangeBatch) -> Result<(), SinkError> {
///         let new = |row: &turnmill_sink::outbox::RowChange<'_>| {
///             row.table == "rasa_user_message" && row.operation == Operation::Put
///         };
///         self.0 += batch.rows().filter(new).count();
///         Ok(())
///     }
/// }
///
/// // A closure is a sink as well.
/// fn is_sink(_: impl Sink) {}
/// is_sink(Count::default());
/// is_sink(|batch: &ChangeBatch| {
///     batch.rows().for_each(|row| eprintln!("{row:?}"));
///     Ok(())
/// });
/// ```
pub trait Sink: Send {
    /// Writes one batch. After a retryable error, the same batch is written again.
    ///
    /// # Errors
    ///
    /// Returns an error whose [`Class`] says what the runner does next.
    fn write(&mut self, batch: &ChangeBatch) -> impl Future<Output = Result<(), SinkError>> + Send;
}

impl<F: FnMut(&ChangeBatch) -> Result<(), SinkError> + Send> Sink for F {
    fn write(&mut self, batch: &ChangeBatch) -> impl Future<Output = Result<(), SinkError>> + Send {
        ready(self(batch))
    }
}

/// Why a sink could not write a batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct SinkError {
    /// What to do about it.
    pub class: Class,
    /// What happened.
    pub detail: String,
    /// For [`Class::Poison`]: number of the refused change in [`ChangeBatch::rows`], or `None` if
    /// the whole batch is refused.
    pub change: Option<usize>,
}

impl SinkError {
    /// Creates a transient error.
    pub fn retryable(detail: impl Into<String>) -> Self {
        Self { class: Class::Retryable { after: None }, detail: detail.into(), change: None }
    }

    /// Creates an error for a change that the sink can never accept: number `change` of
    /// [`ChangeBatch::rows`], or the whole batch if there is no number.
    pub fn refused(change: impl Into<Option<usize>>, detail: impl Into<String>) -> Self {
        Self { class: Class::Poison, detail: detail.into(), change: change.into() }
    }

    /// Creates an error that an operator has to fix; `detail` says how.
    pub fn fatal(detail: impl Into<String>) -> Self {
        Self { class: Class::Fatal, detail: detail.into(), change: None }
    }
}
