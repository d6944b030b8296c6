//! Facts about the captures, which were counted by other means when they were recorded.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;

use flate2::read::GzDecoder;
use serde_json::Value as Json;
use turnmill_model::{Reason, Record, Settings};
use turnmill_oracle::{Oracle, OwnedValue, diff, generate::OwnedRecord, tables};

/// Returns the lines of a captured file.
fn lines(name: &str) -> Vec<String> {
    let path = format!("{}/../../fixtures/rasa-oss-3.6/{name}.jsonl.gz", env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    GzDecoder::new(File::open(&path).expect(&path)).read_to_string(&mut text).expect(&path);
    text.lines().map(str::to_owned).collect()
}

fn of(records: &[OwnedRecord]) -> Oracle {
    let borrowed: Vec<Record<'_>> = records.iter().map(OwnedRecord::as_record).collect();
    let oracle = tables(&Settings::default(), &borrowed);
    assert!(oracle.ledger.adds_up());
    assert_eq!(oracle.ledger.events as usize, oracle.tables["rasa_event"].len());
    oracle
}

/// Returns the records of a file whose lines are event bodies.
fn bodies(name: &str) -> Vec<OwnedRecord> {
    let record = |line: String| OwnedRecord { payload: line.into_bytes(), ..OwnedRecord::default() };
    lines(name).into_iter().map(record).collect()
}

/// Returns the records of a file whose lines are rows of a table or messages of a topic.
fn wrapped(name: &str, read: impl Fn(&Json) -> OwnedRecord) -> Vec<OwnedRecord> {
    lines(name).iter().map(|line| read(&serde_json::from_str(line).unwrap())).collect()
}

fn bytes(value: &Json) -> Vec<u8> {
    value.as_str().unwrap().as_bytes().to_vec()
}

fn tracker_store(name: &str) -> Vec<OwnedRecord> {
    wrapped(name, |row| OwnedRecord {
        payload: bytes(&row["data"]),
        sender: Some(row["sender_id"].as_str().unwrap().to_owned()),
        time: row["timestamp"].as_f64(),
        row: row["id"].as_i64(),
        ..OwnedRecord::default()
    })
}

fn topic(name: &str) -> Vec<OwnedRecord> {
    wrapped(name, |message| OwnedRecord {
        payload: bytes(&message["value"]),
        sender: None,
        time: message["ts_ms"].as_f64().map(|milliseconds| milliseconds / 1000.0),
        environment: message["headers"][0][1].as_str().map(str::to_owned),
        ..OwnedRecord::default()
    })
}

/// Returns the number of rows of each table that has any.
fn counts(oracle: &Oracle) -> BTreeMap<&str, usize> {
    oracle
        .tables
        .iter()
        .filter(|(_, rows)| !rows.is_empty())
        .map(|(name, rows)| (*name, rows.len()))
        .collect()
}

#[test]
fn parcel() {
    let live = of(&bodies("parcel/file-broker"));
    assert_eq!(live.ledger.events, 15_161);
    let counted = counts(&live);
    for (table, rows) in [
        ("rasa_sender", 332),
        ("rasa_session", 553),
        ("rasa_event", 15_161),
        ("rasa_user_message", 1_933),
        ("rasa_turn", 1_933),
        ("rasa_bot_message", 1_907),
        ("rasa_action", 5_059),
        ("rasa_slot", 3_204),
    ] {
        assert_eq!(counted[table], rows, "{table}");
    }

    // Sessions by number of user messages, as counted in the tracker store.
    let mut users: BTreeMap<&OwnedValue, usize> =
        live.tables["rasa_session"].iter().map(|row| (&row[0], 0)).collect();
    for row in &live.tables["rasa_user_message"] {
        *users.get_mut(&row[3]).unwrap() += 1;
    }
    let mut sessions = [0; 11];
    users.values().for_each(|count| sessions[*count] += 1);
    assert_eq!(sessions, [17, 93, 92, 93, 102, 61, 41, 27, 17, 7, 3]);

    for other in [of(&bodies("parcel/rasa-export")), of(&tracker_store("parcel/tracker-store"))] {
        assert_eq!(diff(&live.tables, &other.tables), None);
    }
}

#[test]
fn sessions_of_the_other_captures() {
    for (oracle, events, sessions) in [
        (of(&topic("kafka/partition-by-sender-false")), 2_662, 97),
        (of(&topic("kafka/partition-by-sender-true")), 2_816, 99),
        (of(&bodies("inmemory/file-broker")), 2_843, 96),
        (
            of(&wrapped("moodbot/sql-broker", |row| OwnedRecord {
                payload: bytes(&row["data"]),
                ..OwnedRecord::default()
            })),
            2_900,
            94,
        ),
        // A single `session_started` belongs to the session start that follows.
        (of(&bodies("hostile/file-broker")), 329, 50),
    ] {
        assert_eq!(oracle.ledger.events, events);
        assert_eq!(oracle.tables["rasa_session"].len(), sessions);
    }
}

#[test]
fn hostile_bodies_and_rows_agree() {
    let (live, stored) = (of(&bodies("hostile/file-broker")), of(&tracker_store("hostile/tracker-store")));
    assert_eq!(diff(&live.tables, &stored.tables), None);
    assert_eq!(live.ledger.dead_letters, BTreeMap::from([(Reason::NoUsableTimestamp, 3)]));
    assert_eq!(live.ledger, stored.ledger);
}
