//! Tests of the running service, from a topic to tables.

use std::time::Duration;

use turnmill_testbed::postgres;

use crate::support::{
    Record, Service, Topic, capture, ledger, positions, ran, turnmill, variables, verify, wait_until_read,
};

/// A payload that no decoder accepts.
fn broken(number: usize) -> Record {
    Record { key: Some(format!("k{number}")), value: format!("{{broken {number}"), ..Record::default() }
}

/// Reads the topic's records into `store` in two runs of the service. Checks that the tables are
/// those of a replay.
fn the_tables_are_those_of_a_replay(topic: &mut Topic, records: &[Record], store: &str, consumers: &str) {
    let (first, second) = records.split_at(records.len() / 2);
    topic.produce(first);
    topic.produce(&[broken(1)]);
    let mut settings = variables(topic, store);
    settings.push(("RASA_ANALYTICS_CONSUMER_COUNT".into(), consumers.into()));

    let mut service = Service::start(&settings);
    wait_until_read(store, topic, &mut service);
    let body = format!(
        r#"{{"details": {{"analytics-consumer": {{"alive": {consumers}, "isHealthy": true}}}}, "isHealthy": true}}"#
    );
    assert_eq!(service.get("/healthcheck"), Some((200, body)));
    service.wait("the lag is 0", |service| {
        service.metric("turnmill_lag_events{") == 0.0 && service.metric("turnmill_lag_seconds{") == 0.0
    });
    for (metric, column) in [
        ("turnmill_records_total{", "records"),
        ("turnmill_dead_letters_total{", "dead_letters"),
        ("turnmill_duplicates_total{", "duplicates"),
    ] {
        assert_eq!(service.metric(metric), ledger(store, column) as f64, "{metric}");
    }
    let events = verify(store)["tables"]["rasa_event"]["rows"].as_f64().unwrap();
    assert_eq!(service.metric(r#"turnmill_rows_total{table="rasa_event",operation="insert"}"#), events);
    assert_eq!(ledger(store, "records"), topic.produced.len() as i64);
    assert_eq!(ledger(store, "dead_letters"), 1);
    assert!(service.said("so the events of a conversation arrive in "), "{}", service.log());
    service.stop();

    // Produces records while it is stopped, all of the first half once more, and records while it
    // runs.
    topic.produce(second);
    let mut service = Service::start(&settings);
    wait_until_read(store, topic, &mut service);
    topic.produce(first);
    wait_until_read(store, topic, &mut service);
    service.stop();

    assert_eq!(ledger(store, "records"), topic.produced.len() as i64, "nothing was read twice");
    assert_eq!(ledger(store, "dead_letters"), 1);
    assert_eq!(verify(store)["tables"], topic.expected());
}

#[test]
fn an_unkeyed_topic_into_postgres() {
    let Some(store) = postgres::database() else { return };
    let Some(mut topic) = Topic::fresh(3) else { return };
    let records = capture("partition-by-sender-false.jsonl.gz");
    the_tables_are_those_of_a_replay(&mut topic, &records, &store, "2");
}

#[test]
fn a_keyed_topic_into_postgres() {
    let Some(store) = postgres::database() else { return };
    let Some(mut topic) = Topic::fresh(3) else { return };
    let records = capture("partition-by-sender-true.jsonl.gz");
    the_tables_are_those_of_a_replay(&mut topic, &records, &store, "1");
}

#[test]
fn a_topic_into_sqlite() {
    let Some(mut topic) = Topic::fresh(2) else { return };
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("rasa.sqlite").display());
    let records = capture("partition-by-sender-false.jsonl.gz");
    the_tables_are_those_of_a_replay(&mut topic, &records, &store, "1");
    // The same holds after a tool has read the store.
    for beside in ["rasa.sqlite-wal", "rasa.sqlite-shm"] {
        assert!(!folder.path().join(beside).exists(), "one file is all there is to copy");
    }
}

#[test]
fn positions_can_be_set_while_the_service_runs() {
    let Some(store) = postgres::database() else { return };
    let Some(mut topic) = Topic::fresh(1) else { return };
    let records = capture("partition-by-sender-true.jsonl.gz");
    topic.produce(&records[..300]);
    let mut service = Service::start(&variables(&topic, &store));
    wait_until_read(&store, &topic, &mut service);
    let before = verify(&store)["tables"].clone();

    let partition = format!("{}/0", topic.name);
    let (source, position) = positions(&store)[&partition].clone();
    assert_eq!(position, "300");
    let set = |arguments: &[&str], code| {
        let all = [&["positions", "set", &store, &source], arguments].concat();
        let output = ran(turnmill(&all), code);
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    assert!(set(&["elsewhere/7", "3"], 1).contains("the store has no position of"));
    assert!(set(&[&partition, "soon"], 2).contains("expected [STORE] SOURCE PARTITION POSITION"));
    let said = set(&[&partition, "100"], 0);
    assert!(said.contains("300 -> 100") && said.contains("duplicates"), "{said}");

    // The next record fences the service, which then reads from there.
    topic.produce(&records[300..301]);
    wait_until_read(&store, &topic, &mut service);
    service.wait("it was fenced", |service| service.metric("turnmill_fenced_total") >= 1.0);
    wait_until_read(&store, &topic, &mut service);
    assert_eq!(ledger(&store, "duplicates"), 200);
    service.stop();
    assert_ne!(verify(&store)["tables"], before, "one more event");
    assert_eq!(verify(&store)["tables"], topic.expected());

    assert!(set(&[&partition, "earliest"], 0).contains("301 -> 0"));
    let mut service = Service::start(&variables(&topic, &store));
    wait_until_read(&store, &topic, &mut service);
    service.stop();
    assert_eq!(ledger(&store, "duplicates"), 501);
    assert_eq!(verify(&store)["tables"], topic.expected());
}

#[test]
fn http_answers_while_the_database_is_away_and_the_service_goes_on_when_it_is_back() {
    let options = postgres::Options::default();
    let Some(server) = turnmill_testbed::or_skip(postgres::Server::start(&options)) else { return };
    let Some(mut topic) = Topic::fresh(1) else { return };
    let store = server.create_database("rasa");
    let records = capture("partition-by-sender-true.jsonl.gz");
    topic.produce(&records[..200]);
    server.stop();
    let mut service = Service::start(&variables(&topic, &store));
    service.wait("it waits", |service| service.metric("turnmill_waiting") == 1.0);
    assert_eq!(service.get("/healthcheck").unwrap().0, 200);
    server.start_again();
    wait_until_read(&store, &topic, &mut service);
    server.kill();
    topic.produce(&records[200..400]);
    std::thread::sleep(Duration::from_secs(1));
    server.start_again();
    wait_until_read(&store, &topic, &mut service);
    service.wait("it waits no more", |service| service.metric("turnmill_waiting") == 0.0);
    service.stop();
    assert_eq!(verify(&store)["tables"], topic.expected());
    assert_eq!(ledger(&store, "records"), 400);
}
