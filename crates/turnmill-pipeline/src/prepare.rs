//! Reads and decodes ahead, on a thread of its own.
#![allow(clippy::mem_forget, reason = "in what the self_cell macro expands to")]

use std::ops::Range;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use self_cell::self_cell;
use turnmill_ingest::{Arrivals, MakeDeadLetter, RowRules};
use turnmill_model::{Decoders, Record, Refused, SourceFacts, SourceFactsBuf, Unwrapped, UnwrappedOutcome};
use turnmill_sink::DeadLetter;
use turnmill_source::{
    Assignment, BatchLimits, GroupLimits, GroupProgress, GroupSource, Opened, Progress, RecordBatch,
    RecordOutcome, Source, SourceError, SourceRecord,
};

use crate::stop::Stop;

/// Batches that may wait between the reading thread and the writer.
const AHEAD: usize = 2;
/// Pause at the end of a followed source.
const IDLE: Duration = Duration::from_millis(200);

self_cell! {
    /// A batch of records with the events that they gave.
    pub(crate) struct Prepared {
        owner: Owner,
        #[covariant]
        dependent: Arrivals,
    }
}

/// Owns what the events of a batch borrow from.
pub(crate) struct Owner {
    batch: RecordBatch,
    /// Names of the decoders of the records, by number; empty if all have that of the facts.
    decoders: Vec<Option<&'static str>>,
    /// Payloads without their secrets, by number of the record; empty if none has any.
    blanked: Vec<Option<Vec<u8>>>,
    /// Bodies that replace those of the batch, by number of the record; empty if none do.
    bodies: Vec<Option<Vec<u8>>>,
    facts: Arc<SourceFactsBuf>,
}

/// Describes what is done with a record before it is decoded.
#[derive(Clone, Default)]
pub(crate) struct Preparation {
    pub(crate) rewrite: Option<Arc<Rewrite>>,
    /// What the source says about all of its records.
    pub(crate) facts: Arc<SourceFactsBuf>,
    /// Whether the source takes records out of their envelopes.
    pub(crate) is_unwrapped: bool,
}

impl Preparation {
    /// Returns the same for a source that names its `decoder`, or names none.
    ///
    /// # Errors
    ///
    /// [`Refused`] if there is no decoder with the name that the source or its facts give.
    pub(crate) fn for_source(mut self, decoder: Option<&str>, decoders: &Decoders) -> Result<Self, Refused> {
        if let Some(name) = decoder {
            Arc::make_mut(&mut self.facts).decoder = Some(name.to_owned());
        }
        decoders.of(&self.facts.borrow())?;
        Ok(self)
    }
}

impl Owner {
    fn new(batch: RecordBatch, decoders: &Decoders, preparation: &Preparation) -> Self {
        let facts = preparation.facts.clone();
        let (batch, of_records) = if preparation.is_unwrapped {
            (batch, Vec::new())
        } else {
            unwrapped(batch, decoders, facts.decoder.as_deref())
        };
        let of_facts = decoders.of(&facts.borrow()).ok();
        let decoder_of = |number: usize| match of_records.get(number) {
            Some(Some(name)) => decoders.named(name),
            _ => of_facts,
        };
        let filters = !of_records.is_empty() || of_facts.is_some_and(|of| of.secret_filter().is_some());
        let blank = |(number, record): (usize, SourceRecord<'_>)| {
            decoder_of(number)?.secret_filter()?.without_secrets(record.payload)
        };
        let blanked = if filters { batch.iter().enumerate().map(blank).collect() } else { Vec::new() };
        let mut owner = Self { batch, decoders: of_records, blanked, bodies: Vec::new(), facts };
        if let Some(rewrite) = preparation.rewrite.as_deref() {
            let numbered = owner.batch.iter().enumerate();
            owner.bodies =
                numbered.map(|(number, record)| rewrite(owner.payload(number, record.payload))).collect();
        }
        owner
    }

    /// Returns the payload of record `number` as it may be stored.
    fn payload<'o>(&'o self, number: usize, written: &'o [u8]) -> &'o [u8] {
        self.blanked.get(number).and_then(Option::as_deref).unwrap_or(written)
    }

    /// Returns the facts of record number `number`.
    fn facts(&self, number: usize) -> SourceFacts<'_> {
        let facts = self.facts.borrow();
        let own = self.decoders.get(number).copied().flatten();
        SourceFacts { decoder: own.or(facts.decoder), ..facts }
    }

    fn decode(&self, records: Range<usize>, decoders: &Decoders) -> Arrivals<'_> {
        let mut arrivals = Arrivals::default();
        let skipped = records.start;
        for (number, record) in self.batch.iter().enumerate().skip(skipped).take(records.len()) {
            let payload = self.payload(number, record.payload);
            match record.outcome {
                RecordOutcome::Body => {
                    let mut record = Record { payload, facts: self.facts(number), ..record.record() };
                    if let Some(Some(body)) = self.bodies.get(number) {
                        record.payload = body;
                    }
                    arrivals.push(decoders, record);
                }
                RecordOutcome::Refused(refused) => {
                    arrivals.push_refused(Record { payload, ..record.record() }, refused.clone());
                }
                RecordOutcome::Skipped => arrivals.push_skipped(),
            }
        }
        arrivals
    }
}

/// Takes the records of `batch` out of their envelopes. Returns them with the names of their
/// decoders, or the same batch and no names if none of its records needs it.
///
/// A topic may have records of several formats. If the facts about it name no decoder, a record is
/// read by the one that certainly knows it.
fn unwrapped(
    batch: RecordBatch,
    decoders: &Decoders,
    named: Option<&str>,
) -> (RecordBatch, Vec<Option<&'static str>>) {
    let of_facts = named.map(|name| decoders.named(name));
    if of_facts.is_some_and(|decoder| decoder.is_none_or(|decoder| decoder.unwrapper().is_none())) {
        return (batch, Vec::new());
    }
    let decoder_of = |record: &SourceRecord<'_>| {
        if record.outcome != RecordOutcome::Body {
            return None;
        }
        of_facts.unwrap_or_else(|| decoders.claiming(record.payload))
    };
    let Some(first) = batch.iter().position(|record| decoder_of(&record).is_some()) else {
        return (batch, Vec::new());
    };
    let (mut out, mut names, mut records) = (RecordBatch::new(), Vec::new(), Vec::new());
    out.begin_like(&batch);
    for (number, record) in batch.iter().enumerate() {
        let decoder = if number < first { None } else { decoder_of(&record) };
        match decoder.and_then(|decoder| Some((decoder.name(), decoder.unwrapper()?))) {
            Some((name, unwrapper)) => {
                records.clear();
                unwrapper.unwrap(record.payload, &mut records);
                if records.is_empty() {
                    let (payload, outcome) = (Vec::new(), UnwrappedOutcome::Skipped);
                    records.push(Unwrapped { payload, time: None, outcome });
                }
                for unwrapped in &records {
                    out.push_unwrapped(record.part, &record, unwrapped);
                    names.push(Some(name));
                }
            }
            None => {
                let outcome = match record.outcome {
                    RecordOutcome::Body => UnwrappedOutcome::Body,
                    RecordOutcome::Skipped => UnwrappedOutcome::Skipped,
                    RecordOutcome::Refused(refused) => UnwrappedOutcome::Refused(refused.clone()),
                };
                let same = Unwrapped { payload: record.payload.to_vec(), time: None, outcome };
                out.push_unwrapped(record.part, &record, &same);
                names.push(None);
            }
        }
    }
    (out, names)
}

/// Makes the dead letters of a part of a batch that begins with record `first`.
pub(crate) struct DeadLettersFrom<'p> {
    pub(crate) prepared: &'p Prepared,
    pub(crate) first: usize,
}

impl MakeDeadLetter for DeadLettersFrom<'_> {
    fn dead_letter(&self, record: usize, refused: &Refused) -> DeadLetter {
        self.prepared.dead_letter(self.first + record, refused)
    }
}

impl Prepared {
    fn decode(batch: RecordBatch, decoders: &Decoders, preparation: &Preparation) -> Self {
        Self::new(Owner::new(batch, decoders, preparation), |owner| {
            let mut arrivals = owner.decode(0..owner.batch.len(), decoders);
            arrivals.pack(decoders);
            arrivals
        })
    }

    /// Decodes some of the records alone.
    pub(crate) fn part(&self, records: Range<usize>, decoders: &Decoders) -> Arrivals<'_> {
        self.borrow_owner().decode(records, decoders)
    }

    pub(crate) fn batch(&self) -> &RecordBatch {
        &self.borrow_owner().batch
    }

    pub(crate) fn arrivals(&self) -> &Arrivals<'_> {
        self.borrow_dependent()
    }
}

impl MakeDeadLetter for Prepared {
    fn dead_letter(&self, record: usize, refused: &Refused) -> DeadLetter {
        let (batch, number) = (self.batch(), record);
        let record = batch.get(number);
        let payload =
            |record: &SourceRecord<'_>| self.borrow_owner().payload(number, record.payload).to_vec();
        let place = match record.as_ref().and_then(|record| record.origin) {
            Some(origin) => format!("{}/{}@{}", origin.topic, origin.partition, origin.offset),
            None => record.as_ref().map_or_else(String::new, |record| record.offset.to_string()),
        };
        DeadLetter {
            id: 0,
            key: batch.partition().clone(),
            place,
            reason: refused.reason,
            detail: refused.detail.clone(),
            payload: record.as_ref().map_or_else(Vec::new, payload),
            sender: record.as_ref().and_then(|record| record.sender).map(Into::into),
            time: record.as_ref().and_then(|record| record.time),
            environment: record.as_ref().and_then(|record| record.environment).map(Into::into),
            row: record.as_ref().and_then(|record| record.record().row),
            facts: self.borrow_owner().facts(number).into(),
            record_key: record.as_ref().and_then(|record| record.key).map(Into::into),
            headers: record
                .iter()
                .flat_map(|record| record.headers)
                .map(|(name, value)| (name.to_owned(), value.map(Into::into)))
                .collect(),
        }
    }
}

/// Returns the body to decode in place of a record's own, or `None` to keep that.
pub type Rewrite = dyn Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync;

/// Options of reading a source ahead.
#[derive(Clone)]
pub(crate) struct ReadOptions {
    pub(crate) limits: BatchLimits,
    pub(crate) preparation: Preparation,
    /// Whether to leave a followed source when it has no more records for now.
    pub(crate) leave_idle: bool,
}

/// A message of the reading thread.
pub(crate) enum ReaderMessage {
    Batch(Box<Prepared>),
    Assigned(Assignment),
    Revoked {
        generation: u64,
        lost: bool,
    },
    /// No more records for now.
    Idle,
    End,
    Failed(SourceError),
}

/// A source that is being read ahead, by a thread that ends when this value is dropped.
pub(crate) struct ReadAhead {
    pub(crate) incoming: Receiver<ReaderMessage>,
    recycled: Sender<RecordBatch>,
    thread: Option<JoinHandle<()>>,
}

impl ReadAhead {
    /// Reads a source to its end.
    pub(crate) fn of_source(
        source: Box<dyn Source>,
        rules: RowRules,
        options: ReadOptions,
        stop: Stop,
    ) -> std::io::Result<Self> {
        Self::start(move |outgoing, fresh| read(source, rules.decoders(), &options, &stop, outgoing, fresh))
    }

    /// Reads the partitions that a group assigns.
    pub(crate) fn of_group(
        source: Box<dyn GroupSource>,
        rules: RowRules,
        limits: GroupLimits,
        preparation: Preparation,
        stop: Stop,
    ) -> std::io::Result<Self> {
        Self::start(move |outgoing, fresh| {
            let last = read_group(source, rules.decoders(), limits, &preparation, &stop, outgoing, fresh);
            // The writer may have stopped listening.
            let _ = outgoing.send_blocking(last);
        })
    }

    fn start(
        read: impl FnOnce(&Sender<ReaderMessage>, &Receiver<RecordBatch>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (outgoing, incoming) = async_channel::bounded(AHEAD);
        let (recycled, fresh) = async_channel::bounded(AHEAD + 2);
        let read = move || read(&outgoing, &fresh);
        let thread = std::thread::Builder::new().name("turnmill-read".into()).spawn(read)?;
        Ok(Self { incoming, recycled, thread: Some(thread) })
    }

    /// Returns a batch's memory to the reading thread.
    pub(crate) fn recycle(&self, prepared: Prepared) {
        // If the thread has ended, the memory is just freed.
        let _ = self.recycled.try_send(prepared.into_owner().batch);
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        self.incoming.close();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported by its hook.
            let _ = thread.join();
        }
    }
}

fn read(
    mut source: Box<dyn Source>,
    decoders: &Decoders,
    options: &ReadOptions,
    stop: &Stop,
    outgoing: &Sender<ReaderMessage>,
    fresh: &Receiver<RecordBatch>,
) {
    loop {
        let mut batch = fresh.try_recv().unwrap_or_default();
        let (progress, failure) = match source.next_batch(&options.limits, &mut batch) {
            Ok(progress) => (Some(progress), None),
            Err(error) => (None, Some(error)),
        };
        let empty = batch.is_empty() && !batch.opened().is_some_and(Opened::moved);
        if failure.is_none() && !empty {
            let prepared = Box::new(Prepared::decode(batch, decoders, &options.preparation));
            if outgoing.send_blocking(ReaderMessage::Batch(prepared)).is_err() {
                return;
            }
        }
        let last = match (progress, failure) {
            (_, Some(error)) => ReaderMessage::Failed(error),
            (Some(Progress::End) | None, None) => ReaderMessage::End,
            (Some(Progress::Idle), None) if stop.is_set() || options.leave_idle => ReaderMessage::End,
            (Some(Progress::Idle), None) => {
                if outgoing.send_blocking(ReaderMessage::Idle).is_err() {
                    return;
                }
                stop.wait(IDLE);
                continue;
            }
            (Some(Progress::More), None) if stop.is_set() => ReaderMessage::End,
            (Some(Progress::More), None) => continue,
        };
        // The writer may have stopped listening.
        let _ = outgoing.send_blocking(last);
        return;
    }
}

/// Reads until the group ends, fails or is stopped. Returns the last message.
fn read_group(
    mut source: Box<dyn GroupSource>,
    decoders: &Decoders,
    limits: GroupLimits,
    preparation: &Preparation,
    stop: &Stop,
    outgoing: &Sender<ReaderMessage>,
    fresh: &Receiver<RecordBatch>,
) -> ReaderMessage {
    loop {
        if stop.is_set() {
            return ReaderMessage::End;
        }
        let mut batch = fresh.try_recv().unwrap_or_default();
        let read = match source.next(&limits, &mut batch) {
            Ok(GroupProgress::Batch) => {
                ReaderMessage::Batch(Box::new(Prepared::decode(batch, decoders, preparation)))
            }
            Ok(GroupProgress::Assigned(assignment)) => ReaderMessage::Assigned(assignment),
            Ok(GroupProgress::Revoked { generation, lost }) => ReaderMessage::Revoked { generation, lost },
            // The writer may have failed meanwhile; it waits for this thread to end.
            Ok(GroupProgress::Idle) if outgoing.is_closed() => return ReaderMessage::End,
            Ok(GroupProgress::Idle) => continue,
            // The loop goes on after this message: what was read may have to be read again.
            Ok(GroupProgress::End) => ReaderMessage::End,
            Err(error) => return ReaderMessage::Failed(error),
        };
        if outgoing.send_blocking(read).is_err() {
            return ReaderMessage::End;
        }
    }
}
