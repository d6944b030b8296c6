//! Conversations of Rasa's engine Mantle, whose records have a shape of their own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};

use serde_json::Value;
use turnmill_ingest::testkit::Memory;
use turnmill_model::tables::public;
use turnmill_oracle::generate::{OwnedRecord, shuffle_keeping};
use turnmill_oracle::laws::{self, Plan, memory_tables};
use turnmill_oracle::{OwnedValue, Tables};

use crate::laws::check;

/// Returns the records as a topic delivers them.
fn records() -> Vec<OwnedRecord> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/calm/mantle.jsonl.gz");
    let file = std::fs::File::open(path).unwrap();
    let record = |line: std::io::Result<String>| {
        let record: Value = serde_json::from_str(&line.unwrap()).unwrap();
        OwnedRecord {
            payload: record["value"].as_str().unwrap().as_bytes().to_vec(),
            time: record["ts_ms"].as_f64().map(|ms| ms / 1000.0),
            environment: record["headers"][0][1].as_str().map(str::to_owned),
            ..OwnedRecord::default()
        }
    };
    BufReader::new(flate2::read::GzDecoder::new(file)).lines().map(record).collect()
}

fn tables_of(records: &[OwnedRecord]) -> Tables {
    let mut found = Tables::new();
    laws::check(&mut Memory, &Plan::default(), records, records, |store, _, _| {
        found = memory_tables(store);
        Ok(())
    })
    .unwrap();
    found
}

/// Counts the rows of a table by some of its columns.
fn counts(tables: &Tables, table: &str, columns: &[&str]) -> BTreeMap<String, usize> {
    let places: Vec<usize> =
        columns.iter().map(|name| public(table).unwrap().column(name).unwrap()).collect();
    let text = |value: &OwnedValue| match value {
        OwnedValue::Text(text) => text.clone(),
        other => other.to_string(),
    };
    let mut counts = BTreeMap::new();
    for row in &tables[table] {
        let key: Vec<String> = places.iter().map(|place| text(&row[*place])).collect();
        *counts.entry(key.join(" ")).or_default() += 1;
    }
    counts
}

fn expected(counts: &[(&str, usize)]) -> BTreeMap<String, usize> {
    counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[test]
fn a_topic_and_a_file_give_the_same_rows_in_any_order_and_twice() {
    let topic = records();
    // A line of a file has neither a header nor a time of its own.
    let bare =
        |record: &OwnedRecord| OwnedRecord { payload: record.payload.clone(), ..OwnedRecord::default() };
    let file: Vec<OwnedRecord> = topic.iter().map(bare).collect();
    let found = tables_of(&topic);
    assert_eq!(found, tables_of(&file));
    let twice = [topic.clone(), file].concat();
    for seed in 0..3 {
        let plan = Plan { batches: vec![9, 2], checkpoint_every: 5, ..Plan::default() };
        if let Err(diff) = check(&plan, &twice, &shuffle_keeping(&twice, seed)) {
            panic!("{diff}");
        }
    }
    assert_eq!(found, tables_of(&twice));
}

#[test]
fn every_record_has_the_rows_of_its_kind() {
    let found = tables_of(&records());
    assert_eq!(counts(&found, "rasa_event", &["environment"]), expected(&[("production", 67)]));
    let senders = ["mantle-ywell-0", "mantle-ywell-1", "mantle-ywell-2"];
    assert_eq!(counts(&found, "rasa_sender", &["sender_key"]), expected(&senders.map(|sender| (sender, 1))));
    assert_eq!(
        counts(&found, "rasa_session", &["id"]).into_keys().collect::<Vec<_>>(),
        [
            "1df82cfc-17b9-4442-aaf1-11916287daf4",
            "4bd70738-aeb3-4c0a-8a0a-106724fa1a5e",
            "863d6e6b-d0bd-4262-904f-415a1bdafc39",
        ]
    );
    assert_eq!(found["rasa_user_message"].len(), 6);
    assert_eq!(found["rasa_bot_message"].len(), 6);
    assert_eq!(counts(&found, "rasa_action", &["name"]), expected(&[("action_book_crossing", 1)]));
    assert_eq!(counts(&found, "ext_message", &["generated_by"]), expected(&[("NULL", 1), ("llm", 6)]));
    assert_eq!(counts(&found, "ext_message", &["is_missed"]), expected(&[("NULL", 6), ("true", 1)]));
    assert_eq!(
        counts(&found, "ext_call", &["kind", "name", "source"]),
        expected(&[("tool lookup local", 3)])
    );
    // Memory is kept as slots, whose value is the JSON in the record's text.
    let slots = counts(&found, "rasa_slot", &["name", "value"]);
    assert_eq!(slots.values().sum::<usize>(), 7);
    assert_eq!(slots["crossing_route null"], 1);
    assert_eq!(slots[r#"session_started_metadata {"page": "/m"}"#], 3);
    // Skills are kept as flows.
    let statuses = counts(&found, "rasa_flow_status", &["flow_status"]);
    let all = [("cancelled", 1), ("completed", 5), ("interrupted", 1), ("resumed", 1), ("started", 7)];
    assert_eq!(statuses, expected(&all));
    assert_eq!(
        counts(&found, "ext_dialog_run", &["kind", "dialog_id", "status"]),
        expected(&[
            ("pattern default_session_start done", 3),
            ("skill book_crossing NULL", 1),
            ("skill book_crossing canceled", 1),
            ("skill book_crossing done", 1),
            ("skill check_delay done", 1),
        ])
    );
    let frames = counts(&found, "rasa_dialogue_stack_frame", &["active_flow_identifier", "flow_step_id"]);
    assert_eq!(frames["book_crossing main/START"], 3);
    assert_eq!(
        counts(&found, "ext_session", &["ended_by", "ended_reason"]),
        expected(&[("explicit user disconnected", 1), ("inactive NULL", 2)])
    );
}
