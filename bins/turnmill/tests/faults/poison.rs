//! Records that cannot become rows, and those that PostgreSQL refuses for a while.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use turnmill_source_kafka::{KafkaProducer, KafkaSettings, OutgoingRecord, ProducerSettings};

use crate::bed::Bed;
use crate::crew::{Crew, Deployment};
use crate::drill::{equals_a_replay, seed, tables};
use crate::stream::{Events, topic};
use crate::support::{Record, Topic, ledger, ran, turnmill, verify};

/// Payloads that no decoder accepts, each for another reason.
const UNREADABLE: [&[u8]; 7] = [
    b"\xff\xfe\x00garbage",
    b"{\"sender_id\": \"a\", \"event\": ",
    b"[]",
    b"{\"event\": \"user\", \"timestamp\": 1656382549.5}",
    b"{\"sender_id\": \"a\", \"timestamp\": 1656382549.5}",
    b"\"text\"",
    b"\x1f\x8b\x08\x00",
];

/// Returns a message of a user.
fn message(sender: &str, number: usize, text: &str) -> Record {
    let timestamp = 1_700_000_000.25 + number as f64;
    let value = json!({"sender_id": sender, "event": "user", "timestamp": timestamp, "text": text,
        "parse_data": {"intent": {"name": "ask"}}, "message_id": format!("{sender}-{number}")});
    Record { value: value.to_string(), millis: 1_700_000_000_000, ..Record::default() }
}

fn letters(store: &str) -> Vec<Value> {
    let list = ran(turnmill(&["dead-letters", "list", store, "--json"]), 0).stdout;
    String::from_utf8(list).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Returns the original bytes of a dead letter.
fn bytes(letter: &Value) -> Vec<u8> {
    if let Some(text) = letter["payload"].as_str() {
        return text.as_bytes().to_vec();
    }
    let digits = letter["payload_hex"].as_str().unwrap();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn records_that_cannot_be_decoded_stay_with_their_bytes_and_their_neighbours_land() {
    let Some(turn) = Bed::turn() else { return };
    for deployment in Deployment::ALL {
        let (name, store) = turn.fresh(&format!("unreadable-{deployment:?}").to_lowercase());
        let brokers = turn.bed.broker.bootstrap();
        let mut topic = topic(&brokers, &name);
        let mut events = Events::new(deployment.keyed(), seed());
        let mut crew = Crew::new(&topic, &store, deployment);
        let mut producer =
            KafkaProducer::new(&KafkaSettings::new(&brokers), &ProducerSettings::default()).unwrap();
        for (number, bytes) in UNREADABLE.into_iter().enumerate() {
            topic.produce(&events.take(40));
            let key = format!("key {number}");
            let header: (&str, Option<&[u8]>) = ("trace", Some(b"\x01\x02"));
            let record = OutgoingRecord {
                key: Some(key.as_bytes()),
                payload: Some(bytes),
                headers: &[header],
                time: Some(1_700_000_000.0),
            };
            producer.send(&name, &record).unwrap();
            producer.flush(crate::support::PATIENCE).unwrap();
            let (partition, offset) = producer.delivered().pop().unwrap().result.unwrap();
            let record = Record {
                key: Some(key),
                value: String::from_utf8_lossy(bytes).into_owned(),
                headers: vec![("trace".into(), Some("\u{1}\u{2}".into()))],
                millis: 1_700_000_000_000,
            };
            topic.produced.push((partition, offset, record));
        }
        // A tombstone is no dead letter.
        let tombstone =
            OutgoingRecord { key: Some(b"gone"), time: Some(1_700_000_000.0), ..OutgoingRecord::default() };
        producer.send(&name, &tombstone).unwrap();
        topic.produce(&events.take(40));
        producer.flush(crate::support::PATIENCE).unwrap();
        let (partition, offset) = producer.delivered().pop().unwrap().result.unwrap();
        let record = Record { key: Some("gone".into()), millis: 1_700_000_000_000, ..Record::default() };
        topic.produced.push((partition, offset, record));

        crew.start();
        crew.wait_until_read(&topic);
        crew.stop();
        let found: BTreeMap<Vec<u8>, Value> =
            letters(&store).into_iter().map(|letter| (bytes(&letter), letter)).collect();
        let expected: Vec<&[u8]> = BTreeSet::from(UNREADABLE).into_iter().collect();
        assert_eq!(found.keys().collect::<Vec<_>>(), expected);
        for (number, bytes) in UNREADABLE.into_iter().enumerate() {
            let letter = &found[bytes];
            assert_eq!(letter["key"], format!("key {number}"));
            assert_eq!(letter["headers"], json!([["trace", "\u{1}\u{2}"]]));
        }
        assert_eq!(ledger(&store, "dead_letters"), UNREADABLE.len() as i64);
        assert_eq!(ledger(&store, "skipped"), 1);
        equals_a_replay(&topic, &store);
    }
}

#[test]
fn what_postgres_refuses_lands_once_after_a_fix_and_a_retry() {
    let Some(turn) = Bed::turn() else { return };
    for deployment in Deployment::ALL {
        let (name, store) = turn.fresh(&format!("refused-{deployment:?}").to_lowercase());
        let mut topic = topic(&turn.bed.broker.bootstrap(), &name);
        let mut events = Events::new(deployment.keyed(), seed());
        let mut crew = Crew::new(&topic, &store, deployment);
        crew.start();
        turn.bed.postgres.psql(
            &name,
            "ALTER TABLE rasa_user_message ADD CONSTRAINT polite CHECK (text NOT LIKE '%damn%')",
        );
        // They are among other records of the same senders, early and late ones.
        for number in 0..5 {
            let sender = format!("sender {}", number % 2);
            topic.produce(&events.take(30));
            topic.produce(&[
                message(&sender, number * 3, "hello"),
                message(&sender, number * 3 + 1, "damn it"),
            ]);
            topic.produce(&[message(&sender, number * 3 + 2, "sorry")]);
        }
        crew.wait_until_read(&topic);
        let refused = letters(&store);
        assert_eq!(refused.len(), 5, "{refused:?}");
        let originals: Vec<String> = (0..5)
            .map(|number| message(&format!("sender {}", number % 2), number * 3 + 1, "damn it").value)
            .collect();
        for letter in &refused {
            assert!(originals.iter().any(|original| original.as_bytes() == bytes(letter)), "{letter}");
            assert!(letter["detail"].as_str().unwrap().contains("polite"), "{letter}");
        }
        let before = tables(&store);

        let retry = |expected: Value| {
            let output = ran(turnmill(&["dead-letters", "retry", &store, "--json"]), 0).stdout;
            assert_eq!(serde_json::from_slice::<Value>(&output).unwrap(), expected);
        };
        retry(json!({"landed": 0, "refused": 5}));
        assert_eq!(tables(&store), before, "nothing but attempts");
        turn.bed.postgres.psql(&name, "ALTER TABLE rasa_user_message DROP CONSTRAINT polite");
        // The retry runs while the service writes.
        retry(json!({"landed": 5, "refused": 0}));
        retry(json!({"landed": 0, "refused": 0}));
        topic.produce(&events.take(100));
        crew.wait_until_read(&topic);
        // The same records once more are duplicates of those that were retried.
        let again: Vec<Record> = originals
            .into_iter()
            .map(|value| Record { value, millis: 1_700_000_000_000, ..Record::default() })
            .collect();
        topic.produce(&again);
        crew.wait_until_read(&topic);
        crew.stop();
        assert_eq!(ledger(&store, "dead_letters"), 0);
        equals_a_replay(&topic, &store);
    }
}

#[test]
fn a_record_of_a_megabyte_lands() {
    let Some(turn) = Bed::turn() else { return };
    let (name, store) = turn.fresh("megabyte");
    let mut topic: Topic = topic(&turn.bed.broker.bootstrap(), &name);
    let mut events = Events::new(false, seed());
    let mut crew = Crew::new(&topic, &store, Deployment::Unkeyed);
    // The limit is less than one such record.
    crew.set("TURNMILL_BUFFER_BYTES", "65536");
    crew.set("TURNMILL_BATCH_BYTES", "65536");
    crew.start();
    let text: String = "0123456789äöü€\"\\".chars().cycle().take(400_000).collect();
    for number in 0..4 {
        topic.produce(&events.take(30));
        let record = message("wordy", number, &text);
        assert!((500_000..999_000).contains(&record.value.len()), "{}", record.value.len());
        topic.produce(&[record]);
    }
    let value = format!("{{\"broken\": \"{}", "x".repeat(990_000));
    // The client sends the present time for 0.
    let broken = Record { value, millis: 1_700_000_000_000, ..Record::default() };
    topic.produce(std::slice::from_ref(&broken));
    topic.produce(&events.take(30));
    crew.wait_until_read(&topic);
    crew.stop();
    let letters = letters(&store);
    assert_eq!(letters.len(), 1);
    assert!(bytes(&letters[0]) == broken.value.as_bytes(), "all bytes are kept");
    assert_eq!(equals_a_replay(&topic, &store), 4 + 1 + 5 * 30);
    let messages = verify(&store)["tables"]["rasa_user_message"]["rows"].as_i64().unwrap();
    assert!(messages >= 4, "{messages}");
}
