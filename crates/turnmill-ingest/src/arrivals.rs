//! Decodes records that arrived together.

use std::collections::HashMap;

use turnmill_model::{Decoders, Event, Record, Refused, SenderId};
use turnmill_sink::{Chunk, DeadLetter};

/// Holds records in their order of arrival, with the events that they gave.
///
/// ```
/// use turnmill_model::{Record, Settings};
/// use turnmill_ingest::Arrivals;
/// let decoders = turnmill_formats::shipped(&Settings::default());
/// let mut arrivals = Arrivals::default();
/// arrivals.push(&decoders, Record { payload: b"not JSON", ..Record::default() });
/// arrivals.push(&decoders, Record { payload: b"  ", ..Record::default() });
/// assert_eq!((arrivals.events().len(), arrivals.refused().len(), arrivals.skipped()), (0, 1, 1));
/// ```
#[derive(Debug, Default)]
pub struct Arrivals<'a> {
    pub(crate) records: Vec<Record<'a>>,
    pub(crate) events: Vec<Event<'a>>,
    /// For each event the number of its record.
    pub(crate) record_of: Vec<usize>,
    pub(crate) refused: Vec<RefusedRecord>,
    pub(crate) skipped: usize,
    pub(crate) packed: Option<Packed>,
}

/// A record that was refused, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct RefusedRecord {
    /// Number of the record in its batch, from 0.
    pub record: usize,
    /// The reason.
    pub refused: Refused,
}

/// Holds the senders' events as the history keeps them, packed ahead.
#[derive(Debug)]
pub(crate) struct Packed {
    /// Number of events, and the chunks that hold them.
    pub(crate) chunks: HashMap<SenderId, (usize, Vec<Chunk>)>,
}

impl<'a> Arrivals<'a> {
    /// Decodes the next record, with the decoder that its source names.
    pub fn push(&mut self, decoders: &Decoders, mut record: Record<'a>) {
        let number = self.records.len();
        self.packed = None;
        let before = self.events.len();
        match decoders.decode(&record, &mut self.events) {
            Err(refused) => self.refused.push(RefusedRecord { record: number, refused }),
            Ok(_) if self.events.len() == before => self.skipped += 1,
            Ok(decoder) => {
                // The history names the decoder, also if it was the default one.
                record.facts.decoder = Some(decoder);
                self.record_of.resize(self.events.len(), number);
            }
        }
        self.records.push(record);
    }

    /// Adds the next record, which was refused before decoding.
    pub fn push_refused(&mut self, record: Record<'a>, refused: Refused) {
        self.refused.push(RefusedRecord { record: self.records.len(), refused });
        self.records.push(record);
    }

    /// Adds the next record, which is no event.
    pub fn push_skipped(&mut self) {
        self.records.push(Record::default());
        self.skipped += 1;
    }

    /// Returns the chunks of a sender if they were packed from exactly this number of events. If
    /// some events turn out to be stored already, the numbers differ.
    pub(crate) fn packed(&self, sender: SenderId, events: usize) -> Option<&[Chunk]> {
        let (of, chunks) = self.packed.as_ref()?.chunks.get(&sender)?;
        (*of == events).then_some(chunks)
    }

    /// Returns the events with these numbers.
    pub(crate) fn numbered<'s>(
        &'s self,
        numbers: &'s [usize],
    ) -> impl Iterator<Item = (usize, &'s Event<'a>)> {
        numbers.iter().filter_map(|number| Some((*number, self.events.get(*number)?)))
    }

    /// Returns the record of event number `event`.
    pub(crate) fn record(&self, event: usize) -> Record<'a> {
        self.record_of.get(event).and_then(|record| self.records.get(*record)).copied().unwrap_or_default()
    }

    /// Returns the number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Returns whether there are no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Returns the events.
    #[must_use]
    pub fn events(&self) -> &[Event<'a>] {
        &self.events
    }

    /// Returns the refused records.
    #[must_use]
    pub fn refused(&self) -> &[RefusedRecord] {
        &self.refused
    }

    /// Returns the number of records that are no events.
    #[must_use]
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// Removes all records, so that their buffers are free again. Allocated memory is kept.
    pub fn clear(&mut self) {
        self.records.clear();
        self.events.clear();
        self.record_of.clear();
        self.refused.clear();
        self.skipped = 0;
        self.packed = None;
    }
}

/// Makes dead letters of the records of a batch, with the place that they came from.
///
/// The reader of the records implements it. [`Ingest::ingest`](crate::Ingest::ingest) calls it for
/// each refused record, in ascending order, after the events are applied and before the batch is
/// written. When the transaction is retried it is called again, and has to return the same. It must
/// not block and cannot fail. If the records have no envelope, the payload is enough:
///
/// ```
/// use turnmill_ingest::MakeDeadLetter;
/// use turnmill_model::{PartitionId, Record, Refused};
/// use turnmill_sink::DeadLetter;
///
/// struct Lines<'l>(&'l [&'l str]);
///
/// impl MakeDeadLetter for Lines<'_> {
///     fn dead_letter(&self, record: usize, refused: &Refused) -> DeadLetter {
///         let line = Record { payload: self.0[record].as_bytes(), ..Record::default() };
///         DeadLetter::new(&PartitionId::new("example", "lines"), &record.to_string(), &line, refused)
///     }
/// }
/// ```
pub trait MakeDeadLetter {
    /// Returns the dead letter of record number `record`, which was refused for the reason in
    /// `refused`.
    fn dead_letter(&self, record: usize, refused: &Refused) -> DeadLetter;
}
