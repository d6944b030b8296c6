//! Checks whether an input contains events, before anything is written.

use std::collections::BTreeMap;

use turnmill_formats::rasa::shift_timestamp;
use turnmill_model::{Decoders, Reason, Record, Refused, SourceFacts};
use turnmill_source::{
    BatchLimits, Foreign, Progress, RecordBatch, RecordOutcome, Source, SourceError, SourceRecord,
};

use crate::progress::counted;

/// Number of records to check. An input without an event among them is refused.
const RECORDS: usize = 100;

/// Result of checking the first records of an input.
#[derive(Debug, Default)]
pub(crate) struct Probe {
    /// Whether one of them is an event.
    event: bool,
    /// Number of valid records without events: trackers without events, tombstones.
    without: usize,
    refused: BTreeMap<Reason, usize>,
    first: Option<Refused>,
    /// The first refusal that tells what the whole input is.
    telling: Option<Refused>,
}

/// Options of the command line that affect decoding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProbeOptions<'t> {
    pub(crate) shift: Option<i64>,
    pub(crate) facts: SourceFacts<'t>,
}

/// Checks the first records of `source`.
pub(crate) fn probe(
    source: &mut dyn Source,
    decoders: &Decoders,
    options: &ProbeOptions<'_>,
) -> Result<Probe, SourceError> {
    let mut found = Probe::default();
    let is_unwrapped = source.is_unwrapped();
    let decoder = source.decoder().map(str::to_owned);
    let decoder = decoder.as_deref().or(options.facts.decoder);
    let options = ProbeOptions { facts: SourceFacts { decoder, ..options.facts }, ..*options };
    let mut batch = RecordBatch::new();
    let limits = BatchLimits { records: RECORDS, ..BatchLimits::default() };
    loop {
        let progress = source.next_batch(&limits, &mut batch)?;
        for record in batch.iter() {
            match record.outcome {
                // What was skipped in an envelope was no blank line.
                RecordOutcome::Skipped if !is_unwrapped && is_nothing(record.payload) && is_bare(&record) => {
                }
                RecordOutcome::Skipped => found.without += 1,
                RecordOutcome::Refused(refused) => found.refuse(refused),
                RecordOutcome::Body => found.decode(record.record(), decoders, &options),
            }
            if found.event || found.records() >= RECORDS {
                return Ok(found);
            }
        }
        if progress != Progress::More {
            return Ok(found);
        }
    }
}

/// Returns whether the payload is a blank line or `null`.
fn is_nothing(payload: &[u8]) -> bool {
    matches!(payload.trim_ascii(), b"" | b"null")
}

/// Returns whether the payload has no envelope: it is neither a tombstone of a topic nor a row of a
/// table.
fn is_bare(record: &SourceRecord<'_>) -> bool {
    record.origin.is_none() && record.sender.is_none() && record.key.is_none()
}

impl Probe {
    fn decode(&mut self, record: Record<'_>, decoders: &Decoders, options: &ProbeOptions<'_>) {
        let unit = options.facts.time_unit;
        let shifted = options.shift.and_then(|seconds| shift_timestamp(record.payload, seconds, unit));
        let payload = shifted.as_deref().unwrap_or(record.payload);
        let mut events = Vec::new();
        match decoders.decode(&Record { payload, facts: options.facts, ..record }, &mut events) {
            Ok(_) if events.is_empty() => self.without += usize::from(!is_nothing(payload)),
            Ok(_) => self.event = true,
            Err(refused) => self.refuse(&refused),
        }
    }

    fn refuse(&mut self, refused: &Refused) {
        *self.refused.entry(refused.reason).or_default() += 1;
        if matches!(refused.reason, Reason::LambdaEvent | Reason::LexV1 | Reason::NoMessage) {
            self.telling.get_or_insert_with(|| refused.clone());
        }
        self.first.get_or_insert_with(|| refused.clone());
    }

    fn records(&self) -> usize {
        self.without + self.refused.values().sum::<usize>()
    }

    /// Returns whether the input has no records.
    pub(crate) fn is_empty(&self) -> bool {
        !self.event && self.records() == 0
    }

    /// Returns why the input is refused, or `None` if it is accepted.
    ///
    /// It is refused if all checked records are invalid and more than `most` were checked. The
    /// message describes the first bytes of the content.
    pub(crate) fn refusal(&self, most: usize, content: &[u8]) -> Option<String> {
        let count: usize = self.refused.values().sum();
        if let Some(telling) = self.telling.as_ref().filter(|_| !self.event) {
            return Some(format!("no record of it can be read: {telling}"));
        }
        if self.event || self.without > 0 || count <= most {
            return None;
        }
        if let text @ (b"[]" | b"{}") = content.trim_ascii() {
            return Some(format!("the input is empty (`{}`)", String::from_utf8_lossy(text)));
        }
        let first = self.first.as_ref()?;
        let of = if count >= RECORDS { "first " } else { "" };
        let none = if count == 1 {
            "its only record is not an event".into()
        } else {
            format!("none of its {of}{} is an event", counted(count as u64, "record"))
        };
        let reasons: Vec<String> =
            self.refused.iter().map(|(reason, count)| format!("{} {count}", reason.as_str())).collect();
        let why = if count == 1 {
            first.to_string()
        } else if reasons.len() == 1 {
            format!("the first one: {first}")
        } else {
            format!("{}; the first one: {first}", reasons.join(", "))
        };
        let looks = match Foreign::of(content) {
            Some(foreign) => format!("It looks like {foreign}"),
            None => unknown(&self.refused, content),
        };
        Some(format!("{none} ({why}). {looks}. Use `--no-dead-letter-limits` to load it as dead letters"))
    }
}

/// Returns why content without a single record is refused.
pub(crate) fn no_records(content: &[u8]) -> String {
    match Foreign::of(content) {
        Some(foreign) => format!("the input contains no records. It looks like {foreign}"),
        None => "the input contains no records".into(),
    }
}

/// Describes content of an unknown kind.
fn unknown(refused: &BTreeMap<Reason, usize>, content: &[u8]) -> String {
    let only = |reason| refused.len() == 1 && refused.contains_key(&reason);
    if only(Reason::NoSenderId) {
        return "The events name no sender: use whole trackers or rows, which contain `sender_id`".into();
    }
    if only(Reason::NoUsableTimestamp) {
        return "The events have no usable timestamps".into();
    }
    let keys = Foreign::first_keys(content);
    if !keys.is_empty() {
        return format!("It looks like JSON of another program, with the keys {}", keys.join(", "));
    }
    let line = content.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty());
    let line: String = String::from_utf8_lossy(line.unwrap_or_default()).chars().take(60).collect();
    let printable: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("It looks like a log of another program, or other text; it begins with: {}", printable.trim())
}
