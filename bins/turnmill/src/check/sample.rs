//! Reads a sample of the topic's newest records, and reports whether they are events.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::Value;
use turnmill_formats::shipped;
use turnmill_model::{AssistantNameBuf, Decoders, Record, SourceFacts};
use turnmill_pipeline::{counted, explain};
use turnmill_service::settings::{DeadLetterSettings, ServiceSettings};
use turnmill_source::{GroupLimits, GroupProgress, GroupSource, PartitionStart, RecordBatch, RecordOutcome};
use turnmill_source_kafka::{Edge, KafkaGroup, KafkaRange, KafkaSettings};

use super::Findings;

/// Number of offsets before the end of each partition to read.
const LAST: u64 = 500;
/// Maximum number of records to read.
const RECORDS: usize = 2_000;
/// Time allowed for reading the sample.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of assistants to name.
const NAMED: usize = 5;

/// Counts of a sample of records.
#[derive(Debug, Default)]
struct Sample {
    records: usize,
    keyed: usize,
    /// Records without a body, such as tombstones.
    skipped: usize,
    events: usize,
    refused: BTreeMap<&'static str, usize>,
    anonymised: usize,
    assistants: BTreeSet<String>,
}

impl Sample {
    fn add(&mut self, batch: &RecordBatch, decoders: &Decoders, facts: SourceFacts<'_>) {
        for record in batch.iter() {
            self.records += 1;
            self.keyed += usize::from(record.key.is_some());
            let mut events = Vec::new();
            match record.outcome {
                RecordOutcome::Skipped => {
                    self.skipped += 1;
                    continue;
                }
                RecordOutcome::Refused(refused) => {
                    *self.refused.entry(refused.reason.as_str()).or_default() += 1;
                    continue;
                }
                RecordOutcome::Body => {
                    match decoders.decode(&Record { facts, ..record.record() }, &mut events) {
                        Ok(_) => self.events += 1,
                        Err(refused) => {
                            *self.refused.entry(refused.reason.as_str()).or_default() += 1;
                            continue;
                        }
                    }
                }
            }
            let Ok(body) = serde_json::from_slice::<Value>(record.payload) else { continue };
            self.anonymised += usize::from(body.get("anonymized_at").is_some_and(|at| !at.is_null()));
            let assistant = body.get("metadata").and_then(|metadata| metadata.get("assistant_id"));
            self.assistants.extend(assistant.and_then(Value::as_str).map(str::to_owned));
        }
    }

    /// Returns the number of records with a body; each of them should be an event.
    fn bodies(&self) -> usize {
        self.records - self.skipped
    }
}

/// Reads the newest records, without a group and without a commit, and reports what they are.
pub(super) fn check(
    settings: &ServiceSettings,
    kafka: &KafkaSettings,
    findings: &mut Findings<impl Write>,
) -> std::io::Result<()> {
    let sample = match read(settings, kafka) {
        Ok(sample) => sample,
        Err(problem) => {
            return findings.problem(format_args!("KAFKA_TOPIC: cannot read the topic's records: {problem}"));
        }
    };
    if sample.records == 0 {
        return findings.note("the topic has no records yet");
    }
    let most = settings.dead_letters.max_share.unwrap_or(1.0);
    events(&sample, most, findings)?;
    keys(&sample, findings)?;
    if sample.anonymised > 0 {
        let (anonymised, events) = (sample.anonymised, counted(sample.events as u64, "event"));
        findings.note(format_args!("{anonymised} of {events} are anonymised copies"))?;
    }
    assistants(&sample, settings, findings)
}

fn read(settings: &ServiceSettings, kafka: &KafkaSettings) -> Result<Sample, String> {
    let mut kafka = kafka.clone();
    kafka.range = Some(KafkaRange { from: Some(Edge::Last(LAST)), to: None });
    kafka.group_instance_id = None;
    let decoders = shipped(&settings.rows);
    let mut sample = Sample::default();
    let mut group = KafkaGroup::start(&kafka).map_err(|error| explain(&error))?;
    let (control, mut batch) = (group.control(), RecordBatch::new());
    let limits = GroupLimits { records: RECORDS / 4, ..GroupLimits::default() };
    let end = Instant::now() + READ_TIMEOUT;
    while Instant::now() < end && sample.records < RECORDS {
        match group.next(&limits, &mut batch).map_err(|error| explain(&error))? {
            GroupProgress::Assigned(assignment) => {
                let partitions = assignment.partitions.into_iter().map(|assigned| assigned.partition);
                control.start(assignment.generation, partitions.map(PartitionStart::earliest).collect());
            }
            GroupProgress::Batch => sample.add(&batch, &decoders, settings.source.borrow()),
            GroupProgress::Revoked { generation, .. } => control.released(generation),
            GroupProgress::Idle => {}
            GroupProgress::End => break,
        }
    }
    Ok(sample)
}

/// Reports the share of events. More dead letters than the share `most` are a problem, because the
/// service would stop.
fn events(sample: &Sample, most: f64, findings: &mut Findings<impl Write>) -> std::io::Result<()> {
    let (bodies, newest) = (sample.bodies(), counted(sample.records as u64, "record"));
    if bodies == 0 {
        return findings.note(format_args!("none of the newest {newest} has a body"));
    }
    let refused: usize = sample.refused.values().sum();
    #[allow(clippy::cast_precision_loss, reason = "a few thousand")]
    let share = refused as f64 / bodies as f64;
    let reasons: Vec<String> =
        sample.refused.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    let reasons = reasons.join(", ");
    if refused == 0 {
        return findings.ok(format_args!("100 % of the newest {newest} are events"));
    }
    // Rounds down, so that it never shows 100.0 %.
    let percent = ((1.0 - share) * 1000.0).floor() / 10.0;
    let text = format!(
        "{percent:.1} % of the newest {newest} are events, the others would be dead letters ({reasons})"
    );
    if sample.events == 0 {
        findings.problem(format_args!(
            "KAFKA_TOPIC: none of the newest {newest} is a Rasa event ({reasons}); check the name of the topic"
        ))
    } else if share > most {
        let window = counted(DeadLetterSettings::SHARE_WINDOW, "record");
        findings.problem(format_args!(
            "KAFKA_TOPIC: {text}; the service would stop, because more than {:.0} % of {window} are dead letters \
             (TURNMILL_DEAD_LETTER_MAX_SHARE)",
            most * 100.0
        ))
    } else {
        findings.note(format_args!("warning: KAFKA_TOPIC: {text}"))
    }
}

fn keys(sample: &Sample, findings: &mut Findings<impl Write>) -> std::io::Result<()> {
    let slower = "the tables are correct either way, but `partition_by_sender: true` in the assistant's \
                  event_broker is \
                  faster";
    match sample.keyed {
        keyed if keyed == sample.records => findings.ok("the records have keys"),
        0 => findings.ok(format_args!("the records have no keys; {slower}")),
        keyed => findings
            .ok(format_args!("{keyed} of {} have keys; {slower}", counted(sample.records as u64, "record"))),
    }
}

fn assistants(
    sample: &Sample,
    settings: &ServiceSettings,
    findings: &mut Findings<impl Write>,
) -> std::io::Result<()> {
    let names: Vec<String> = sample.assistants.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
    let more = sample.assistants.len().saturating_sub(NAMED);
    let names = names.join(", ") + &if more > 0 { format!(" and {more} more") } else { String::new() };
    match sample.assistants.len() {
        0 => Ok(()),
        1 => findings.ok(format_args!("the events are of assistant {names} (metadata.assistant_id)")),
        _ if matches!(settings.source.assistant, AssistantNameBuf::Given(_)) => findings.note(format_args!(
            "warning: TURNMILL_ASSISTANT names one assistant, but the events are of {names} (metadata.assistant_id)"
        )),
        _ if settings.source.assistant == AssistantNameBuf::FromMetadata => {
            findings.ok(format_args!("the events are of several assistants: {names} (metadata.assistant_id)"))
        }
        _ => findings.note(format_args!(
            "the events are of several assistants: {names} (metadata.assistant_id); equal sender ids are merged unless \
             TURNMILL_ASSISTANT_FROM_METADATA is true"
        )),
    }
}

#[cfg(test)]
mod tests {
    use turnmill_model::PartitionId;
    use turnmill_source::NewRecord;

    use super::*;

    fn findings(values: &[&str], most: f64) -> (String, bool) {
        let decoders = shipped(&turnmill_model::Settings::default());
        let mut batch = RecordBatch::new();
        batch.begin(0);
        let part = batch.begin_part(&PartitionId::new("k", "t/0"), None);
        for value in values {
            batch.push_to(part, &NewRecord { payload: Some(value.as_bytes()), ..NewRecord::default() });
        }
        let mut sample = Sample::default();
        sample.add(&batch, &decoders, SourceFacts::default());
        let mut findings = Findings { out: Vec::new(), is_ok: true };
        events(&sample, most, &mut findings).unwrap();
        keys(&sample, &mut findings).unwrap();
        (String::from_utf8(findings.out).unwrap(), findings.is_ok)
    }

    #[test]
    fn a_topic_of_something_else_is_a_problem_and_a_few_records_of_it_are_not() {
        let event = r#"{"sender_id": "u", "event": "restart", "timestamp": 1656382549.5}"#;
        let (text, is_ok) = findings(&[event, event], 0.5);
        assert!(is_ok && text.contains("100 % of the newest 2 records are events"), "{text}");
        let (text, is_ok) = findings(&[event, event, "garbage"], 0.5);
        assert!(
            is_ok && text.contains("66.6 % of the newest 3 records") && text.contains("not_json 1"),
            "{text}"
        );
        let (text, is_ok) = findings(&[event, "garbage", "[]"], 0.5);
        assert!(!is_ok && text.contains("TURNMILL_DEAD_LETTER_MAX_SHARE"), "{text}");
        let (text, is_ok) = findings(&["garbage"], 1.0);
        assert!(!is_ok && text.contains("none of the newest 1 record is a Rasa event"), "{text}");
        assert!(text.contains("have no keys"), "{text}");
    }
}
