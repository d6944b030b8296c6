//! Tests of the tools, on stores of both kinds.

use serde_json::Value;
use turnmill_testbed::postgres;

use crate::support::{Record, Service, Topic, ran, turnmill, variables, verify, wait_until_read};

/// One event without a usable time, and garbage.
fn unusable() -> [Record; 2] {
    let event = r#"{"sender_id": "u1", "event": "user", "timestamp": 1e300, "text": "hi"}"#;
    // The record's own time, of 1970, is unusable as well.
    [event, "garbage"].map(|value| Record { value: value.into(), millis: 1000, ..Record::default() })
}

#[test]
fn dead_letters_of_postgres_are_listed_shown_and_retried() {
    let Some(store) = postgres::database() else { return };
    let Some(mut topic) = Topic::fresh(1) else { return };
    topic.produce(&unusable());
    let mut service = Service::start(&variables(&topic, &store));
    wait_until_read(&store, &topic, &mut service);
    service.stop();

    let list = ran(turnmill(&["dead-letters", "list", &store, "--json"]), 0).stdout;
    let letters: Vec<Value> =
        String::from_utf8(list).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let reasons: Vec<&str> = letters.iter().map(|letter| letter["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["no_usable_timestamp", "not_json"]);
    assert_eq!(letters[1]["place"], format!("{}/0@1", topic.name));
    let shown = ran(turnmill(&["dead-letters", "show", &store, "2"]), 0).stdout;
    assert!(String::from_utf8(shown).unwrap().contains("garbage"));

    let retry = ["dead-letters", "retry", &store, "--timestamp", "1656382549.9", "--json"];
    let retried: Value = serde_json::from_slice(&ran(turnmill(&retry), 0).stdout).unwrap();
    assert_eq!(retried, serde_json::json!({"landed": 1, "refused": 1}));
    let verified = verify(&store);
    assert_eq!(verified["tables"]["rasa_user_message"]["rows"], 1);
    let ledger = &verified["ledger"][0];
    assert_eq!((&ledger["events"], &ledger["dead_letters"]), (&1.into(), &1.into()));
}

#[test]
fn a_store_in_a_schema_is_found_by_flag_and_by_variable() {
    let Some(store) = postgres::database() else { return };
    let Some(mut topic) = Topic::fresh(1) else { return };
    topic.produce(&unusable());
    let mut settings = variables(&topic, &store);
    settings.push(("TURNMILL_DB_SCHEMA".into(), "analytics of rasa".into()));
    let mut service = Service::start(&settings);
    service.wait("it is read", |service| service.metric("turnmill_records_total{") == 2.0);
    service.stop();
    ran(turnmill(&["verify", &store]), 1);
    ran(turnmill(&["verify", &store, "--schema", "analytics of rasa"]), 0);
    let mut by_variable = turnmill(&["verify", &store]);
    by_variable.env("TURNMILL_DB_SCHEMA", "analytics of rasa");
    ran(by_variable, 0);
}

#[test]
fn what_is_no_store_is_said() {
    for (url, part) in [
        ("redshift://u:secret@h/d", "not supported yet"),
        ("rasa.tables", "expected sqlite:PATH"),
        ("sqlite:no-such-file.sqlite", "does not exist"),
    ] {
        let error = String::from_utf8(ran(turnmill(&["verify", url]), 1).stderr).unwrap();
        assert!(error.contains(part) && !error.contains("secret"), "{error}");
    }
}
