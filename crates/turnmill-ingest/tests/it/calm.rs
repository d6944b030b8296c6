//! CALM conversations, with what the assistant holds in the end: stacks, slots and counts.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};

use serde_json::Value;
use turnmill_ingest::testkit::Memory;
use turnmill_model::SourceFactsBuf;
use turnmill_oracle::generate::{OwnedRecord, shuffle_keeping};
use turnmill_oracle::laws::{self, Plan};
use turnmill_oracle::{OwnedValue, Tables};

use crate::laws::check;
use crate::memory::tables;

const ANONYMISED: &str = "rasa-events-anonymized";

fn fixture(name: &str) -> std::fs::File {
    let path = format!("{}/../../fixtures/calm/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::File::open(path).unwrap()
}

/// The records of both topics, in the order in which they were published; those of the second are declared anonymised.
fn records() -> Vec<OwnedRecord> {
    let lines = BufReader::new(flate2::read::GzDecoder::new(fixture("stream.jsonl.gz"))).lines();
    let record = |line: std::io::Result<String>| {
        let record: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let facts = SourceFactsBuf { anonymised: record["topic"] == ANONYMISED, ..SourceFactsBuf::default() };
        OwnedRecord {
            payload: record["value"].as_str().unwrap().as_bytes().to_vec(),
            time: record["ts_ms"].as_f64().map(|ms| ms / 1000.0),
            environment: record["headers"][0][1].as_str().map(str::to_owned),
            facts,
            ..OwnedRecord::default()
        }
    };
    lines.map(record).collect()
}

/// The rows of a table as texts by column, those of each sender under its key, in their order.
fn by_sender(tables: &Tables, table: &str, order: &str) -> BTreeMap<String, Vec<BTreeMap<String, String>>> {
    let text = |value: &OwnedValue| match value {
        OwnedValue::Text(text) => text.clone(),
        other => other.to_string(),
    };
    let column =
        |table: &str, name: &str| turnmill_model::tables::public(table).unwrap().column(name).unwrap();
    let keys: BTreeMap<String, String> = tables["rasa_sender"]
        .iter()
        .map(|row| (text(&row[0]), text(&row[column("rasa_sender", "sender_key")])))
        .collect();
    let (sender, order) = (column(table, "sender_id"), column(table, order));
    let columns = turnmill_model::tables::public(table).unwrap().columns;
    let mut rows: Vec<_> = tables[table].iter().collect();
    rows.sort_by(|one, other| one[order].cmp(&other[order]));
    let mut found: BTreeMap<String, Vec<BTreeMap<String, String>>> = BTreeMap::new();
    for row in rows {
        let named = columns.iter().zip(row).map(|(column, value)| (column.name.to_owned(), text(value)));
        found.entry(keys[&text(&row[sender])].clone()).or_default().push(named.collect());
    }
    found
}

#[test]
fn in_any_order_the_tables_are_those_of_the_reference() {
    let records = records();
    let plan = Plan { batches: vec![500], checkpoint_every: 32, ..Plan::default() };
    if let Err(diff) = check(&plan, &records, &records) {
        panic!("{diff}");
    }
    for seed in 0..2 {
        let plan = Plan { batches: vec![61, 7], writers: 2, ..Plan::default() };
        if let Err(diff) = check(&plan, &records, &shuffle_keeping(&records, seed)) {
            panic!("{diff}");
        }
    }
}

#[test]
fn stacks_slots_and_counts_are_those_of_the_assistant() {
    let records = records();
    let truth: BTreeMap<String, Value> = serde_json::from_reader(fixture("truth.json")).unwrap();
    let mut found = Tables::new();
    laws::check(&mut Memory, &Plan::default(), &records, &records, |store, _, _| {
        found = tables(store);
        Ok(())
    })
    .unwrap();
    let events = by_sender(&found, "rasa_event", "sequence_number");
    let slots = by_sender(&found, "rasa_slot", "sequence_number");
    let frames = by_sender(&found, "rasa_dialogue_stack_frame", "start_sequence_number");
    assert_eq!(events.len(), truth.len());
    for (sender, truth) in &truth {
        let events = &events[sender];
        assert_eq!(events.len() as u64, truth["events"].as_u64().unwrap(), "{sender}: events");
        for (event_type, count) in truth["counts"].as_object().unwrap() {
            let found = events.iter().filter(|event| event["event_type"] == *event_type).count();
            assert_eq!(found as u64, count.as_u64().unwrap(), "{sender}: {event_type}");
        }
        // The last frame says what is on top, unless the stack was emptied after it.
        let top = truth["stack"].as_array().unwrap().last();
        let frame = frames.get(sender).and_then(|frames| frames.last());
        if let Some(top) = top {
            let frame = frame.unwrap_or_else(|| panic!("{sender}: no frame"));
            let expected = top["flow_id"].as_str().unwrap_or("NULL");
            assert_eq!(frame["active_flow_identifier"], expected, "{sender}: top of the stack");
            assert_eq!(frame["flow_step_id"], top["step_id"].as_str().unwrap_or("NULL"), "{sender}");
        } else if let Some(frame) = frame {
            let emptied = ["session_started", "restart", "routing_session_ended"];
            let after = events.iter().any(|event| {
                emptied.contains(&event["event_type"].as_str())
                    && event["sequence_number"].parse::<i64>().unwrap()
                        > frame["start_sequence_number"].parse::<i64>().unwrap()
            });
            assert!(after || frame["active_flow_identifier"] == "NULL", "{sender}: {frame:?}");
        }
        // What the assistant holds in a slot is what it was set to last. In anonymised conversations it is redacted.
        for (name, value) in truth["slots"].as_object().unwrap().iter().filter(|(_, value)| !value.is_null())
        {
            let mut set = slots[sender].iter().filter(|slot| slot["name"] == *name);
            let last: Value = serde_json::from_str(&set.next_back().unwrap()["value"]).unwrap();
            let redacted = ["ferry-08", "ferry-32"].contains(&sender.as_str());
            assert!(last == *value || redacted, "{sender}: {name} is {last}, right is {value}");
        }
    }
}

#[test]
fn anonymising_changes_no_count_and_leaves_no_plain_text() {
    let all = records();
    let plain: Vec<_> = all.iter().filter(|record| !record.facts.anonymised).cloned().collect();
    let copies: Vec<_> = all.iter().filter(|record| record.facts.anonymised).cloned().collect();
    let tables_of = |arrival: &[OwnedRecord]| {
        let mut found = Tables::new();
        laws::check(&mut Memory, &Plan::default(), arrival, arrival, |store, _, _| {
            found = tables(store);
            Ok(())
        })
        .unwrap();
        found
    };
    let before = tables_of(&plain);
    let after = tables_of(&[plain.clone(), copies.clone()].concat());
    assert_eq!(after, tables_of(&[copies.clone(), plain].concat()), "whichever topic is read first");
    for table in turnmill_model::tables::PUBLIC {
        assert_eq!(before[table.name].len(), after[table.name].len(), "{}", table.name);
    }
    let of = |tables: &Tables, column: &str| {
        let index = turnmill_model::tables::public("rasa_user_message").unwrap().column(column).unwrap();
        let mut values: Vec<_> =
            tables["rasa_user_message"].iter().map(|row| row[index].to_string()).collect();
        values.sort();
        values
    };
    assert_eq!(of(&before, "intent"), of(&after, "intent"));
    assert_eq!(of(&before, "confidence"), of(&after, "confidence"));
    let texts = |tables: &Tables| {
        let rows = by_sender(tables, "rasa_user_message", "sequence_number");
        ["ferry-08", "ferry-32"]
            .map(|sender| rows[sender].iter().map(|row| row["text"].clone()).collect::<Vec<_>>())
    };
    assert_ne!(texts(&before), texts(&after));
    let redacted: Vec<String> = copies
        .iter()
        .filter_map(|copy| {
            let event: Value = serde_json::from_slice(&copy.payload).unwrap();
            (event["event"] == "user").then(|| event["text"].as_str().unwrap_or("NULL").to_owned())
        })
        .collect();
    assert!(texts(&after).concat().iter().all(|text| redacted.contains(text)), "{:?}", texts(&after));
}
