//! The laws on what a real Rasa Open Source 3.6.21 server wrote.

use std::io::{BufRead, BufReader};

use turnmill_model::json::{Limits, to_value};
use turnmill_oracle::generate::{OwnedRecord, shuffle_keeping};
use turnmill_oracle::laws::Plan;

use crate::laws::check;

fn lines(name: &str) -> Vec<String> {
    let path = format!("{}/../../fixtures/rasa-oss-3.6/{name}.jsonl.gz", env!("CARGO_MANIFEST_DIR"));
    let file = std::fs::File::open(path).unwrap();
    BufReader::new(flate2::read::GzDecoder::new(file)).lines().map(Result::unwrap).collect()
}

/// The records of a capture in one of its shapes.
fn records(name: &str) -> Vec<OwnedRecord> {
    let body = |line: String| OwnedRecord { payload: line.into_bytes(), ..OwnedRecord::default() };
    let of_envelope = |line: String| {
        let envelope = to_value(&line, &Limits::default()).unwrap();
        let text = |key: &str| envelope.get(key).and_then(|value| value.as_str()).map(str::to_owned);
        let header = envelope.get("headers").and_then(|headers| headers[0][1].as_str()).map(str::to_owned);
        OwnedRecord {
            payload: text("data").or(text("value")).unwrap().into_bytes(),
            sender: text("sender_id"),
            time: envelope.get("timestamp").and_then(serde_json::value::Value::as_f64).or(envelope
                .get("ts_ms")
                .and_then(serde_json::value::Value::as_f64)
                .map(|time| time / 1000.0)),
            environment: header,
            row: envelope.get("id").and_then(serde_json::value::Value::as_i64),
            ..OwnedRecord::default()
        }
    };
    let plain = name.ends_with("file-broker") || name.ends_with("rasa-export");
    lines(name).into_iter().map(|line| if plain { body(line) } else { of_envelope(line) }).collect()
}

fn assert_lawful(plan: &Plan, records: &[OwnedRecord], arrival: &[OwnedRecord]) {
    if let Err(diff) = check(plan, records, arrival) {
        panic!("{diff}");
    }
}

#[test]
fn parcel_in_order_and_shuffled() {
    let records = records("parcel/file-broker");
    let plan = Plan { batches: vec![500], checkpoint_every: 32, cache_bytes: 100_000, ..Plan::default() };
    assert_lawful(&plan, &records, &records);
    assert_lawful(&Plan { writers: 2, ..plan }, &records, &shuffle_keeping(&records, 1));
}

#[test]
fn the_three_shapes_of_parcel_after_each_other_are_one() {
    let shapes =
        [records("parcel/file-broker"), records("parcel/rasa-export"), records("parcel/tracker-store")];
    let plan = Plan { batches: vec![1000, 377], checkpoint_every: 32, ..Plan::default() };
    for first in 0..3 {
        let all: Vec<_> = (0..3).flat_map(|shape| shapes[(first + shape) % 3].clone()).collect();
        // Copies do not differ here, so the oracle may see them in any order.
        assert_lawful(&plan, &all, &all);
    }
}

#[test]
fn the_other_captures_in_any_order() {
    for name in [
        "kafka/partition-by-sender-false",
        "kafka/partition-by-sender-true",
        "inmemory/file-broker",
        "moodbot/sql-broker",
        "hostile/file-broker",
        "hostile/tracker-store",
    ] {
        let records = records(name);
        for seed in 0..3 {
            let plan = Plan { batches: vec![97, 5], writers: 1 + seed as usize % 2, ..Plan::default() };
            assert_lawful(&plan, &records, &shuffle_keeping(&records, seed));
        }
    }
}
