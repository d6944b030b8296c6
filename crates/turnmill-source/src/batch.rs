//! What a source hands over: a batch of records in one buffer.

use std::fmt;

use turnmill_model::{Record, Refused, Unwrapped, UnwrappedOutcome};

use crate::scan::Span;
use crate::source::Opened;
use crate::{PartitionId, Position};

/// The header whose value becomes [`SourceRecord::environment`].
pub const ENVIRONMENT_HEADER: &str = "RASA_ENVIRONMENT";

/// How a source classified a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordOutcome<'a> {
    /// The payload is an event body, to be decoded.
    Body,
    /// The envelope cannot be read. The payload is the original bytes, for the dead letters.
    Refused(&'a Refused),
    /// Neither an event nor a fault: a blank line, a null or blank value. It counts as one record.
    Skipped,
}

/// The topic, partition and offset that a record had in Kafka before it was dumped into a file.
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
    /// The event body, or the original bytes of a refused record.
    pub payload: &'a [u8],
    /// The sender, where the envelope names one.
    pub sender: Option<&'a str>,
    /// The record's own time in Unix seconds.
    pub time: Option<f64>,
    /// Value of the last [`ENVIRONMENT_HEADER`].
    pub environment: Option<&'a str>,
    /// The Kafka key.
    pub key: Option<&'a [u8]>,
    /// The Kafka headers.
    pub headers: Headers<'a>,
    /// Topic, partition and offset of the record in Kafka, if known.
    pub origin: Option<Origin<'a>>,
    /// Identifies the record in its partition: the uncompressed byte offset at which it begins, the
    /// row id, or the Kafka offset. Each element of a tracker dump has its own.
    pub offset: u64,
    /// The part of the batch that the record belongs to: an index into [`RecordBatch::parts`].
    pub part: usize,
    /// The number of the table's row, if the record was read from a table.
    pub row: Option<u64>,
    /// What to do with the record.
    pub outcome: RecordOutcome<'a>,
}

impl<'a> SourceRecord<'a> {
    /// Converts the record to what a decoder takes. All sources' records are converted here.
    #[must_use]
    pub fn record(&self) -> Record<'a> {
        Record {
            payload: self.payload,
            sender: self.sender,
            time: self.time,
            environment: self.environment,
            row: self.row.and_then(|row| i64::try_from(row).ok()),
            ..Record::default()
        }
    }
}

/// A record to append to a batch: see [`RecordBatch::push`]. For sources outside of this crate.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewRecord<'a> {
    /// The value. `None` (null, a tombstone) and blank values are skipped.
    pub payload: Option<&'a [u8]>,
    /// The sender, where the envelope names one.
    pub sender: Option<&'a str>,
    /// The record's own time in Unix seconds.
    pub time: Option<f64>,
    /// The Kafka key.
    pub key: Option<&'a [u8]>,
    /// The Kafka headers. The environment is taken from them.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
    /// Topic, partition and offset in Kafka, for a record that was dumped from there earlier.
    pub origin: Option<Origin<'a>>,
    /// The record's offset in its partition.
    pub offset: u64,
    /// The number of the table's row, if the record comes from a table.
    pub row: Option<u64>,
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

/// Values of a record's envelope. Containers without envelopes store none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Envelope {
    /// Index into `parts`.
    pub(crate) part: usize,
    pub(crate) sender: Option<Span>,
    pub(crate) time: Option<f64>,
    pub(crate) environment: Option<Span>,
    pub(crate) key: Option<Span>,
    /// Range of `headers`.
    pub(crate) headers: (usize, usize),
    pub(crate) origin: Option<(Span, i32, i64)>,
    /// The `id` of a table's row.
    pub(crate) row: Option<u64>,
}

/// The share of one partition in a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// The partition.
    pub partition: PartitionId,
    /// The position that the store must still hold when the batch is committed: see
    /// [`RecordBatch::from`].
    pub from: Option<Position>,
    /// The position after the part's last record: see [`RecordBatch::to`].
    pub to: Option<Position>,
    /// How the partition was opened, if this is its first part since then.
    pub opened: Option<Opened>,
    /// For a Kafka partition: the length of the topic's name in `partition.partition`, and the
    /// number.
    topic: Option<(usize, i32)>,
}

impl Part {
    fn origin(&self, offset: u64) -> Option<Origin<'_>> {
        let (len, partition) = self.topic?;
        let topic = self.partition.partition.get(..len)?;
        Some(Origin { topic, partition, offset: i64::try_from(offset).ok()? })
    }
}

/// A batch of records, in order, in one shared buffer that is reused.
///
/// A source with one partition makes batches of one part with [`start`](Self::start),
/// [`push`](Self::push) and [`finish`](Self::finish). Its consumer reads [`from`](Self::from) and
/// [`to`](Self::to).
///
/// ```
/// use turnmill_source::{NewRecord, PartitionId, Position, RecordBatch, RecordOutcome};
///
/// let mut batch = RecordBatch::new();
/// batch.start(&PartitionId::new("cluster", "rasa-events/3"), Some(&Position::at(77)));
/// batch.push(&NewRecord { payload: Some(br#"{"event": "restart"}"#), offset: 78, ..NewRecord::default() });
/// batch.push(&NewRecord { payload: None, offset: 79, ..NewRecord::default() });
/// batch.finish(Some(Position::at(79)));
///
/// assert_eq!(batch.len(), 2);
/// assert_eq!(batch.iter().nth(1).map(|record| record.outcome), Some(RecordOutcome::Skipped));
/// ```
///
/// A batch of a [group](crate::GroupSource) has several parts. Records keep the order in which they
/// were pushed, across parts.
///
/// ```
/// use turnmill_source::{NewRecord, PartitionId, Position, RecordBatch};
///
/// let mut batch = RecordBatch::new();
/// batch.begin(7);
/// let (three, four) = (PartitionId::new("cluster", "rasa-events/3"), PartitionId::new("cluster", "rasa-events/4"));
/// let three = batch.begin_part(&three, Some(&Position::at(78)));
/// let four = batch.begin_part(&four, None);
/// for (part, offset) in [(three, 78), (four, 0), (three, 79)] {
///     batch.push_to(part, &NewRecord { payload: Some(b"{}"), offset, ..NewRecord::default() });
/// }
/// batch.end_part(three, Some(Position::at(80)));
/// batch.end_part(four, Some(Position::at(1)));
///
/// assert_eq!((batch.generation(), batch.len(), batch.parts().len()), (7, 3, 2));
/// assert_eq!(batch.get(1).and_then(|record| record.origin).map(|origin| origin.partition), Some(4));
/// ```
#[derive(Clone, Debug, Default)]
pub struct RecordBatch {
    parts: Vec<Part>,
    generation: u64,
    /// The input as it was read. Texts of envelopes are unescaped in place.
    pub(crate) bytes: Vec<u8>,
    pub(crate) metas: Vec<Meta>,
    pub(crate) envelopes: Vec<Envelope>,
    pub(crate) headers: Vec<(Span, Option<Span>)>,
    pub(crate) refused: Vec<Refused>,
}

impl RecordBatch {
    /// Returns an empty batch. It allocates when it is filled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the share of each partition. Only a [group](crate::GroupSource) makes several.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Returns the generation that was passed to [`begin`](Self::begin), otherwise 0.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns the partition of the records; the first one if there are several.
    #[must_use]
    pub fn partition(&self) -> &PartitionId {
        static NONE: PartitionId = PartitionId { source: String::new(), partition: String::new() };
        self.parts.first().map_or(&NONE, |part| &part.partition)
    }

    /// Returns the position that the store must still hold when this batch is committed.
    ///
    /// That is the end of the previous batch, or the position that the source was opened with, even
    /// if the file turned out to be another one. `None` if there was no position, and always for
    /// standard input. The first part's position if there are several.
    #[must_use]
    pub fn from(&self) -> Option<&Position> {
        self.parts.first()?.from.as_ref()
    }

    /// Returns the position after the last record, to be stored in one transaction with the rows.
    ///
    /// `None` for standard input. A batch without records ends where it began. The first part's
    /// position if there are several.
    #[must_use]
    pub fn to(&self) -> Option<&Position> {
        self.parts.first()?.to.as_ref()
    }

    /// Returns how the file was opened, if this is its first batch with records. [`Opened::moved`]
    /// is worth a warning. The first part's value if there are several.
    #[must_use]
    pub fn opened(&self) -> Option<Opened> {
        self.parts.first()?.opened
    }

    /// Returns the number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.metas.len()
    }

    /// Returns whether there are no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.metas.is_empty()
    }

    /// Returns the number of uncompressed input bytes that the batch covers.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the bytes that the buffer has allocated, used or not.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Iterates over the records in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = SourceRecord<'_>> + DoubleEndedIterator + Clone {
        self.metas.iter().map(|meta| self.record(meta))
    }

    /// Returns the record number `index`, counted from 0.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<SourceRecord<'_>> {
        self.metas.get(index).map(|meta| self.record(meta))
    }

    fn record(&self, meta: &Meta) -> SourceRecord<'_> {
        let envelope = meta.envelope.and_then(|index| self.envelopes.get(index)).copied().unwrap_or_default();
        let (first, end) = envelope.headers;
        let origin = envelope.origin.map(|(topic, partition, offset)| Origin {
            topic: self.text(topic),
            partition,
            offset,
        });
        SourceRecord {
            payload: meta.payload.of(&self.bytes),
            sender: envelope.sender.map(|span| self.text(span)),
            time: envelope.time,
            environment: envelope.environment.map(|span| self.text(span)),
            key: envelope.key.map(|span| span.of(&self.bytes)),
            headers: Headers { pairs: self.headers.get(first..end).unwrap_or_default(), bytes: &self.bytes },
            origin: origin.or_else(|| self.parts.get(envelope.part)?.origin(meta.offset)),
            offset: meta.offset,
            part: envelope.part,
            row: envelope.row,
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

    /// Empties the batch and begins a new one for `partition`, after the position `from`.
    pub fn start(&mut self, partition: &PartitionId, from: Option<&Position>) {
        self.parts.truncate(1);
        match self.parts.first_mut() {
            // The usual case: the same partition as the batch before.
            Some(part) if part.partition == *partition => {
                (part.to, part.opened, part.topic) = (from.cloned(), None, None);
                part.from = from.cloned();
            }
            _ => {
                self.parts.clear();
                self.add_part(partition, from, None);
            }
        }
        self.empty(0);
    }

    /// Empties the batch and begins a new one of `generation`, without parts.
    pub fn begin(&mut self, generation: u64) {
        self.parts.clear();
        self.empty(generation);
    }

    /// Adds a part for `partition`, to be read after the position `from`, and returns its index.
    ///
    /// A partition named `TOPIC/NUMBER` is Kafka's: [`SourceRecord::origin`] is derived from it.
    pub fn begin_part(&mut self, partition: &PartitionId, from: Option<&Position>) -> usize {
        let topic = partition.partition.rsplit_once('/');
        let topic = topic.and_then(|(topic, number)| Some((topic.len(), number.parse().ok()?)));
        self.add_part(partition, from, topic)
    }

    fn add_part(
        &mut self,
        partition: &PartitionId,
        from: Option<&Position>,
        topic: Option<(usize, i32)>,
    ) -> usize {
        let (partition, from) = (partition.clone(), from.cloned());
        self.parts.push(Part { partition, to: from.clone(), from, opened: None, topic });
        self.parts.len() - 1
    }

    fn empty(&mut self, generation: u64) {
        self.generation = generation;
        self.bytes.clear();
        self.metas.clear();
        self.envelopes.clear();
        self.headers.clear();
        self.refused.clear();
    }

    /// Appends a record and copies its contents into the batch's buffer.
    pub fn push(&mut self, new: &NewRecord<'_>) {
        self.push_to(0, new);
    }

    /// Appends a record to the part number `part` and copies its contents into the batch's buffer.
    pub fn push_to(&mut self, part: usize, new: &NewRecord<'_>) {
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
            part,
            sender,
            time: new.time,
            environment,
            key,
            headers: (first, self.headers.len()),
            origin,
            row: new.row,
        };
        self.envelopes.push(envelope);
        let outcome = if is_blank(payload.of(&self.bytes)) { Outcome::Skipped } else { Outcome::Body };
        let envelope = Some(self.envelopes.len() - 1);
        self.metas.push(Meta { payload, offset: new.offset, outcome, envelope });
    }

    /// Appends a copy of another batch's record to the part number `part`. A refused record becomes
    /// a body again.
    pub fn push_copy(&mut self, part: usize, record: &SourceRecord<'_>) {
        let payload = self.keep(record.payload);
        let sender = record.sender.map(|sender| self.keep(sender.as_bytes()));
        let key = record.key.map(|key| self.keep(key));
        let first = self.headers.len();
        for (name, value) in record.headers {
            let name = self.keep(name.as_bytes());
            let value = value.map(|value| self.keep(value));
            self.headers.push((name, value));
        }
        let environment = record.environment.map(|value| self.keep(value.as_bytes()));
        let origin =
            record.origin.map(|origin| (self.keep(origin.topic.as_bytes()), origin.partition, origin.offset));
        let headers = (first, self.headers.len());
        let (time, row) = (record.time, record.row);
        self.envelopes.push(Envelope { part, sender, time, environment, key, headers, origin, row });
        let skipped = matches!(record.outcome, RecordOutcome::Skipped);
        let outcome = if skipped { Outcome::Skipped } else { Outcome::Body };
        self.metas.push(Meta {
            payload,
            offset: record.offset,
            outcome,
            envelope: Some(self.envelopes.len() - 1),
        });
    }

    /// Appends a record that was taken out of the envelope `record` to the part number `part`. It
    /// keeps the envelope's offset, key and headers.
    pub fn push_unwrapped(&mut self, part: usize, record: &SourceRecord<'_>, unwrapped: &Unwrapped) {
        let time = unwrapped.time.or(record.time);
        let is_skipped = unwrapped.outcome == UnwrappedOutcome::Skipped;
        let payload = if is_skipped { &[][..] } else { &unwrapped.payload };
        self.push_copy(part, &SourceRecord { payload, time, ..*record });
        let outcome = match &unwrapped.outcome {
            UnwrappedOutcome::Body => Outcome::Body,
            UnwrappedOutcome::Skipped => Outcome::Skipped,
            UnwrappedOutcome::Refused(refused) => {
                self.refused.push(refused.clone());
                Outcome::Refused(self.refused.len() - 1)
            }
        };
        if let Some(meta) = self.metas.last_mut() {
            meta.outcome = outcome;
        }
    }

    /// Empties the batch and begins a new one with the parts of `other`, their positions included.
    pub fn begin_like(&mut self, other: &Self) {
        self.parts.clone_from(&other.parts);
        self.empty(other.generation);
    }

    /// Ends the batch at the position `to`.
    pub fn finish(&mut self, to: Option<Position>) {
        self.end_part(0, to);
    }

    /// Ends the part number `part` at the position `to`.
    pub fn end_part(&mut self, part: usize, to: Option<Position>) {
        if let Some(part) = self.parts.get_mut(part) {
            part.to = to;
        }
    }

    /// Marks this as the first batch since the partition was opened.
    pub fn set_opened(&mut self, opened: Opened) {
        self.set_part_opened(0, opened);
    }

    /// Marks the part number `part` as the first one since its partition was opened.
    pub fn set_part_opened(&mut self, part: usize, opened: Opened) {
        if let Some(part) = self.parts.get_mut(part) {
            part.opened = Some(opened);
        }
    }

    fn keep(&mut self, part: &[u8]) -> Span {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(part);
        Span::new(start, self.bytes.len())
    }

    /// Returns the value of the last environment header, among headers from number `first` on.
    pub(crate) fn environment_since(&self, first: usize) -> Option<Span> {
        let headers = self.headers.get(first..).unwrap_or_default();
        let of_environment =
            |(name, _): &&(Span, Option<Span>)| name.of(&self.bytes) == ENVIRONMENT_HEADER.as_bytes();
        headers.iter().rfind(of_environment).and_then(|(_, value)| *value)
    }

    pub(crate) fn refuse(&mut self, payload: Span, offset: u64, refused: Refused) {
        self.refused.push(refused);
        let outcome = Outcome::Refused(self.refused.len() - 1);
        self.metas.push(Meta { payload, offset, outcome, envelope: None });
    }
}

/// Returns whether there is only white space.
pub(crate) fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_whitespace)
}

fn text(bytes: &[u8], span: Span) -> &str {
    // The envelope's texts were checked for UTF-8 when it was read.
    std::str::from_utf8(span.of(bytes)).unwrap_or_default()
}

/// The headers of a record in their order: names and values, null values as `None`.
#[derive(Clone, Copy, Default)]
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
        batch.start(&PartitionId::new("k", "t/0"), None);
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
        batch.start(&PartitionId::new("a", "b"), Some(&Position::at(1)));
        batch.push(&NewRecord { payload: Some(b" \n"), ..NewRecord::default() });
        assert_eq!(batch.get(0).map(|record| record.outcome), Some(RecordOutcome::Skipped));
        batch.start(&PartitionId::new("c", "d"), None);
        assert!(batch.is_empty() && batch.from().is_none() && batch.bytes() == 0);
        assert_eq!(batch.partition().source, "c");
        batch.begin(3);
        assert_eq!(
            (batch.generation(), batch.parts(), batch.partition()),
            (3, &[][..], &PartitionId::default())
        );
        batch.start(&PartitionId::new("a", "b"), None);
        assert_eq!((batch.generation(), batch.parts().len()), (0, 1));
    }

    #[test]
    fn records_keep_their_order_across_parts_and_know_theirs() {
        let mut batch = RecordBatch::new();
        batch.begin(1);
        let parts: Vec<_> = ["a/b/10", "topic/2"]
            .iter()
            .map(|name| batch.begin_part(&PartitionId::new("k", *name), None))
            .collect();
        for (index, offset) in [(1, 5), (0, 7), (1, 6)] {
            batch.push_to(parts[index], &NewRecord { payload: Some(b"{}"), offset, ..NewRecord::default() });
        }
        let origins: Vec<_> = batch.iter().filter_map(|record| record.origin).collect();
        let origin = |topic, partition, offset| Origin { topic, partition, offset };
        assert_eq!(origins, [origin("topic", 2, 5), origin("a/b", 10, 7), origin("topic", 2, 6)]);
        assert_eq!(batch.iter().map(|record| record.part).collect::<Vec<_>>(), [1, 0, 1]);
        let mut copy = RecordBatch::new();
        copy.begin(2);
        copy.begin_part(&PartitionId::new("k", "topic/2"), None);
        batch.iter().for_each(|record| copy.push_copy(0, &record));
        assert_eq!(format!("{:?}", copy.get(0)), format!("{:?}", batch.get(0)).replace("part: 1", "part: 0"));
        batch.set_part_opened(1, Opened::Gap { missing: 4 });
        batch.end_part(1, Some(Position::at(7)));
        assert_eq!((batch.to(), batch.opened()), (None, None));
        assert_eq!(batch.parts()[1].to, Some(Position::at(7)));
    }

    #[test]
    fn only_a_group_has_parts_that_name_a_topic() {
        let mut batch = RecordBatch::new();
        batch.start(&PartitionId::new("file", "/var/log/3"), None);
        batch.push(&NewRecord { payload: Some(b"{}"), ..NewRecord::default() });
        assert_eq!(batch.get(0).and_then(|record| record.origin), None);
    }
}
