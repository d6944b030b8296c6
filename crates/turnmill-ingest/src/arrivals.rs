//! Records that arrived together, decoded.

use std::collections::HashMap;

use turnmill_model::{Decoder, Event, Record, Refused, SenderId};
use turnmill_sink::{Chunk, DeadLetter};

/// Records in their order of arrival, with the events that they gave.
///
/// ```
/// use turnmill_formats::rasa::RasaDecoder;
/// use turnmill_model::{Record, Settings};
/// use turnmill_ingest::Arrivals;
/// let decoder = RasaDecoder::new(&Settings::default());
/// let mut arrivals = Arrivals::default();
/// arrivals.push(&decoder, Record { payload: b"not JSON", ..Record::default() });
/// arrivals.push(&decoder, Record { payload: b"  ", ..Record::default() });
/// assert_eq!((arrivals.events().len(), arrivals.refused().len(), arrivals.skipped()), (0, 1, 1));
/// ```
#[derive(Debug, Default)]
pub struct Arrivals<'a> {
    pub(crate) records: Vec<Record<'a>>,
    pub(crate) events: Vec<Event<'a>>,
    /// For each event the number of its record.
    pub(crate) record_of: Vec<usize>,
    pub(crate) refused: Vec<(usize, Refused)>,
    pub(crate) skipped: usize,
    pub(crate) packed: Option<Packed>,
}

/// The senders' events as the history keeps them.
#[derive(Debug)]
pub(crate) struct Packed {
    /// Name of the decoder.
    pub(crate) decoder: &'static str,
    /// Number of events, and the chunks that hold them.
    pub(crate) chunks: HashMap<SenderId, (usize, Vec<Chunk>)>,
}

impl<'a> Arrivals<'a> {
    /// Decodes the next record.
    pub fn push(&mut self, decoder: &dyn Decoder, record: Record<'a>) {
        let number = self.records.len();
        self.packed = None;
        self.records.push(record);
        let before = self.events.len();
        match decoder.decode(&record, &mut self.events) {
            Err(refused) => self.refused.push((number, refused)),
            Ok(()) if self.events.len() == before => self.skipped += 1,
            Ok(()) => self.record_of.resize(self.events.len(), number),
        }
    }

    /// The next record, refused before decoding.
    pub fn push_refused(&mut self, record: Record<'a>, refused: Refused) {
        self.refused.push((self.records.len(), refused));
        self.records.push(record);
    }

    /// The next record, which is no event.
    pub fn push_skipped(&mut self) {
        self.records.push(Record::default());
        self.skipped += 1;
    }

    /// The chunks of a sender, if they were packed from so many events: some of them may turn out to be stored already.
    pub(crate) fn packed(&self, decoder: &str, sender: SenderId, events: usize) -> Option<&[Chunk]> {
        let packed = self.packed.as_ref().filter(|packed| packed.decoder == decoder)?;
        let (of, chunks) = packed.chunks.get(&sender)?;
        (*of == events).then_some(chunks)
    }

    /// Some of the events, with their numbers.
    pub(crate) fn numbered<'s>(
        &'s self,
        numbers: &'s [usize],
    ) -> impl Iterator<Item = (usize, &'s Event<'a>)> {
        numbers.iter().filter_map(|number| Some((*number, self.events.get(*number)?)))
    }

    /// The record of event number `event`.
    pub(crate) fn record(&self, event: usize) -> Record<'a> {
        self.record_of.get(event).and_then(|record| self.records.get(*record)).copied().unwrap_or_default()
    }

    /// Number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The events.
    #[must_use]
    pub fn events(&self) -> &[Event<'a>] {
        &self.events
    }

    /// The refused records, by number.
    #[must_use]
    pub fn refused(&self) -> &[(usize, Refused)] {
        &self.refused
    }

    /// Number of records that are no events.
    #[must_use]
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// Forgets everything and keeps the memory of nothing: the records' buffers are free again.
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
/// Implemented by what read the records. Called inside [`Ingest::ingest`](crate::Ingest::ingest), once the transaction has
/// been applied and before it is written, for each refused record in ascending order; when the transaction is retried it is
/// called again, with the same answer expected. It must not wait and cannot fail. `tests` and examples without envelopes
/// need no more than the payload:
///
/// ```
/// use turnmill_ingest::MakeDeadLetter;
/// use turnmill_model::{PartitionId, Refused, SourceFactsBuf};
/// use turnmill_sink::DeadLetter;
///
/// struct Lines<'l>(&'l [&'l str]);
///
/// impl MakeDeadLetter for Lines<'_> {
///     fn dead_letter(&self, record: usize, refused: &Refused) -> DeadLetter {
///         DeadLetter {
///             id: 0,
///             key: PartitionId::new("example", "lines"),
///             place: record.to_string(),
///             reason: refused.reason,
///             detail: refused.detail.clone(),
///             payload: self.0.get(record).map_or_else(Vec::new, |line| line.as_bytes().to_vec()),
///             sender: None,
///             time: None,
///             environment: None,
///             row: None,
///             facts: SourceFactsBuf::default(),
///             record_key: None,
///             headers: Vec::new(),
///         }
///     }
/// }
/// ```
pub trait MakeDeadLetter {
    /// The dead letter for record number `record`, refused as `refused` says.
    fn dead_letter(&self, record: usize, refused: &Refused) -> DeadLetter;
}
