//! The service reads logs of Amazon Lex from a topic, beside Rasa's events.

use std::io::Read as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::markers_store::replay;
use crate::support::{Record, Service, Topic, ledger, ran, variables, verify, wait_until_read};

/// Returns the log objects of the bundled log.
fn log_objects() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/lex-v2/bank.gz");
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    let messages = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    let events = messages.flat_map(|message| message.unwrap()["logEvents"].as_array().unwrap().clone());
    events.map(|event| event["message"].as_str().unwrap().to_owned()).collect()
}

fn record(value: String) -> Record {
    Record { value, ..Record::default() }
}

#[test]
fn a_topic_may_have_logs_of_lex_beside_events_of_rasa() {
    let Some(mut topic) = Topic::fresh(2) else { return };
    let objects = log_objects();
    let events: Vec<Value> =
        objects[60..].iter().map(|object| json!({"id": "1", "timestamp": 5, "message": object})).collect();
    let message =
        json!({"messageType": "DATA_MESSAGE", "logGroup": "g", "logStream": "s", "logEvents": events});
    let control = json!({"messageType": "CONTROL_MESSAGE", "logGroup": "g", "logEvents": []});
    let rasa = r#"{"sender_id": "u1", "event": "user", "timestamp": 1656382549.5, "text": "hi"}"#;
    let mut records: Vec<Record> = objects[..70].iter().cloned().map(record).collect();
    records.extend([message.to_string(), control.to_string(), rasa.to_owned()].map(record));
    topic.produce(&records);

    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("both.sqlite").display());
    let mut service = Service::start(&variables(&topic, &store));
    wait_until_read(&store, &topic, &mut service);
    service.stop();
    assert_eq!(ledger(&store, "records"), 70 + 49 + 1 + 1);
    assert_eq!(ledger(&store, "events"), 109 + 1);
    assert_eq!(ledger(&store, "duplicates"), 10, "objects that come alone and in a message are one");
    assert_eq!((ledger(&store, "skipped"), ledger(&store, "dead_letters")), (1, 0));

    // A file of the same objects and of Rasa's event gives the same tables.
    let expected = format!("sqlite:{}", folder.path().join("files.sqlite").display());
    let (log, event) = (folder.path().join("log.jsonl"), folder.path().join("event.jsonl"));
    std::fs::write(&log, objects.join("\n")).unwrap();
    std::fs::write(&event, rasa).unwrap();
    ran(replay(&[&event, &log], &expected), 0);
    assert_eq!(verify(&store)["tables"], verify(&expected)["tables"]);
}
