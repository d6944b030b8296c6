//! Retries a dead letter.

use turnmill_ingest::{Accounting, Arrivals, Ingest, MakeDeadLetter, RefusedRecord};
use turnmill_model::{Record, Refused};
use turnmill_sink::{DeadLetter, Store, StoreError};

/// The result of a retry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retried {
    /// It is an event now, or a duplicate of one.
    Landed,
    /// It is refused again, and stays a dead letter.
    Refused(Refused),
}

struct SameRecord<'l>(&'l DeadLetter);

impl MakeDeadLetter for SameRecord<'_> {
    fn dead_letter(&self, _record: usize, refused: &Refused) -> DeadLetter {
        DeadLetter { reason: refused.reason, detail: refused.detail.clone(), ..self.0.clone() }
    }
}

/// Takes `letter` through `store` once more. In one transaction it moves from the dead letters to
/// the events or duplicates, or nothing changes. `time`, in Unix seconds, is the time of an event
/// that has no usable timestamp.
///
/// # Errors
///
/// Returns the errors of the store, except a refusal of the record.
pub async fn retry_dead_letter<S: Store>(
    store: &mut S,
    ingest: &mut Ingest,
    letter: &DeadLetter,
    time: Option<f64>,
) -> Result<Retried, StoreError> {
    let record = letter.record();
    let record = Record { time: time.or(record.time), ..record };
    let mut arrivals = Arrivals::default();
    arrivals.push(ingest.decoders(), record);
    if let Some(RefusedRecord { refused, .. }) = arrivals.refused().first() {
        return Ok(Retried::Refused(refused.clone()));
    }
    let accounting = Accounting::Retry { source: &letter.key.source, letter: letter.id };
    let report = ingest.ingest(store, &arrivals, &[], &accounting, &SameRecord(letter)).await?;
    if report.counts.dead_letters == 0 {
        Ok(Retried::Landed)
    } else {
        Ok(Retried::Refused(Refused::new(letter.reason, letter.detail.clone())))
    }
}
