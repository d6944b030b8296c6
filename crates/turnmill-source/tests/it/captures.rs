//! Captures written by a real Rasa Open Source 3.6.21 server, in every format.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use turnmill_source::{BatchLimits, Container, FileOptions, FileSource};

use crate::{Owned, capture, fixture, read_all, records, with_container};

fn read(name: &str) -> (Container, Vec<Owned>) {
    let mut source = FileSource::open(&fixture(name), FileOptions::default(), None).unwrap();
    let records = read_all(&mut source, &BatchLimits::default()).unwrap();
    (source.container().unwrap(), records)
}

#[test]
fn formats_counts_and_environments_are_those_of_the_captures() {
    for (name, container, count, environment) in [
        ("parcel/file-broker.jsonl.gz", Container::Rasa, 15161, None),
        ("parcel/rasa-export.jsonl.gz", Container::Rasa, 15161, None),
        ("inmemory/file-broker.jsonl.gz", Container::Rasa, 2843, None),
        ("hostile/file-broker.jsonl.gz", Container::Rasa, 332, None),
        ("kafka/partition-by-sender-true.jsonl.gz", Container::Kafka, 2816, Some("production")),
        (
            "kafka/partition-by-sender-false.jsonl.gz",
            Container::Kafka,
            2662,
            Some("RASA_ENVIRONMENT_NOT_SET"),
        ),
        ("parcel/tracker-store.jsonl.gz", Container::TrackerStore, 15161, None),
        ("hostile/tracker-store.jsonl.gz", Container::TrackerStore, 332, None),
        ("moodbot/sql-broker.jsonl.gz", Container::SqlBroker, 2900, None),
    ] {
        let (found, records) = read(name);
        assert_eq!((found, records.len()), (container, count), "{name}");
        assert!(records.iter().all(|record| record.outcome == "body"), "{name}");
        assert!(records.iter().all(|record| record.environment.as_deref() == environment), "{name}");
    }
}

#[test]
fn lines_of_event_bodies_are_handed_on_unchanged() {
    for name in ["parcel/file-broker.jsonl.gz", "hostile/file-broker.jsonl.gz"] {
        let text = capture(name);
        let (_, records) = read(name);
        assert!(text.lines().eq(records.iter().map(Owned::text)));
    }
}

#[test]
fn kafka_envelopes_agree_with_a_json_parser() {
    for name in ["kafka/partition-by-sender-true.jsonl.gz", "kafka/partition-by-sender-false.jsonl.gz"] {
        let (_, records) = read(name);
        for (line, record) in capture(name).lines().zip(&records) {
            let row: Value = serde_json::from_str(line).unwrap();
            assert_eq!(record.text(), row["value"].as_str().unwrap());
            assert_eq!(record.key.as_deref(), row["key"].as_str().map(str::as_bytes));
            assert_eq!(record.time, Some(row["ts_ms"].as_f64().unwrap() / 1000.0));
            assert_eq!(record.sender, None);
            let (topic, partition, offset) = record.origin.as_ref().unwrap();
            assert_eq!(
                json!([topic, partition, offset]),
                json!([row["topic"], row["partition"], row["offset"]])
            );
            let headers: Vec<_> = record
                .headers
                .iter()
                .map(|(name, value)| json!([name, value.as_deref().map(String::from_utf8_lossy)]))
                .collect();
            assert_eq!(Value::from(headers), row["headers"]);
        }
    }
}

#[test]
fn kcat_output_gives_the_same_records() {
    let name = "kafka/partition-by-sender-true.jsonl.gz";
    let lines: Vec<String> = capture(name)
        .lines()
        .map(|line| {
            let row: Value = serde_json::from_str(line).unwrap();
            let headers: Vec<&Value> = row["headers"].as_array().unwrap().iter().flat_map(|pair| pair.as_array().unwrap()).collect();
            json!({
                "topic": row["topic"], "partition": row["partition"], "offset": row["offset"], "tstype": "create",
                "ts": row["ts_ms"], "broker": 1, "headers": headers, "key": row["key"], "payload": row["value"],
            })
            .to_string()
        })
        .collect();
    assert_eq!(Container::detect(lines.join("\n").as_bytes()), Container::Kcat);
    let without_place = |mut record: Owned| {
        record.offset = 0;
        record
    };
    let kcat: Vec<_> =
        records(lines.join("\n"), FileOptions::default()).into_iter().map(without_place).collect();
    let kafka: Vec<_> = read(name).1.into_iter().map(without_place).collect();
    assert_eq!(kcat, kafka);
}

#[test]
fn rows_agree_with_a_json_parser() {
    for name in
        ["parcel/tracker-store.jsonl.gz", "moodbot/sql-broker.jsonl.gz", "hostile/tracker-store.jsonl.gz"]
    {
        let (_, records) = read(name);
        for (line, record) in capture(name).lines().zip(&records) {
            let row: Value = serde_json::from_str(line).unwrap();
            assert_eq!(record.text(), row["data"].as_str().unwrap());
            assert_eq!(record.sender.as_deref(), row["sender_id"].as_str());
            assert_eq!(record.time, row["timestamp"].as_f64());
        }
    }
    let senders: BTreeSet<_> =
        read("parcel/tracker-store.jsonl.gz").1.into_iter().map(|record| record.sender).collect();
    let expected: BTreeSet<_> = capture("parcel/conversations.jsonl.gz")
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["sender_id"].as_str().map(String::from))
        .collect();
    assert_eq!(senders, expected);
}

/// Returns a tracker store's rows as (sender as JSON, event bodies).
fn trackers(name: &str) -> Vec<(String, Vec<String>)> {
    let mut trackers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in capture(name).lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        trackers.entry(row["sender_id"].to_string()).or_default().push(row["data"].as_str().unwrap().into());
    }
    trackers.into_iter().collect()
}

fn dump(sender: &str, events: &[String], sender_first: bool) -> String {
    let list = events.join(", ");
    let rest = r#""slots": {"events": [1, {"sender_id": 2}]}, "latest_message": {"text": "]}\"\\"}, "paused": false"#;
    if sender_first {
        format!(r#"{{"sender_id": {sender}, {rest}, "events": [{list}]}}"#)
    } else {
        format!(r#"{{"events": [{list}], {rest}, "sender_id": {sender}}}"#)
    }
}

#[test]
fn tracker_dumps_are_unwrapped_however_they_are_laid_out() {
    for name in ["parcel/tracker-store.jsonl.gz", "hostile/tracker-store.jsonl.gz"] {
        let trackers = trackers(name);
        let expected: Vec<(Option<String>, &str)> = trackers
            .iter()
            .flat_map(|(sender, events)| {
                let sender: Option<String> = serde_json::from_str(sender).unwrap();
                events.iter().map(move |event| (sender.clone(), event.as_str()))
            })
            .collect();
        for sender_first in [true, false] {
            let dumps: Vec<_> =
                trackers.iter().map(|(sender, events)| dump(sender, events, sender_first)).collect();
            let layouts = [
                dumps.join("\n") + "\n",
                dumps.join("\r\n\r\n"),
                dumps.concat(),
                format!("\u{feff}[\n{}\n]\n", dumps.join(",\n")),
                format!("[{}]", dumps.join(",")),
            ];
            for layout in layouts {
                let found = records(layout, FileOptions::default());
                assert!(found.iter().all(|record| record.outcome == "body"));
                let found: Vec<_> =
                    found.iter().map(|record| (record.sender.clone(), record.text())).collect();
                assert!(found == expected, "{name}");
            }
        }
    }
}

#[test]
fn pretty_printed_trackers_are_the_same_events() {
    let trackers = trackers("parcel/tracker-store.jsonl.gz");
    let mut pretty = String::new();
    let mut expected = Vec::new();
    for (sender, events) in trackers.iter().take(40) {
        let value: Value = serde_json::from_str(&dump(sender, events, false)).unwrap();
        pretty += &serde_json::to_string_pretty(&value).unwrap();
        pretty.push('\n');
        expected.extend(value["events"].as_array().unwrap().iter().cloned());
    }
    let found = records(pretty, FileOptions::default());
    let found: Vec<Value> =
        found.iter().map(|record| serde_json::from_slice(&record.payload).unwrap()).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_chosen_format_wins_over_detection() {
    let name = "moodbot/sql-broker.jsonl.gz";
    let mut source = FileSource::open(&fixture(name), with_container(Container::Rasa), None).unwrap();
    let records = read_all(&mut source, &BatchLimits::default()).unwrap();
    assert!(records[0].text().starts_with("{\"id\": 1"));
    assert_eq!(records[0].sender, None);
}
