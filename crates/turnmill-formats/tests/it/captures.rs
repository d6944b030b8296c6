//! Every event of the captured streams, written by a real Rasa Open Source 3.6.21 server.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;

use flate2::read::GzDecoder;
use serde_json::Value;
use turnmill_model::json::Raw;
use turnmill_model::{Body, Event, EventId, Record, Settings};

use crate::{decode_as, leak};

/// The text of a captured file, in memory to the end.
fn capture(name: &str) -> &'static str {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/rasa-oss-3.6").join(name);
    let mut text = String::new();
    let file = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    GzDecoder::new(file).read_to_string(&mut text).unwrap();
    leak(&text)
}

/// A record for each line of a broker's file.
fn bodies(name: &str) -> Vec<Record<'static>> {
    capture(name).lines().map(|line| Record { payload: line.as_bytes(), ..Record::default() }).collect()
}

/// A record for each line of a file whose lines hold the body as a text under `body`, the sender under `sender_id`.
fn wrapped(name: &str, body: &str) -> Vec<Record<'static>> {
    let rows = capture(name).lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    rows.map(|row| Record {
        payload: leak(row[body].as_str().unwrap()).as_bytes(),
        sender: row["sender_id"].as_str().map(leak),
        time: row["timestamp"].as_f64().or_else(|| Some(row["ts_ms"].as_f64()? / 1000.0)),
        environment: row["headers"][0][1].as_str().map(leak),
        ..Record::default()
    })
    .collect()
}

/// Decodes every record, and checks what holds for each.
fn events(records: &[Record<'static>]) -> Vec<Event<'static>> {
    let decoded = records.iter().map(|record| {
        let body = std::str::from_utf8(record.payload).unwrap();
        let event = decode_as(&Settings::default(), *record).unwrap().unwrap();
        let written = Raw::parse(timestamp(body)).unwrap().as_str().parse::<f64>().unwrap();
        if (946_684_800.0..=4_102_444_800.0).contains(&written) {
            assert_eq!(event.time.seconds().to_bits(), written.to_bits(), "{body}");
        } else {
            assert_eq!(Some(event.time.seconds()), record.time, "{body}");
        }
        event
    });
    decoded.collect()
}

/// The digits of a body's own timestamp: in every captured body the first of that name.
fn timestamp(body: &str) -> &str {
    let (_, rest) = body.split_once("\"timestamp\": ").unwrap();
    rest.split_once([',', '}']).unwrap().0
}

fn counts<'e>(events: &'e [Event<'_>]) -> BTreeMap<&'e str, usize> {
    let mut counts = BTreeMap::new();
    for event in events {
        *counts.entry(event.event_type.as_ref()).or_default() += 1;
    }
    counts
}

fn ids(events: &[Event<'_>]) -> BTreeSet<EventId> {
    events.iter().map(|event| event.id).collect()
}

/// Events by type in `parcel`, `kafka` keyed and unkeyed, `moodbot`, `inmemory`, `hostile`.
const COUNTS: [(&str, [usize; 6]); 21] = [
    ("action", [5059, 962, 911, 1305, 971, 157]),
    ("slot", [3204, 533, 474, 56, 545, 28]),
    ("bot", [1907, 375, 349, 437, 383, 30]),
    ("user", [1933, 378, 361, 446, 377, 31]),
    ("user_featurization", [1845, 349, 336, 441, 357, 30]),
    ("session_started", [553, 99, 97, 94, 96, 49]),
    ("rewind", [163, 23, 29, 87, 12, 0]),
    ("active_loop", [162, 28, 23, 0, 38, 1]),
    ("action_execution_rejected", [118, 26, 28, 0, 26, 0]),
    ("agent", [41, 8, 10, 7, 12, 0]),
    ("pause", [35, 9, 10, 4, 6, 0]),
    ("restart", [25, 7, 9, 10, 4, 1]),
    ("reset_slots", [45, 5, 5, 4, 5, 0]),
    ("reminder", [29, 3, 2, 0, 0, 1]),
    ("resume", [16, 7, 7, 7, 3, 0]),
    ("followup", [4, 0, 2, 1, 3, 0]),
    ("undo", [7, 2, 3, 0, 3, 0]),
    ("export", [2, 1, 4, 1, 2, 0]),
    ("cancel_reminder", [13, 1, 2, 0, 0, 1]),
    ("loop_interrupted", [0, 0, 0, 0, 0, 2]),
    ("entities", [0, 0, 0, 0, 0, 1]),
];

fn expected(stream: usize) -> BTreeMap<&'static str, usize> {
    COUNTS.iter().map(|(name, counts)| (*name, counts[stream])).filter(|(_, count)| *count > 0).collect()
}

#[test]
fn parcel_is_the_same_from_broker_store_and_export() {
    let broker = events(&bodies("parcel/file-broker.jsonl.gz"));
    let store = events(&wrapped("parcel/tracker-store.jsonl.gz", "data"));
    let export = events(&bodies("parcel/rasa-export.jsonl.gz"));
    for stream in [&broker, &store, &export] {
        assert_eq!(counts(stream), expected(0));
        assert_eq!(ids(stream).len(), 15_161);
        assert_eq!(ids(stream), ids(&broker));
    }
    // Not only the ids: order apart, the events are the same.
    let by_id = |events: &[Event<'static>]| -> BTreeMap<_, _> {
        events.iter().map(|event| (event.id, event.clone())).collect()
    };
    assert!(by_id(&broker) == by_id(&export));
    assert!(by_id(&broker) == by_id(&store));
}

#[test]
fn kafka_values() {
    for (stream, name, environment) in [
        (1, "kafka/partition-by-sender-true.jsonl.gz", Some("production")),
        (2, "kafka/partition-by-sender-false.jsonl.gz", None),
    ] {
        let events = events(&wrapped(name, "value"));
        assert_eq!(counts(&events), expected(stream));
        assert_eq!(ids(&events).len(), events.len());
        assert!(events.iter().all(|event| event.environment.as_deref() == environment));
    }
}

#[test]
fn sql_broker_and_in_memory_store() {
    let moodbot = events(&wrapped("moodbot/sql-broker.jsonl.gz", "data"));
    assert_eq!(counts(&moodbot), expected(3));
    let inmemory = events(&bodies("inmemory/file-broker.jsonl.gz"));
    assert_eq!(counts(&inmemory), expected(4));
    assert_eq!((ids(&moodbot).len(), ids(&inmemory).len()), (2900, 2843));
    assert!(inmemory.iter().all(|event| event.model_id.is_some()));
}

#[test]
fn hostile_requests() {
    let decode = |record: &Record<'static>| decode_as(&Settings::default(), *record).map(Option::unwrap);
    let records = bodies("hostile/file-broker.jsonl.gz");
    let (accepted, refused): (Vec<_>, Vec<_>) = records.iter().map(decode).partition(Result::is_ok);
    // Posted timestamps of -5.5, 1e18 and milliseconds: a file's lines have no time of their own to fall back to.
    let reasons: Vec<_> = refused.into_iter().map(|it| it.unwrap_err().reason.as_str()).collect();
    assert_eq!(reasons, ["no_usable_timestamp"; 3]);
    assert_eq!(accepted.len(), 329);

    // With a time of the record's own, all of them are events.
    let dated: Vec<_> = records.iter().map(|record| Record { time: Some(1.7e9), ..*record }).collect();
    let events = events(&dated);
    assert_eq!(counts(&events), expected(5));
    assert_eq!(ids(&events).len(), 332);
    let lines_serde_refuses =
        records.iter().filter(|it| serde_json::from_slice::<Value>(it.payload).is_err());
    assert!(lines_serde_refuses.count() >= 14, "bare NaN and Infinity, lone surrogates, 202 levels");
    assert!(
        events
            .iter()
            .any(|event| matches!(&event.body, Body::Slot { value, is_set: true, .. } if value == "null"))
    );
}

#[test]
fn hostile_tracker_store_has_the_ids_of_the_broker() {
    let store = wrapped("hostile/tracker-store.jsonl.gz", "data");
    let decode = |record: &Record<'static>| {
        decode_as(&Settings::default(), Record { time: Some(1.7e9), ..*record }).unwrap().unwrap()
    };
    let store: Vec<_> = store.iter().map(decode).collect();
    let broker: Vec<_> = bodies("hostile/file-broker.jsonl.gz").iter().map(decode).collect();
    assert_eq!(counts(&store), expected(5));
    assert_eq!(ids(&store), ids(&broker));
}
