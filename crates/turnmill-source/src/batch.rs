//! What a source hands over: a batch of records in one buffer.

use std::fmt;

use turnmill_model::{Record, Refused};

use crate::scan::Span;
use crate::source::Opened;
use crate::{Partition, Position};

/// The header whose value becomes [`SourceRecord::environment`].
pub const ENVIRONMENT_HEADER: &str = "RASA_ENVIRONMENT";

/// What a source could make of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordOutcome<'a> {
    /// The payload is an event body, to be decoded.
    Body,
    /// The envelope cannot be read; the payload is the original bytes, for the dead letters.
    Refused(&'a Refused),
    /// No event and no fault: a blank line, a null or blank value. It counts as one record.
    Skipped,
}

/// Where a record stood in Kafka before it was dumped into a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition's number.
    pub partition: i32,
    /// The record's offset in its partition.
    pub offset: i64,
}

/// One record of a [`RecordBatch`].
#[derive(Clone, Copy, Debug)]
pub struct SourceRecord<'a> {
    /// The event body, or of a refused record the original bytes.
    pub payload: &'a [u8],
    /// The sender, where the envelope names one.
    pub sender: Option<&'a str>,
    /// The record's own time in Unix seconds.
    pub time: Option<f64>,
    /// Value of the last `RASA_ENVIRONMENT` header.
    pub environment: Option<&'a str>,
    /// The Kafka key.
    pub key: Option<&'a [u8]>,
    /// The Kafka headers.
    pub headers: Headers<'a>,
    /// Where the record stood in Kafka.
    pub origin: Option<Origin<'a>>,
    /// The record's place in its partition, to name it to people: uncompressed byte offset at which it begins, row
    /// id, Kafka offset. All elements of one tracker dump have their own.
    pub offset: u64,
    /// What to do with the record.
    pub outcome: RecordOutcome<'a>,
}

impl<'a> SourceRecord<'a> {
    /// The record as a decoder takes it.
    #[must_use]
    pub fn record(&self) -> Record<'a> {
        Record { payload: self.payload, sender: self.sender, time: self.time, environment: self.environment }
    }
}

/// A record to put into a batch, for sources outside of this crate: see [`RecordBatch::push`].
#[derive(Clone, Copy, Debug, Default)]
pub struct NewRecord<'a> {
    /// The value; `None` (null, a tombstone) and blank ones are skipped.
    pub payload: Option<&'a [u8]>,
    /// The sender, where the envelope names one.
    pub sender: Option<&'a str>,
    /// The record's own time in Unix seconds.
    pub time: Option<f64>,
    /// The Kafka key.
    pub key: Option<&'a [u8]>,
    /// The Kafka headers; the environment is taken from them.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
    /// Where the record stood in Kafka.
    pub origin: Option<Origin<'a>>,
    /// The record's place in its partition.
    pub offset: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    Body,
    Skipped,
    /// Index into `refused`.
    Refused(usize),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Meta {
    pub(crate) payload: Span,
    pub(crate) offset: u64,
    pub(crate) outcome: Outcome,
    /// Index into `envelopes`.
    pub(crate) envelope: Option<usize>,
}

/// What the envelope said; only formats that have one pay for it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Envelope {
    pub(crate) sender: Option<Span>,
    pub(crate) time: Option<f64>,
    pub(crate) environment: Option<Span>,
    pub(crate) key: Option<Span>,
    /// Range of `headers`.
    pub(crate) headers: (usize, usize),
    pub(crate) origin: Option<(Span, i32, i64)>,
}

/// A batch of records of one partition, in order, in one shared buffer that is used again and again.
///
/// ```
/// use turnmill_source::{NewRecord, Partition, Position, RecordBatch, RecordOutcome};
///
/// let mut batch = RecordBatch::new();
/// batch.start(&Partition::new("cluster", "rasa-events/3"), Some(&Position::at(77)));
/// batch.push(&NewRecord { payload: Some(br#"{"event": "restart"}"#), offset: 78, ..NewRecord::default() });
/// batch.push(&NewRecord { payload: None, offset: 79, ..NewRecord::default() });
/// batch.finish(Some(Position::at(79)));
///
/// assert_eq!(batch.len(), 2);
/// assert_eq!(batch.iter().nth(1).map(|record| record.outcome), Some(RecordOutcome::Skipped));
/// ```
#[derive(Clone, Debug, Default)]
pub struct RecordBatch {
    pub(crate) partition: Partition,
    pub(crate) from: Option<Position>,
    pub(crate) to: Option<Position>,
    pub(crate) opened: Option<Opened>,
    /// The input as it was read, texts of envelopes unescaped in place.
    pub(crate) bytes: Vec<u8>,
    pub(crate) metas: Vec<Meta>,
    pub(crate) envelopes: Vec<Envelope>,
    pub(crate) headers: Vec<(Span, Option<Span>)>,
    pub(crate) refused: Vec<Refused>,
}

impl RecordBatch {
    /// An empty batch; it allocates when it is filled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The partition that the records are of.
    #[must_use]
    pub fn partition(&self) -> &Partition {
        &self.partition
    }

    /// The position that a store must still hold when this batch is committed: that of the batch before, or the one
    /// the source was opened with (also if the file turned out to be another one). `None` if there was none, and
    /// always for standard input, which has no positions.
    #[must_use]
    pub fn from(&self) -> Option<&Position> {
        self.from.as_ref()
    }

    /// The position behind the last record, to be stored together with what the records became. `None` for standard
    /// input. A batch without records ends where it began.
    #[must_use]
    pub fn to(&self) -> Option<&Position> {
        self.to.as_ref()
    }

    /// How the file was opened, if this is its first batch with records: [`Opened::Replaced`] is worth a warning.
    #[must_use]
    pub fn opened(&self) -> Option<Opened> {
        self.opened
    }

    /// Number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.metas.len()
    }

    /// Whether there are no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.metas.is_empty()
    }

    /// Number of uncompressed input bytes that the batch covers.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes that the batch's buffer has allocated, used or not.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// The records in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = SourceRecord<'_>> + DoubleEndedIterator + Clone {
        self.metas.iter().map(|meta| self.record(meta))
    }

    /// The record number `index`, counted from 0.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<SourceRecord<'_>> {
        self.metas.get(index).map(|meta| self.record(meta))
    }

    fn record(&self, meta: &Meta) -> SourceRecord<'_> {
        let envelope = meta.envelope.and_then(|index| self.envelopes.get(index)).copied().unwrap_or_default();
        let (first, end) = envelope.headers;
        SourceRecord {
            payload: meta.payload.of(&self.bytes),
            sender: envelope.sender.map(|span| self.text(span)),
            time: envelope.time,
            environment: envelope.environment.map(|span| self.text(span)),
            key: envelope.key.map(|span| span.of(&self.bytes)),
            headers: Headers { pairs: self.headers.get(first..end).unwrap_or_default(), bytes: &self.bytes },
            origin: envelope.origin.map(|(topic, partition, offset)| Origin {
                topic: self.text(topic),
                partition,
                offset,
            }),
            offset: meta.offset,
            outcome: match meta.outcome {
                Outcome::Body => RecordOutcome::Body,
                Outcome::Skipped => RecordOutcome::Skipped,
                Outcome::Refused(index) => match self.refused.get(index) {
                    Some(refused) => RecordOutcome::Refused(refused),
                    None => RecordOutcome::Body,
                },
            },
        }
    }

    fn text(&self, span: Span) -> &str {
        text(&self.bytes, span)
    }

    /// Empties the batch and begins a new one of `partition` behind the position `from`.
    pub fn start(&mut self, partition: &Partition, from: Option<&Position>) {
        if self.partition != *partition {
            self.partition.clone_from(partition);
        }
        self.from = from.cloned();
        self.to = from.cloned();
        self.opened = None;
        self.bytes.clear();
        self.metas.clear();
        self.envelopes.clear();
        self.headers.clear();
        self.refused.clear();
    }

    /// Appends a record, copying its parts into the batch's buffer.
    pub fn push(&mut self, new: &NewRecord<'_>) {
        let payload = self.keep(new.payload.unwrap_or_default());
        let sender = new.sender.map(|sender| self.keep(sender.as_bytes()));
        let key = new.key.map(|key| self.keep(key));
        let first = self.headers.len();
        for (name, value) in new.headers {
            let name = self.keep(name.as_bytes());
            let value = value.map(|value| self.keep(value));
            self.headers.push((name, value));
        }
        let environment =
            new.headers.iter().rev().find(|(name, _)| *name == ENVIRONMENT_HEADER).and_then(|(_, value)| {
                value.map(|value| self.keep(String::from_utf8_lossy(value).as_bytes()))
            });
        let origin =
            new.origin.map(|origin| (self.keep(origin.topic.as_bytes()), origin.partition, origin.offset));
        let envelope = Envelope {
            sender,
            time: new.time,
            environment,
            key,
            headers: (first, self.headers.len()),
            origin,
        };
        self.envelopes.push(envelope);
        let outcome = if is_blank(payload.of(&self.bytes)) { Outcome::Skipped } else { Outcome::Body };
        let envelope = Some(self.envelopes.len() - 1);
        self.metas.push(Meta { payload, offset: new.offset, outcome, envelope });
    }

    /// Ends the batch at the position `to`.
    pub fn finish(&mut self, to: Option<Position>) {
        self.to = to;
    }

    /// Says that this is the first batch since the partition was opened in the way `opened`.
    pub fn set_opened(&mut self, opened: Opened) {
        self.opened = Some(opened);
    }

    fn keep(&mut self, part: &[u8]) -> Span {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(part);
        Span::new(start, self.bytes.len())
    }

    pub(crate) fn refuse(&mut self, payload: Span, offset: u64, refused: Refused) {
        self.refused.push(refused);
        let outcome = Outcome::Refused(self.refused.len() - 1);
        self.metas.push(Meta { payload, offset, outcome, envelope: None });
    }
}

/// Whether there is nothing but white space.
pub(crate) fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_whitespace)
}

fn text(bytes: &[u8], span: Span) -> &str {
    // Texts were checked when the envelope was read.
    std::str::from_utf8(span.of(bytes)).unwrap_or_default()
}

/// The headers of a record in their order: names and values, null values as `None`.
#[derive(Clone, Copy)]
pub struct Headers<'a> {
    pairs: &'a [(Span, Option<Span>)],
    bytes: &'a [u8],
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a str, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let ((name, value), rest) = self.pairs.split_first()?;
        self.pairs = rest;
        Some((text(self.bytes, *name), value.map(|value| value.of(self.bytes))))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.pairs.len(), Some(self.pairs.len()))
    }
}

impl ExactSizeIterator for Headers<'_> {}

impl fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.map(|(name, value)| (name, value.map(String::from_utf8_lossy)))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_environment_header_counts() {
        let mut batch = RecordBatch::new();
        batch.start(&Partition::new("k", "t/0"), None);
        let headers: &[(&str, Option<&[u8]>)] = &[
            (ENVIRONMENT_HEADER, Some(b"staging")),
            ("traceparent", None),
            (ENVIRONMENT_HEADER, Some(b"prod\xff")),
        ];
        batch.push(&NewRecord { payload: Some(b"{}"), headers, ..NewRecord::default() });
        let record = batch.get(0).unwrap();
        assert_eq!(record.environment, Some("prod\u{fffd}"));
        assert_eq!(record.headers.collect::<Vec<_>>(), headers);
        assert_eq!(record.record().payload, b"{}");
    }

    #[test]
    fn starting_again_forgets_everything() {
        let mut batch = RecordBatch::new();
        batch.start(&Partition::new("a", "b"), Some(&Position::at(1)));
        batch.push(&NewRecord { payload: Some(b" \n"), ..NewRecord::default() });
        assert_eq!(batch.get(0).map(|record| record.outcome), Some(RecordOutcome::Skipped));
        batch.start(&Partition::new("c", "d"), None);
        assert!(batch.is_empty() && batch.from().is_none() && batch.bytes() == 0);
        assert_eq!(batch.partition().source, "c");
    }
}
