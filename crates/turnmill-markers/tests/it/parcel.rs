//! Compares the batch evaluator with files of `rasa evaluate markers` of Rasa Open Source 3.6.21.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde_json::Value;
use turnmill_markers::evaluate::{EXTRACTION_HEADER, Evaluator, Statistics, write_extraction};
use turnmill_markers::{Compatibility, ForeignState, MarkerEvent, Program};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/rasa-oss-3.6/parcel").join(name)
}

fn gunzip(name: &str) -> String {
    let mut text = String::new();
    MultiGzDecoder::new(File::open(fixture(name)).unwrap()).read_to_string(&mut text).unwrap();
    text
}

/// Returns the tracker store's events by sender, in order.
fn conversations() -> BTreeMap<String, Vec<Value>> {
    let mut conversations: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in gunzip("tracker-store.jsonl.gz").lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let event = serde_json::from_str(row["data"].as_str().unwrap()).unwrap();
        conversations.entry(row["sender_id"].as_str().unwrap().to_owned()).or_default().push(event);
    }
    conversations
}

fn marker_event(event: &Value) -> MarkerEvent<'_> {
    match (event["event"].as_str().unwrap(), event["name"].as_str()) {
        ("action", Some(name)) => MarkerEvent::Action { name },
        ("slot", Some(name)) => MarkerEvent::Slot { name, is_set: !event["value"].is_null() },
        ("user", _) => MarkerEvent::User {
            intent: event["parse_data"]["intent"]["name"].as_str(),
            full_retrieval_intent: event["parse_data"]["intent"]["full_retrieval_intent_name"].as_str(),
        },
        _ => MarkerEvent::Other,
    }
}

fn evaluate(compatibility: Compatibility) -> (String, Statistics) {
    let set = crate::set(&std::fs::read_to_string(fixture("markers.yml")).unwrap());
    let names: Vec<_> = set.markers().iter().map(|marker| marker.name.as_str()).collect();
    let program = Program::of_set(&set, compatibility);
    let mut evaluator = Evaluator::new(&program);
    let mut extraction = EXTRACTION_HEADER.to_owned();
    let mut statistics = Statistics::new(&names);
    for (sender_id, events) in conversations() {
        let events: Vec<_> = events.iter().map(marker_event).collect();
        evaluator
            .conversation::<ForeignState>(&events, |session| {
                write_extraction(&mut extraction, &sender_id, &names, session);
                statistics.add(&sender_id, session);
                Ok(())
            })
            .unwrap();
    }
    (extraction, statistics)
}

#[test]
fn as_shipped_every_byte_is_rasas() {
    let (extraction, statistics) = evaluate(Compatibility::Rasa36);
    let expected = gunzip("rasa-markers.csv.gz");
    for (found, expected) in extraction.lines().zip(expected.lines()) {
        assert_eq!(found, expected);
    }
    assert!(extraction == expected);
    let overall = std::fs::read_to_string(fixture("rasa-markers-overall.csv")).unwrap();
    assert_eq!(statistics.overall_csv(), overall);
}

/// Returns the number of results by marker.
fn counts(extraction: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    // Quoted sender ids may contain commas and line breaks; the fields after them do not.
    for line in extraction.lines().skip(1) {
        let mut fields = line.rsplit(',').skip(2);
        if let Some(marker) = fields.next() {
            *counts.entry(marker.to_owned()).or_default() += 1;
        }
    }
    counts
}

#[test]
fn as_documented_only_negations_and_crossing_sequences_differ() {
    let (documented, statistics) = evaluate(Compatibility::Documented);
    let (shipped, _) = evaluate(Compatibility::Rasa36);
    let (documented, shipped) = (counts(&documented), counts(&shipped));
    let differ: Vec<_> = shipped
        .iter()
        .filter(|(marker, count)| documented.get(*marker) != Some(count))
        .map(|(marker, count)| (marker.as_str(), *count, documented[marker]))
        .collect();
    assert_eq!(differ, DIFFERENCES);
    assert_eq!(statistics.sessions(), 553);
    let per_session = statistics.per_session_csv();
    // Eleven markers, five statistics. Some sender ids contain a line break.
    assert_eq!(per_session.matches("(number of preceding user turns),").count(), 11 * 5 * 553);
    assert!(per_session.contains("\r\n+4714953435,2,faq_or_chitchat,mean(number of preceding user turns),"));
}

/// Marker, results of Rasa 3.6, results as documented. Two markers are negated. Two are sequences
/// that one session begins and another one completes, mostly of another sender.
const DIFFERENCES: [(&str, usize, usize); 4] =
    [("never_fallback", 164, 553), ("no_size", 2894, 12145), ("polite_end", 37, 5), ("tracked", 64, 42)];
