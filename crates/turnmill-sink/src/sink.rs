//! Somewhere else to put the changes.

use std::future::{Future, ready};

use crate::Class;
use crate::outbox::ChangeBatch;

/// Somewhere else to put the changes: one required method.
///
/// # Protocol
///
/// - A runner (`OutboxRunner` of `turnmill-pipeline`) calls [`write`](Self::write) with one batch at a time, each after the one
///   before has been written. Only `write` waits; ingest does not.
/// - Batches come in the order of the commits. The first ones of a new sink are pages of a snapshot, which begins with
///   [`Operation::Reset`](crate::outbox::Operation::Reset).
/// - Returning `Ok` means that the batch is safe. The sink's position moves later, after one or more batches. So the batches since
///   then come again, in the same order and with the same content, when the process was killed or the store was away.
/// - An error of class [`Retryable`](Class::Retryable) or [`Fenced`](Class::Fenced) brings the same batch again after a pause,
///   without end. [`Poison`](Class::Poison) says that the sink can never take a change: by setting, the runner stops, or it skips
///   that change and brings the rest of the batch again. [`Fatal`](Class::Fatal) ends the runner.
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
    /// Writes one batch. An error of class retryable brings the same batch again.
    ///
    /// # Errors
    ///
    /// By [`Class`].
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
    /// Of [`Class::Poison`]: number of the change in [`ChangeBatch::rows`] that is refused; `None`: the batch as a whole.
    pub change: Option<usize>,
}

impl SinkError {
    /// It may pass by itself.
    pub fn retryable(detail: impl Into<String>) -> Self {
        Self { class: Class::Retryable { after: None }, detail: detail.into(), change: None }
    }

    /// The sink can never take the change number `change` of [`ChangeBatch::rows`], or the batch as a whole.
    pub fn refused(change: impl Into<Option<usize>>, detail: impl Into<String>) -> Self {
        Self { class: Class::Poison, detail: detail.into(), change: change.into() }
    }

    /// A person has to change something first; `detail` names what.
    pub fn fatal(detail: impl Into<String>) -> Self {
        Self { class: Class::Fatal, detail: detail.into(), change: None }
    }
}
