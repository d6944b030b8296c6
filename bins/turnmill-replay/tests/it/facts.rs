//! Compares the tables with facts that an independent script found in Rasa's own tracker store.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;

use flate2::read::GzDecoder;
use rusqlite::Connection;
use serde_json::{Value, json};
use turnmill_model::json::{Limits, to_value};
use turnmill_model::{Record, Settings};

use crate::support::{capture, digest, expected, json, lines, replayed, turnmill, url, verified};

/// Figures of `expected.json` that the tables give in another way, with the reason.
const DIFFERENT: [(&str, &str); 1] = [(
    "sessions_by_channel",
    "ours is the channel of the sender, theirs that of the session's first message",
)];

/// Figures that the tables do not have: entities, loops, metadata and channels of single messages,
/// and figures with definitions of their own.
const NOT_IN_TABLES: [&str; 8] = [
    "definitions",
    "user_messages_by_channel",
    "user_messages_with_own_metadata",
    "entities",
    "loops_started",
    "loops_ended",
    "response_time",
    "timestamps",
];

fn one(store: &Connection, sql: &str) -> Value {
    store
        .query_row(sql, [], |row| {
            Ok(match row.get_ref(0)? {
                rusqlite::types::ValueRef::Integer(integer) => json!(integer),
                rusqlite::types::ValueRef::Real(real) => json!(real),
                other => panic!("{sql}: {other:?}"),
            })
        })
        .unwrap()
}

/// Returns counts by a key, which may be NULL.
fn groups(store: &Connection, sql: &str) -> Value {
    let mut query = store.prepare(sql).unwrap();
    let rows = query.query_map([], |row| {
        let key = match row.get_ref(0)? {
            rusqlite::types::ValueRef::Null => "None".to_owned(),
            rusqlite::types::ValueRef::Integer(integer) => integer.to_string(),
            other => other.as_str()?.to_owned(),
        };
        Ok((key, row.get::<_, i64>(1)?))
    });
    let groups: BTreeMap<String, i64> = rows.unwrap().map(Result::unwrap).collect();
    json!(groups)
}

/// Returns the figures of the tables.
fn figures(store: &Connection) -> BTreeMap<&'static str, Value> {
    let one = |sql: &str| one(store, sql);
    let by = |column: &str, table: &str| {
        groups(store, &format!("SELECT {column}, count(*) FROM {table} GROUP BY 1"))
    };
    let by_sql = |sql: &str| groups(store, sql);
    BTreeMap::from([
        ("events", one("SELECT count(*) FROM rasa_event")),
        ("events_by_type", by("event_type", "rasa_event")),
        ("senders", one("SELECT count(*) FROM rasa_sender")),
        ("senders_with_a_session", one("SELECT count(DISTINCT sender_id) FROM rasa_session")),
        ("sessions", one("SELECT count(*) FROM rasa_session")),
        (
            "sessions_by_channel",
            by_sql(
                "SELECT r.channel, count(*) FROM rasa_session s JOIN rasa_sender r ON r.id = s.sender_id GROUP BY 1",
            ),
        ),
        (
            "sessions_without_user_message",
            one("SELECT count(*) FROM rasa_session WHERE id NOT IN (SELECT session_id FROM rasa_turn)"),
        ),
        (
            "sessions_by_user_messages",
            by_sql(
                "SELECT n, count(*) FROM (SELECT s.id, count(t.id) AS n FROM rasa_session s
                 LEFT JOIN rasa_turn t ON t.session_id = s.id GROUP BY 1) GROUP BY 1",
            ),
        ),
        (
            "senders_by_sessions",
            by_sql(
                "SELECT n, count(*) FROM (SELECT count(*) AS n FROM rasa_session GROUP BY sender_id) GROUP BY 1",
            ),
        ),
        ("user_messages", one("SELECT count(*) FROM rasa_user_message")),
        ("user_messages_by_intent", by("intent", "rasa_user_message")),
        (
            "user_messages_external_trigger",
            one("SELECT count(*) FROM rasa_user_message WHERE text LIKE 'EXTERNAL: %'"),
        ),
        (
            "user_messages_nlu_fallback",
            one("SELECT count(*) FROM rasa_user_message WHERE intent = 'nlu_fallback'"),
        ),
        ("mean_intent_confidence", one("SELECT avg(confidence) FROM rasa_user_message")),
        ("intent_confidences", one("SELECT count(confidence) FROM rasa_user_message")),
        (
            "retrieval_response_keys",
            by_sql(
                "SELECT retrieval_intent, count(*) FROM rasa_user_message
                 WHERE retrieval_intent IS NOT NULL GROUP BY 1",
            ),
        ),
        ("bot_messages", one("SELECT count(*) FROM rasa_bot_message")),
        ("bot_messages_by_utter_action", by("template_name", "rasa_bot_message")),
        ("action_events", one("SELECT count(*) FROM rasa_action")),
        ("actions_excl_listen", one("SELECT count(*) FROM rasa_action WHERE name <> 'action_listen'")),
        (
            "actions_excl_listen_and_session_start",
            one(
                "SELECT count(*) FROM rasa_action WHERE name NOT IN ('action_listen', 'action_session_start')",
            ),
        ),
        ("actions_by_name", by("name", "rasa_action")),
        ("actions_by_policy", by("policy", "rasa_action")),
        ("slot_events", one("SELECT count(*) FROM rasa_slot")),
        ("slot_events_null", one("SELECT count(*) FROM rasa_slot WHERE value = 'null'")),
        ("slot_events_by_name", by("name", "rasa_slot")),
        (
            "mean_user_messages_per_session",
            one("SELECT 1.0 * (SELECT count(*) FROM rasa_turn) / (SELECT count(*) FROM rasa_session)"),
        ),
    ])
}

#[test]
fn parcel_gives_the_figures_of_its_tracker_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("parcel.sqlite");
    replayed(&[&capture("parcel/file-broker.jsonl.gz")], &store, &[]);
    let theirs: BTreeMap<String, Value> =
        serde_json::from_slice(&std::fs::read(capture("parcel/expected.json")).unwrap()).unwrap();
    let ours = figures(&Connection::open(&store).unwrap());
    for (name, figure) in &theirs {
        let name = name.as_str();
        match ours.get(name) {
            None => assert!(NOT_IN_TABLES.contains(&name), "{name} is not compared"),
            Some(our) if DIFFERENT.iter().any(|(different, _)| *different == name) => {
                assert_ne!(our, figure, "{name} is listed as different");
            }
            // A mean depends on the order of its additions.
            Some(our) if figure.is_f64() => {
                let apart = our.as_f64().unwrap() - figure.as_f64().unwrap();
                assert!(apart.abs() < 1e-12, "{name}: {our}, expected {figure}");
            }
            Some(our) => assert_eq!(our, figure, "{name}"),
        }
    }
}

#[test]
fn the_shapes_of_parcel_in_any_order_are_one() {
    let shapes =
        ["parcel/file-broker.jsonl.gz", "parcel/rasa-export.jsonl.gz", "parcel/tracker-store.jsonl.gz"];
    let bodies = lines(shapes[0]);
    let digest = expected(bodies.iter().map(String::as_str));
    for order in [[0, 1, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("parcel.sqlite");
        let inputs = order.map(|shape| capture(shapes[shape]));
        let said = replayed(&inputs.each_ref().map(std::path::PathBuf::as_path), &store, &[]);
        assert_eq!((&said["events"], &said["duplicates"]), (&json!(15_161), &json!(30_322)));
        assert_eq!(verified(&store)["digest"], digest, "{order:?}");
    }
}

#[test]
fn each_capture_has_its_sessions_and_the_rows_of_the_oracle() {
    for (name, sessions) in [
        ("kafka/partition-by-sender-false", 97),
        ("kafka/partition-by-sender-true", 99),
        ("inmemory/file-broker", 96),
        ("moodbot/sql-broker", 94),
        ("parcel/tracker-store", 553),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store.sqlite");
        let file = format!("{name}.jsonl.gz");
        let said = replayed(&[&capture(&file)], &store, &[]);
        assert_eq!(said["tables"]["rasa_session"], sessions, "{name}");
        assert_eq!(verified(&store)["digest"], digest_of_envelopes(&file), "{name}");
    }
}

/// Returns the oracle's digest for a capture whose lines are envelopes or bodies.
fn digest_of_envelopes(file: &str) -> String {
    let lines = lines(file);
    let envelopes: Vec<Value> =
        lines.iter().map(|line| to_value(line, &Limits::default()).unwrap()).collect();
    let records: Vec<Record<'_>> = lines
        .iter()
        .zip(&envelopes)
        .map(|(line, envelope)| {
            let text = |key: &str| envelope.get(key).and_then(Value::as_str);
            let seconds = |key: &str| envelope.get(key).and_then(Value::as_f64);
            let body = text("data").or(text("value"));
            match body.filter(|_| envelope.get("event").is_none()) {
                Some(body) => Record {
                    payload: body.as_bytes(),
                    sender: text("sender_id"),
                    time: seconds("timestamp").or(seconds("ts_ms").map(|ms| ms / 1000.0)),
                    environment: envelope.get("headers").and_then(|headers| headers[0][1].as_str()),
                    row: envelope.get("id").and_then(Value::as_i64),
                    ..Record::default()
                },
                None => Record { payload: line.as_bytes(), ..Record::default() },
            }
        })
        .collect();
    digest(&turnmill_oracle::tables(&Default::default(), &records))
}

#[test]
fn every_hostile_line_is_a_row_or_a_dead_letter() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("hostile.sqlite");
    let said = replayed(&[&capture("hostile/file-broker.jsonl.gz")], &store, &[]);
    let hostile = lines("hostile/file-broker.jsonl.gz");
    assert_eq!(said["records"], hostile.len());
    assert_eq!((&said["events"], &said["dead_letters"]), (&json!(329), &json!(3)));
    assert_eq!(said["dead_letters_by_reason"], json!({"no_usable_timestamp": 3}));
    assert_eq!(verified(&store)["digest"], expected(hostile.iter().map(String::as_str)));

    // The same file among others changes nothing.
    let both = folder.path().join("both.sqlite");
    replayed(
        &[&capture("hostile/file-broker.jsonl.gz"), &capture("inmemory/file-broker.jsonl.gz")],
        &both,
        &[],
    );
    let inmemory = lines("inmemory/file-broker.jsonl.gz");
    assert_eq!(verified(&both)["digest"], expected(hostile.iter().chain(&inmemory).map(String::as_str)));

    // With a time given by hand, the three become events as well.
    let url = url(&both);
    let retried =
        json(turnmill(&["dead-letters", "retry", &url, "--timestamp", "1795230000.5", "--json"]), 0);
    assert_eq!(retried, json!({"landed": 3, "refused": 0}));
    assert_eq!(verified(&both)["ledger"][0]["dead_letters"], 0);
}

#[test]
fn damaged_records_are_counted_by_what_is_wrong_with_them() {
    let reasons = |figures: [u64; 6]| {
        let [not_json, not_utf8, no_usable_timestamp, too_deep, no_event_type, no_sender_id] = figures;
        json!({
            "not_json": not_json, "not_utf8": not_utf8, "no_usable_timestamp": no_usable_timestamp,
            "too_deep": too_deep, "no_event_type": no_event_type, "no_sender_id": no_sender_id,
        })
    };
    for (name, events, duplicates, dead_letters) in [
        ("parcel.bin.gz", 498, 1, reasons([571, 164, 121, 73, 43, 26])),
        // One of the duplicates is a user message with the same id and another text.
        ("calm.bin.gz", 508, 16, reasons([529, 176, 146, 46, 43, 28])),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let packed = capture("../mutated").join(name);
        let mut lines = Vec::new();
        GzDecoder::new(File::open(&packed).unwrap()).read_to_end(&mut lines).unwrap();
        let lines = lines.split(|byte| *byte == b'\n');
        let records: Vec<_> = lines.map(|payload| Record { payload, ..Record::default() }).collect();
        let expected = digest(&turnmill_oracle::tables(&Settings::default(), &records));
        for batch in ["1", "97", "10000"] {
            let store = folder.path().join(format!("{batch}.sqlite"));
            let said = replayed(&[&packed], &store, &["--format", "rasa", "--batch", batch]);
            assert_eq!(
                (&said["events"], &said["duplicates"]),
                (&json!(events), &json!(duplicates)),
                "{name}"
            );
            assert_eq!(said["dead_letters_by_reason"], dead_letters, "{name}");
            assert_eq!(verified(&store)["digest"], expected, "{name} in batches of {batch}");
        }
    }
}
