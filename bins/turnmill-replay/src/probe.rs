//! Whether an input holds events at all, looked at before anything is written.

use std::collections::BTreeMap;

use turnmill_formats::rasa::shift_timestamp;
use turnmill_model::{Decoder, Reason, Record, Refused, SourceFacts};
use turnmill_source::{
    BatchLimits, Foreign, Progress, RecordBatch, RecordOutcome, Source, SourceError, SourceRecord,
};

use crate::progress::counted;

/// How many records are looked at. An input of which none is an event is refused.
const RECORDS: usize = 100;

/// What the first records of an input are.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// One of them is an event.
    event: bool,
    /// Those that yield none and are no fault either: trackers without events, tombstones.
    without: usize,
    refused: BTreeMap<Reason, usize>,
    first: Option<Refused>,
}

/// What the command line says about the events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told<'t> {
    pub(crate) shift: Option<i64>,
    pub(crate) facts: SourceFacts<'t>,
}

/// Looks at the first records of `source`.
pub(crate) fn look(
    source: &mut dyn Source,
    decoder: &dyn Decoder,
    told: &Told<'_>,
) -> Result<Found, SourceError> {
    let mut found = Found::default();
    let mut batch = RecordBatch::new();
    let limits = BatchLimits { records: RECORDS, ..BatchLimits::default() };
    loop {
        let progress = source.next_batch(&limits, &mut batch)?;
        for record in batch.iter() {
            match record.outcome {
                RecordOutcome::Skipped if is_nothing(record.payload) && is_bare(&record) => {}
                RecordOutcome::Skipped => found.without += 1,
                RecordOutcome::Refused(refused) => found.refuse(refused),
                RecordOutcome::Body => found.decode(record.record(), decoder, told),
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

/// A blank line, or a null where a record was expected.
fn is_nothing(payload: &[u8]) -> bool {
    matches!(payload.trim_ascii(), b"" | b"null")
}

/// Nothing stands around the payload: it is no tombstone of a topic and no row of a table.
fn is_bare(record: &SourceRecord<'_>) -> bool {
    record.origin.is_none() && record.sender.is_none() && record.key.is_none()
}

impl Found {
    fn decode(&mut self, record: Record<'_>, decoder: &dyn Decoder, told: &Told<'_>) {
        let unit = told.facts.time_unit;
        let shifted = told.shift.and_then(|seconds| shift_timestamp(record.payload, seconds, unit));
        let payload = shifted.as_deref().unwrap_or(record.payload);
        let mut events = Vec::new();
        match decoder.decode(&Record { payload, facts: told.facts, ..record }, &mut events) {
            Ok(()) if events.is_empty() => self.without += usize::from(!is_nothing(payload)),
            Ok(()) => self.event = true,
            Err(refused) => self.refuse(&refused),
        }
    }

    fn refuse(&mut self, refused: &Refused) {
        *self.refused.entry(refused.reason).or_default() += 1;
        self.first.get_or_insert_with(|| refused.clone());
    }

    fn records(&self) -> usize {
        self.without + self.refused.values().sum::<usize>()
    }

    /// Whether there is nothing at all.
    pub(crate) fn is_empty(&self) -> bool {
        !self.event && self.records() == 0
    }

    /// Why the input is refused, if every record of it that was looked at is a fault; `most` of them may be without that. The
    /// content's first bytes tell what it looks like.
    pub(crate) fn refusal(&self, most: usize, content: &[u8]) -> Option<String> {
        let count: usize = self.refused.values().sum();
        if self.event || self.without > 0 || count <= most {
            return None;
        }
        if let text @ (b"[]" | b"{}") = content.trim_ascii() {
            return Some(format!(
                "it is empty (`{}`), so there is nothing to read",
                String::from_utf8_lossy(text)
            ));
        }
        let first = self.first.as_ref()?;
        let of = if count >= RECORDS { "first " } else { "" };
        let none = if count == 1 {
            "its only record is no event".into()
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
        Some(format!(
            "{none} ({why}). {looks}. `--no-dead-letter-limits` loads it all the same, as dead letters"
        ))
    }
}

/// Why content without a single record is refused.
pub(crate) fn nothing(content: &[u8]) -> String {
    match Foreign::of(content) {
        Some(foreign) => format!("it holds no records. It looks like {foreign}"),
        None => "it holds no records, so there is nothing to read".into(),
    }
}

/// What to say of content that looks like nothing known.
fn unknown(refused: &BTreeMap<Reason, usize>, content: &[u8]) -> String {
    let only = |reason| refused.len() == 1 && refused.contains_key(&reason);
    if only(Reason::NoSenderId) {
        return "The events name no sender: take the whole tracker or row, in which `sender_id` stands beside them".into();
    }
    if only(Reason::NoUsableTimestamp) {
        return "These are events whose time cannot be used".into();
    }
    let keys = Foreign::first_keys(content);
    if !keys.is_empty() {
        return format!("It looks like JSON of something else, with the keys {}", keys.join(", "));
    }
    let line = content.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty());
    let line: String = String::from_utf8_lossy(line.unwrap_or_default()).chars().take(60).collect();
    let printable: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("It looks like a log of another program or some other text; it begins with: {}", printable.trim())
}
