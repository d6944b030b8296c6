//! Integration tests: databases made of real captures, in both shapes, also while they are written.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

#[cfg(feature = "postgres")]
mod postgres;

use std::io::Read;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde_json::Value;
use turnmill_source::{
    BatchLimits, FileOptions, FileSource, Opened, Position, Progress, RecordBatch, RecordOutcome, Source,
    SourceError,
};
use turnmill_source_tracker::{Shape, TrackerError, TrackerOptions, TrackerSource, is_sqlite};

type Seen = (u64, Vec<u8>, Option<String>, Option<f64>);

const STORE: &str = "CREATE TABLE events (id INTEGER NOT NULL, sender_id VARCHAR(255) NOT NULL, type_name VARCHAR(255) NOT NULL,
    timestamp FLOAT, intent_name VARCHAR(255), action_name VARCHAR(255), data TEXT, PRIMARY KEY (id))";
const BROKER: &str =
    "CREATE TABLE events (id INTEGER NOT NULL, sender_id VARCHAR(255), data TEXT, PRIMARY KEY (id))";

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/rasa-oss-3.6").join(name)
}

/// Puts a captured table back into a database.
fn database(path: &Path, name: &str, schema: &str) -> Connection {
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(std::fs::File::open(fixture(name)).unwrap())
        .read_to_string(&mut text)
        .unwrap();
    let mut connection = Connection::open(path).unwrap();
    connection.execute_batch(schema).unwrap();
    let transaction = connection.transaction().unwrap();
    for line in text.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let (id, sender, data) = (row["id"].as_i64(), row["sender_id"].as_str(), row["data"].as_str());
        if schema == STORE {
            let insert =
                "INSERT INTO events (id, sender_id, type_name, timestamp, data) VALUES (?1, ?2, ?3, ?4, ?5)";
            let values = (id, sender, row["type_name"].as_str(), row["timestamp"].as_f64(), data);
            transaction.prepare_cached(insert).unwrap().execute(values).unwrap();
        } else {
            let insert = "INSERT INTO events (id, sender_id, data) VALUES (?1, ?2, ?3)";
            transaction.prepare_cached(insert).unwrap().execute((id, sender, data)).unwrap();
        }
    }
    transaction.commit().unwrap();
    connection
}

fn seen(batch: &RecordBatch, with_offset: bool) -> impl Iterator<Item = Seen> {
    batch.iter().map(move |record| {
        let sender = record.sender.map(String::from);
        (if with_offset { record.offset } else { 0 }, record.payload.to_vec(), sender, record.time)
    })
}

fn open(path: &Path, from: Option<&Position>) -> TrackerSource {
    TrackerSource::open(path, TrackerOptions::default(), from).unwrap()
}

#[test]
fn databases_give_what_their_dumps_give() {
    let folder = tempfile::tempdir().unwrap();
    for (name, schema, shape, count) in [
        ("parcel/tracker-store.jsonl.gz", STORE, Shape::TrackerStore, 15161),
        ("hostile/tracker-store.jsonl.gz", STORE, Shape::TrackerStore, 332),
        ("moodbot/sql-broker.jsonl.gz", BROKER, Shape::EventBroker, 2900),
    ] {
        let path = folder.path().join(format!("{count}.db"));
        drop(database(&path, name, schema));
        assert!(is_sqlite(&path).unwrap() && !is_sqlite(&fixture(name)).unwrap());
        let mut dump = FileSource::open(&fixture(name), FileOptions::default(), None).unwrap();
        let everything = BatchLimits { records: usize::MAX, bytes: usize::MAX };
        let mut expected = RecordBatch::new();
        assert_eq!(dump.next_batch(&everything, &mut expected).unwrap(), Progress::End);

        let mut source = open(&path, None);
        assert_eq!(source.shape(), shape);
        let mut batch = RecordBatch::new();
        assert_eq!(source.next_batch(&everything, &mut batch).unwrap(), Progress::End);
        assert_eq!(batch.len(), count);
        assert!(
            seen(&batch, false)
                .eq(seen(&expected, false).map(|(_, payload, sender, time)| (0, payload, sender, time)))
        );
        assert_eq!(batch.to(), Some(&Position::at(count as u64)));
        assert_eq!((batch.from(), batch.opened()), (None, Some(Opened::Fresh)));
        assert!(batch.iter().all(|record| record.outcome == RecordOutcome::Body));
    }
}

#[test]
fn every_batch_boundary_is_a_place_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rasa.db");
    drop(database(&path, "hostile/tracker-store.jsonl.gz", STORE));
    let mut batch = RecordBatch::new();
    open(&path, None).next_batch(&BatchLimits::default(), &mut batch).unwrap();
    let whole: Vec<_> = seen(&batch, true).collect();
    for limits in [
        BatchLimits { records: 1, bytes: usize::MAX },
        BatchLimits { records: 7, bytes: usize::MAX },
        BatchLimits { records: usize::MAX, bytes: 3000 },
    ] {
        let (mut at, mut found) = (None, Vec::new());
        loop {
            let mut source = open(&path, at.as_ref());
            let progress = source.next_batch(&limits, &mut batch).unwrap();
            assert_eq!(batch.from(), at.as_ref());
            found.extend(seen(&batch, true));
            at = batch.to().cloned();
            if progress == Progress::End {
                break;
            }
        }
        assert!(found == whole, "{limits:?}");
    }
}

#[test]
fn odd_rows_are_records_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.db");
    // No primary key, ids null and repeated: a copy of a table.
    let setup = "CREATE TABLE events (id, sender_id, data);
        INSERT INTO events VALUES (1, 'u', NULL), (NULL, 'u', '  '), (1, 7, x'7b7d'), ('x', NULL, 5);";
    Connection::open(&path).unwrap().execute_batch(setup).unwrap();
    let mut batch = RecordBatch::new();
    open(&path, None).next_batch(&BatchLimits::default(), &mut batch).unwrap();
    let found: Vec<_> = batch.iter().map(|record| (record.payload, record.sender, record.outcome)).collect();
    assert_eq!(
        found,
        [
            (&b""[..], Some("u"), RecordOutcome::Skipped),
            (b"  ", Some("u"), RecordOutcome::Skipped),
            (b"{}", Some("7"), RecordOutcome::Body),
            (b"5", None, RecordOutcome::Body),
        ]
    );
}

#[test]
fn a_database_is_followed_while_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.db");
    let writer = Connection::open(&path).unwrap();
    writer.pragma_update(None, "journal_mode", "wal").unwrap();
    writer.execute_batch(BROKER).unwrap();
    let options = TrackerOptions { follow: true, ..TrackerOptions::default() };
    let mut source = TrackerSource::open(&path, options, None).unwrap();
    let mut batch = RecordBatch::new();
    let mut poll = |expected: usize| {
        let progress = source.next_batch(&BatchLimits::default(), &mut batch).unwrap();
        assert_eq!(batch.len(), expected);
        (progress, batch.opened())
    };
    assert_eq!(poll(0), (Progress::Idle, None));
    writer.execute_batch("INSERT INTO events (data) VALUES ('{}'), ('{}'); BEGIN; INSERT INTO events (data) VALUES ('{}');").unwrap();
    assert_eq!(poll(2), (Progress::Idle, Some(Opened::Fresh)), "without the uncommitted row");
    writer.execute_batch("COMMIT").unwrap();
    assert_eq!(poll(1), (Progress::Idle, None));
    assert_eq!(poll(0), (Progress::Idle, None));
    writer.execute_batch("DELETE FROM events; INSERT INTO events (data) VALUES ('{\"n\": 1}')").unwrap();
    assert_eq!(poll(0).0, Progress::More);
    assert_eq!(poll(1), (Progress::Idle, Some(Opened::Replaced)));

    // The same between two runs.
    let mut again = open(&path, Some(&Position::at(3)));
    again.next_batch(&BatchLimits::default(), &mut batch).unwrap();
    assert_eq!((batch.opened(), batch.from()), (Some(Opened::Replaced), Some(&Position::at(3))));
    assert_eq!((batch.len(), batch.to()), (1, Some(&Position::at(1))));
}

#[test]
fn errors_name_what_was_found() {
    let folder = tempfile::tempdir().unwrap();
    let open = |name: &str, setup: &str| {
        let path = folder.path().join(name);
        Connection::open(&path).unwrap().execute_batch(setup).unwrap();
        TrackerSource::open(&path, TrackerOptions::default(), None).unwrap_err()
    };
    let error = open("a.db", "CREATE TABLE users (a); CREATE VIEW events AS SELECT 1; CREATE TABLE b (a)");
    assert!(matches!(&error, TrackerError::NoEventsTable { tables, .. } if tables == &["b", "users"]));
    assert!(error.to_string().ends_with("a.db`; tables found: b, users"), "{error}");
    let error = open("b.db", "CREATE TABLE events (id INTEGER PRIMARY KEY, sender_id, body)");
    assert!(
        error.to_string().ends_with("has no column `data`; columns found: id, sender_id, body"),
        "{error}"
    );

    let text = folder.path().join("text");
    std::fs::write(&text, "{}\n".repeat(1000)).unwrap();
    let error = TrackerSource::open(&text, TrackerOptions::default(), None).unwrap_err();
    assert!(matches!(error, TrackerError::Database { .. }), "{error}");
    let error =
        TrackerSource::open(&folder.path().join("none"), TrackerOptions::default(), None).unwrap_err();
    assert!(matches!(error, TrackerError::Open { .. }));
    assert!(!folder.path().join("none").exists());

    // A table that vanishes while it is read.
    let path = folder.path().join("c.db");
    let writer = Connection::open(&path).unwrap();
    writer.execute_batch(BROKER).unwrap();
    let mut source = TrackerSource::open(&path, TrackerOptions::default(), None).unwrap();
    writer.execute_batch("DROP TABLE events").unwrap();
    let error = source.next_batch(&BatchLimits::default(), &mut RecordBatch::new()).unwrap_err();
    assert!(matches!(&error, SourceError::Other { .. }) && error.to_string().contains("c.db"));
}
